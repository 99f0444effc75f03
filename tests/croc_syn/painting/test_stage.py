"""Staged prompts → staged images: one plan, rows with flags, and what goes wrong said and survived."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cheap_painter
import numpy as np
import pyarrow.parquet as pq
import pytest
from cheap_painter import Cheap, picture
from staged_prompts import row, stage

from croc.checks.decoding import decode
from croc.checks.schema import check_id
from croc.errors import CrocError, InputError
from croc.jobs import runner
from croc.jobs.executors import local_executor
from croc.jobs.parts import Abort
from croc_syn.painting import ImageRequest, PaintedImage
from croc_syn.painting.images import make_images
from croc_syn.painting.settings import Images
from croc_syn.painting.stage import ImagePartMaker, plan_parts
from croc_syn.painting.table import painted_features

HERE = [str(Path(__file__).parents[2] / "support"), str(Path(__file__).parents[3])]
FLUX = {"name": "flux.1-schnell"}
SD = {"name": "sd3.5-large-turbo"}


def settings(**changes: Any) -> Images:
    return Images.model_validate(
        {"models": [FLUX], "count": 2, "format": "png", "checks_per_part": 2, **changes}
    )


def paint(
    prompts: Path, out: Path, chosen: Images, painter: Any = cheap_painter.quick, **options: Any
) -> Any:
    return make_images(prompts, out, chosen, painter=painter, progress=False, **options)


def rows_of(made: Any) -> list[dict[str, Any]]:
    return [each for file in made.files() for each in pq.read_table(file).to_pylist()]


def content(out: Path) -> dict[str, bytes]:
    """All that must not depend on how the work went."""
    files = [*sorted((out / "parts").iterdir()), out / "manifest.json"]
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five checks in two parts of prompts, the second of them without a usable answer."""
    rows = [row(n) for n in range(5)]
    rows[1] |= {"error": "the prompts are equal", "prompt": None}
    return stage(tmp_path_factory.mktemp("prompts") / "p", rows, size=3).folder


def test_a_row_holds_the_images_of_both_sides_and_where_they_come_from(prompts: Path, tmp_path: Path) -> None:
    made = paint(prompts, tmp_path / "out", settings())
    found = rows_of(made)
    assert pq.read_schema(made.files()[0]).equals(painted_features().arrow_schema)
    assert len(found) == 4
    assert made.counts == {"checks": 4, "images": 16}
    assert [part["name"] for part in made.parts] == [
        "flux.1-schnell-000000-counting-property_variation-000",
        "flux.1-schnell-000000-counting-property_variation-001",
        "flux.1-schnell-000001-counting-property_variation-000",
    ]
    assert made.parts[0]["counts"]["dropped"] == {"the prompts are equal": 1}
    first = found[0]
    model = "black-forest-labs/FLUX.1-schnell@741f7c3ce8b383c54771c7003378a50191e9efe9"
    assert (first["image_model"], first["license"], first["seeds"]) == (model, "apache-2.0", [0, 1])
    texts = ("two red dogs, number 0", "three red dogs, number 0")
    assert first["check_id"] == check_id("concept-0", *texts, "org/writer@unpinned", model, 0)
    for prefix, text in zip(("", "contrast_"), texts, strict=True):
        for seed, image in zip(first[f"{prefix}seeds"], first[f"{prefix}images"], strict=True):
            assert np.array_equal(np.asarray(decode(image["bytes"])), picture(ImageRequest(text, seed)))
        assert first[f"{prefix}images_flags"] == ["", ""]
        assert first[f"{prefix}images_match"] == [None, None]
    said = json.loads(first["image_settings"])
    assert (said["steps"], said["guidance"], said["width"], said["format"]) == (4, 0.0, 1024, "png")
    assert said["versions"]["diffusers"]


@pytest.mark.parametrize(
    ("target", "painted_by"),
    [
        (None, "both"),
        ("", "both"),
        ("general", "both"),
        ("exact@1", "both"),
        ("flux", "flux"),
        ("flux.1-schnell", "flux"),
        ("black-forest-labs/FLUX.1-schnell", "flux"),
        ("black-forest-labs/FLUX.1-schnell@741f7c3ce8b383c54771c7003378a50191e9efe9", "flux"),
        ("stable-diffusion", "sd"),
    ],
)
def test_prompts_are_painted_by_the_model_that_they_were_written_for(
    tmp_path: Path, target: str | None, painted_by: str
) -> None:
    made = stage(tmp_path / "p", [row(0, image_model=target)])
    chosen = settings(models=[FLUX, SD])
    if painted_by == "both":
        assert [part.payload["model"] for part in plan_parts(made, chosen)] == [FLUX["name"], SD["name"]]
        return
    with pytest.raises(InputError, match=rf"has no prompts for .*; its prompts are for {target}"):
        plan_parts(made, chosen)
    alone = settings(models=[FLUX if painted_by == "flux" else SD])
    assert len(plan_parts(made, alone)) == 1


def test_the_files_do_not_depend_on_the_number_of_workers(prompts: Path, tmp_path: Path) -> None:
    paint(prompts, tmp_path / "one", settings(models=[FLUX, SD]))
    paint(prompts, tmp_path / "two", settings(models=[FLUX, SD]), executor=local_executor(2))
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_how_a_service_is_asked_is_no_other_work_and_a_seed_is(prompts: Path, tmp_path: Path) -> None:
    paint(prompts, tmp_path, settings())
    paint(prompts, tmp_path, settings(endpoint={"concurrency": 9, "per_minute": 3}))
    with pytest.raises(InputError, match=r"contains other work .*first_seed"):
        paint(prompts, tmp_path, settings(first_seed=1))


def test_unfinished_prompts_are_not_painted(prompts: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither plan.json nor manifest.json"):
        paint(tmp_path, tmp_path / "out", settings())


def test_markup_and_paths_in_prompts_and_ids_are_only_text(tmp_path: Path) -> None:
    nasty = [
        "../../etc/passwd",
        "<script>alert(1)</script>",
        "/tmp/x.png",
        "a\x00b".replace("\x00", " "),
        "%s{0}",
    ]
    rows = [
        row(n, prompt=text, contrast_prompt=text + "!", check_id=text, concept_id=text)
        for n, text in enumerate(nasty)
    ]
    made = paint(stage(tmp_path / "p", rows).folder, tmp_path / "out", settings())
    found = rows_of(made)
    assert [each["prompt"] for each in found] == nasty
    files = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not [name for name in files if "passwd" in name or "script" in name or name.endswith(".png")]
    assert all(len(each["check_id"]) >= 12 and each["check_id"].isalnum() for each in found)


# ---- What goes wrong ----


def black_at(seed: int) -> Any:
    def paints(request: ImageRequest) -> Any:
        if request.seed != seed:
            return picture(request)
        return PaintedImage(pixels=np.zeros((8, 8, 3), np.uint8), flags=["black", "nsfw"])

    return lambda model, settings: Cheap(paints=paints)


def test_flags_stand_beside_their_images_and_the_rows_stay(prompts: Path, tmp_path: Path) -> None:
    made = paint(prompts, tmp_path, settings(count=3), black_at(1))
    assert made.counts == {"checks": 4, "images": 24, "flagged_black": 8, "flagged_nsfw": 8}
    assert rows_of(made)[0]["contrast_images_flags"] == ["", "black,nsfw", ""]


def same_for_all(model: Any, settings: Images) -> Cheap:
    return Cheap(paints=lambda request: picture(ImageRequest(request.prompt, 0)))


def test_seeds_that_make_nearly_the_same_are_flagged(prompts: Path, tmp_path: Path) -> None:
    made = paint(prompts, tmp_path, settings(count=3, flags={"near_duplicates": 4}), same_for_all)
    assert made.counts["flagged_near_duplicate"] == 16
    assert rows_of(made)[0]["images_flags"] == ["", "near_duplicate", "near_duplicate"]


def test_images_that_contradict_their_prompt_are_flagged_with_what_the_scorer_said(
    prompts: Path, tmp_path: Path
) -> None:
    # prompt-length: "two red dogs, number 0" has 22 characters, "three red dogs, number 0" 24.
    flags = {"contradiction": {"scorer": "prompt-length", "threshold": 23}}
    found = rows_of(paint(prompts, tmp_path, settings(flags=flags)))
    assert (found[0]["images_match"], found[0]["images_flags"]) == ([22, 22], ["contradicts"] * 2)
    assert (found[0]["contrast_images_match"], found[0]["contrast_images_flags"]) == ([24, 24], ["", ""])


def refusing(model: Any, settings: Images) -> Cheap:
    """Declines seed 1, and everything about check 2."""
    return Cheap(
        paints=lambda request: (
            PaintedImage(error="the service declined")
            if request.seed == 1 or "number 2" in request.prompt
            else picture(request)
        )
    )


def test_images_that_are_not_there_are_counted_and_a_check_without_any_is_dropped(
    prompts: Path, tmp_path: Path
) -> None:
    made = paint(prompts, tmp_path, settings(), refusing)
    assert made.counts == {"checks": 3, "images": 6}
    lost, dropped = [
        sum(sum(part["counts"][key].values()) for part in made.parts) for key in ("lost", "dropped")
    ]
    assert (lost, dropped) == (10, 2)
    assert made.parts[0]["counts"]["lost"] == {"the service declined": 2}
    assert rows_of(made)[0]["seeds"] == [0]


def failing_at_first(model: Any, settings: Images) -> Cheap:
    def paints(request: ImageRequest) -> Any:
        if "number 3" in request.prompt:
            raise ValueError("tensor sizes do not match")
        return picture(request)

    return Cheap(paints=paints)


def test_a_part_that_fails_leaves_the_others_and_is_made_by_the_next_run(
    prompts: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        runner.PartsFailed, match=r"1 of 3 parts of images failed .*tensor sizes do not match"
    ):
        paint(prompts, tmp_path / "a", settings(), failing_at_first)
    assert runner.status(tmp_path / "a").done == 2
    paint(prompts, tmp_path / "a", settings())
    paint(prompts, tmp_path / "b", settings())
    assert content(tmp_path / "a") == content(tmp_path / "b")


def expiring(model: Any, settings: Images) -> Cheap:
    def paints(request: ImageRequest) -> Any:
        if "number 3" in request.prompt:
            raise Abort("gpt: the key in OPENAI_API_KEY has expired")
        return picture(request)

    return Cheap(paints=paints)


def test_a_reason_that_holds_for_all_stops_at_once_and_what_was_done_stays(
    prompts: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        CrocError, match=r"stopped at part .*000001.*: gpt: the key in OPENAI_API_KEY has expired"
    ):
        paint(prompts, tmp_path, settings(), expiring)
    assert runner.status(tmp_path).done == 2


def test_other_libraries_on_a_worker_stop_the_run(prompts: Path, tmp_path: Path) -> None:
    make = ImagePartMaker(
        prompts, settings(), painted_features().arrow_schema, cheap_painter.quick, {"torch": "0.4"}
    )
    with pytest.raises(Abort, match=r'a worker has .*, the plan is for \{"torch":"0.4"\}'):
        make({}, tmp_path / "x")


FULL = """
import resource, sys
from pathlib import Path
import cheap_painter
from croc.errors import CrocError
from croc_syn.painting.images import make_images
from croc_syn.painting.settings import Images

if __name__ == "__main__":
    prompts, out, limit = sys.argv[1:4]
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    settings = Images.model_validate({"models": [{"name": "flux.1-schnell"}], "count": 2, "format": "png",
                            "checks_per_part": 2})
    try:
        make_images(prompts, out, settings, painter=cheap_painter.quick, progress=False)
    except CrocError as error:
        print(error)
"""


def test_a_file_that_does_not_fit_is_said_and_leaves_nothing_half(prompts: Path, tmp_path: Path) -> None:
    script = tmp_path / "full.py"
    script.write_text(FULL)
    said = subprocess.run(
        [sys.executable, script, prompts, tmp_path / "out", str(8000)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(HERE)},
    )
    assert "3 of 3 parts of images failed" in said.stdout
    assert "File too large" in said.stdout
    assert not list((tmp_path / "out" / "parts").iterdir())
    paint(prompts, tmp_path / "out", settings())
    assert runner.verify(tmp_path / "out") == []


def on_a_full_disk(model: Any, settings: Images) -> Cheap:
    def paints(request: ImageRequest) -> Any:
        if "number 3" in request.prompt:
            raise OSError(28, "No space left on device")
        return picture(request)

    return Cheap(paints=paints)


def test_a_full_disk_stops_at_once_and_the_next_run_goes_on(prompts: Path, tmp_path: Path) -> None:
    with pytest.raises(CrocError, match=r"stopped at part .*: OSError: .*No space left on device"):
        paint(prompts, tmp_path / "a", settings(), on_a_full_disk)
    assert runner.status(tmp_path / "a").done == 2
    paint(prompts, tmp_path / "a", settings())
    paint(prompts, tmp_path / "b", settings())
    assert content(tmp_path / "a") == content(tmp_path / "b")


# ---- The exact world ----


def test_without_models_the_exact_world_draws(tmp_path: Path) -> None:
    from croc_syn.taxonomy.plan import plan
    from croc_syn.taxonomy.taxonomy import load
    from croc_syn.writing.exact import exact_keys, exact_row
    from croc_syn.writing.table import columns_of

    taxonomy = load()
    specs = [spec for spec in plan(taxonomy, exact_only=True) if spec.property == "colour"][:2]
    rows = [exact_row(columns_of(spec), exact_keys(spec, taxonomy), 0, seed=0) for spec in specs]
    made = paint(
        stage(tmp_path / "p", rows).folder, tmp_path / "out", Images.model_validate({"count": 2, "size": 32})
    )
    assert (made.counts["checks"], made.counts["images"]) == (2, 8)
    assert rows_of(made)[0]["images_valid"] == [True, True]


# ---- Killed ----

# Everything is imported once; each run is a fork of that process, as Python's own start takes seconds.
KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import cheap_painter
from croc.jobs.executors import local_executor
from croc_syn.painting.images import make_images
from croc_syn.painting.settings import Images
from croc_syn.painting.table import painted_features

def work(out, workers=1):
    settings = Images.model_validate({"models": [{"name": "flux.1-schnell"}, {"name": "sd3.5-large-turbo"}],
                            "count": 2, "format": "png", "checks_per_part": 1})
    make_images(sys.argv[1], out, settings, painter=cheap_painter.steady, progress=False,
                executor=local_executor(workers))

def killed(out, workers, wait):
    records = out / "records"
    there = len(list(records.glob("*.json"))) if records.exists() else 0
    child = os.fork()
    if not child:
        os.setsid()
        work(out, workers)
        os._exit(0)
    while not records.exists() or len(list(records.glob("*.json"))) <= there:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the work was done too soon"
        time.sleep(0.005)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)  # the parent alone: its workers must not outlive it
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    while workers > 1:
        try:
            os.killpg(child, 0)
            time.sleep(0.01)
        except ProcessLookupError:
            break

if __name__ == "__main__":
    painted_features()
    out, chance = Path(sys.argv[2]), random.Random(7)
    for moment in range(20):
        killed(out, 2 if moment in (7, 13) else 1, chance.uniform(0, 0.12))
        assert not (out / "manifest.json").exists()
    print(len(list((out / "records").glob("*.json"))))
    work(out)
"""


@pytest.mark.slow
def test_killed_at_twenty_random_moments_the_images_are_those_of_a_calm_run(tmp_path: Path) -> None:
    prompts = stage(tmp_path / "p", [row(n) for n in range(80)], size=20).folder
    script = tmp_path / "work.py"
    script.write_text(KILLED)
    run = subprocess.run(
        [sys.executable, script, prompts, tmp_path / "killed"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(HERE)},
    )
    assert run.returncode == 0, run.stderr
    assert 20 <= int(run.stdout) < 160
    both = [{"name": "flux.1-schnell"}, {"name": "sd3.5-large-turbo"}]
    paint(prompts, tmp_path / "calm", settings(models=both, checks_per_part=1))
    assert content(tmp_path / "killed") == content(tmp_path / "calm")
    files = sorted((tmp_path / "killed" / "parts").iterdir())
    ids = [each["check_id"] for file in files for each in pq.read_table(file).to_pylist()]
    assert len(ids) == len(set(ids)) == 160
