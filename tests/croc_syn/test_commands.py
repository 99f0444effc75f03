"""croc taxonomy, draw, sheet, images, cost: what people type, and the sentences they get."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from image_service import good
from llm_server import KEY, Server, failed
from PIL import Image
from staged_prompts import row, stage

from croc.cli import main


def croc(*words: Any) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage(tmp_path_factory.mktemp("prompts") / "p", [row(n) for n in range(3)]).folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("diffusers")
    import tiny_pipelines as tiny

    return tiny.save(tiny.flux(), tmp_path_factory.mktemp("models") / "tiny-flux")


def own_preset(folder: Path, model: Path, **images: Any) -> Path:
    """A preset file; JSON is YAML."""
    entry = {"name": "tiny", "model": str(model), "steps": 2, "text_tokens": 16}
    chosen = {"models": [entry], "count": 2, "size": 16, "pipeline": {"device": "cpu"}, **images}
    file = folder / "preset.yaml"
    file.write_text(json.dumps({"images": chosen}))
    return file


def test_a_pipeline_in_a_folder_paints_what_a_preset_says(prompts: Path, model: Path, tmp_path: Path) -> None:
    preset = own_preset(tmp_path, model, format="webp", quality=80)
    done = croc("images", prompts, "--preset", preset, "--set", "images.count=3", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "3 checks with 18 images" in done.stdout
    (file,) = (tmp_path / "out" / "parts").iterdir()
    first = pq.read_table(file).to_pylist()[0]
    assert first["image_model"].startswith("tiny-flux@local:")
    assert first["images"][0]["bytes"][8:12] == b"WEBP"
    assert first["seeds"] == [0, 1, 2]
    assert json.loads(first["image_settings"])["quality"] == 80
    said = croc("status", tmp_path / "out").stdout
    assert re.search(r"out: 1 of 1 part, 0 left, .* MB, complete\n", said)


def test_what_cannot_be_is_a_sentence_and_nothing_is_made(prompts: Path, tmp_path: Path) -> None:
    cases = [
        (
            ["--model", "flux.1-shnell"],
            "image model 'flux.1-shnell' is not known; did you mean 'flux.1-schnell'",
        ),
        (["--model", "org/m@abc"], "after the @ comes a commit of 40 hexadecimal digits"),
        (["--preset", "papr"], "preset 'papr' is neither a name nor a file; did you mean 'paper'?"),
        (["--set", "images.cuont=3"], "preset exact: images.cuont: unknown key"),
        (["--set", "images.pipeline.dtyp=float16"], "images.pipeline.dtyp: unknown key"),
        (["--set", "images.format=gif"], "images.format: Input should be 'webp', 'png' or 'jpeg'"),
        (["--set", "images.quality=101"], "images.quality: Input should be less than or equal to 100"),
        (
            ["--set", "images.pipeline={cache: {kind: fast}}"],
            "cache needs the key kind, one of first-block, taylorseer",
        ),
        (["--address", "ray://head:10001"], "--address needs --executor ray"),
        (["--model", "flux.1-dev", "--model", "flux.1-dev"], "flux.1-dev, flux.1-dev must be different"),
    ]
    for words, sentence in cases:
        done = croc("images", prompts, *words, "--out", tmp_path / "out")
        assert done.exit_code == 2, words
        assert sentence in done.stderr, words
        assert not (tmp_path / "out").exists(), words


def test_a_model_that_does_not_exist_stops_before_the_first_image(prompts: Path, tmp_path: Path) -> None:
    name = "org/nowhere@" + "0" * 40
    done = croc("images", prompts, "--model", name, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert f"{name.replace('@', ' at ')}: cannot be loaded" in done.stderr


def test_a_prompts_folder_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    done = croc("images", tmp_path, "--model", "flux.1-dev", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "neither plan.json nor manifest.json" in done.stderr


def test_a_key_that_expires_stops_the_run_says_which_and_keeps_what_was_done(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGES_KEY", KEY)
    server = Server()
    # Two images a side: eight requests are two checks.
    server.script = lambda body, nth: (
        good(body, nth) if len(server.requests) <= 8 else failed(401, "expired", "expired")
    )
    endpoint = {"base_url": server.url, "key_variable": "IMAGES_KEY", "concurrency": 1, "retries": 0}
    words = [
        "--model",
        "gpt-image",
        "--set",
        "images.count=2",
        "--set",
        f"images.endpoint={json.dumps(endpoint)}",
    ]
    done = croc("images", prompts, *words, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "does not accept the key in IMAGES_KEY (expired or without permission): expired" in done.stderr
    assert KEY not in done.output
    said = croc("status", tmp_path / "out").stdout
    assert "2 of 3 parts, 1 left" in said
    assert "stopped" in said
    assert re.search(r"\d images/s, about \S+ \S+ left", said)
    server.script = good
    done = croc("images", prompts, *words, "--out", tmp_path / "out")
    server.close()
    assert "3 checks with 12 images" in done.stdout
    assert len(server.requests) <= 8 + 2 + 4  # one more was under way when the first was refused


def test_images_that_are_lost_or_flagged_are_counted(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Server(
        lambda body, nth: (
            failed(400, "no", "moderation_blocked") if "number 1" in body["prompt"] else good(body, nth)
        )
    )
    words = ["--model", "gpt-image", "--set", f"images.endpoint.base_url={server.url}"]
    flags = ["--set", "images.flags.near_duplicates=0"]
    done = croc("images", prompts, *words, *flags, "--set", "images.count=2", "--out", tmp_path / "out")
    server.close()
    assert done.stdout.splitlines()[1:] == [
        "2 checks with 8 images",
        "flagged: 4 near_duplicate",  # the server sends one image for all
        "4 images missing: the service declined",
        "1 check dropped: no image: the service declined",
    ]


# ---- Cost ----


def test_the_published_benchmark_has_over_a_million_images() -> None:
    done = croc("cost", "paper")
    assert done.exit_code == 0, done.output
    head, *lines, total = done.stdout.splitlines()
    paid = [line for line in lines if line.startswith("estimate for")]
    lines = [line for line in lines if line not in paid]
    assert [line.split(":")[0] for line in paid] == [
        "estimate for qwq-32b",
        "estimate for deepseek-r1-distill-qwen-14b",
    ]
    assert all("the cost is unknown without prices: --price input=DOLLARS" in line for line in paid)
    # 5 generations × 2 text models × 2 image models × 10 images of every spec.
    specs, checks, images = [
        int(n.replace(",", "")) for n in re.findall(r"([\d,]+) (?:specs|checks|images)", head)
    ]
    assert (checks, images) == (4 * specs, 40 * specs)
    assert specs % 5 == 0
    assert images > 1_000_000
    assert [line.split(":")[0] for line in lines] == [
        "qwq-32b",
        "deepseek-r1-distill-qwen-14b",
        "flux.1-schnell",
        "sd3.5-large-turbo",
    ]
    assert "GPU hours (h100) in total" in total


def test_the_preset_open_has_image_models_under_apache_2_0_alone() -> None:
    from croc_syn.presets import load

    models = load("open").images.models
    assert {model.licence for model in models} == {"apache-2.0"}
    assert all(model.revision for model in models)
    done = croc("cost", "open")
    assert done.exit_code == 0, done.output
    painted = [line.split(":")[0] for line in done.stdout.splitlines() if " images, " in line][1:]
    assert painted == ["flux.2-klein-4b", "qwen-image-2512", "z-image-turbo"]


def test_more_images_cost_in_proportion_and_another_gpu_other_hours() -> None:
    def hours(*words: str) -> float:
        (line,) = [line for line in croc("cost", "small", *words).stdout.splitlines() if "flux" in line]
        found = re.search(r"([\d.]+) GPU hours", line)
        assert found is not None
        return float(found[1])

    # Embedding the prompts is a small share that more seeds do not raise.
    assert hours("--set", "images.count=30") / hours("--set", "images.count=3") == pytest.approx(10, rel=0.03)
    # The peaks are 989 and 312 teraflops.
    assert hours("--gpu", "a100") / hours() == pytest.approx(989 / 312, rel=0.01)


def test_the_exact_world_needs_no_gpu_and_an_unknown_size_is_said() -> None:
    assert "exact world: 3,000 images, no GPU" in croc("cost", "exact").stdout
    done = croc("cost", "exact", "--set", "images.models=[org/own]", "--set", "images.format=webp")
    assert "own: 3,000 images, unknown GPU hours" in done.stdout
    assert (
        "gpt-image: 3,000 images, no GPU"
        in croc("cost", "exact", "--set", "images.models=[gpt-image]").stdout
    )


def test_a_preset_with_a_wrong_key_has_no_cost() -> None:
    done = croc("cost", "paper", "--set", "texts.models=[]")
    assert done.exit_code == 2
    assert "preset paper: texts: unknown key" in done.stderr


# ---- Taxonomy, draw, sheet ----


def test_draw_gives_an_image_and_as_many_as_asked_for(tmp_path: Path) -> None:
    assert croc("draw", "two red circles", "-o", tmp_path / "a.png", "--size", "64").exit_code == 0
    assert Image.open(tmp_path / "a.png").size == (64, 64)
    assert croc("draw", "a dog", "-o", tmp_path / "b.png", "--count", "2").exit_code == 0
    assert (tmp_path / "b-1.png").read_bytes() != (tmp_path / "b-2.png").read_bytes()


def test_sheet_shows_a_build(tmp_path: Path) -> None:
    words = ("--checks", "4", "--images", "1", "--size", "48")
    assert croc("build", "syn", *words, "--out", tmp_path / "syn").exit_code == 0
    assert croc("sheet", tmp_path / "syn", "-o", tmp_path / "sheet.html", "--checks", "2").exit_code == 0
    assert "data:image/png" in (tmp_path / "sheet.html").read_text()


def test_the_taxonomy_is_checked_and_shown(tmp_path: Path) -> None:
    assert "78" in croc("taxonomy", "check").output
    assert "negation" in croc("taxonomy", "show").output


def test_pictures_are_real(tmp_path: Path) -> None:
    assert croc("draw", "a star", "-o", tmp_path / "star.png").exit_code == 0
    image = Image.open(io.BytesIO((tmp_path / "star.png").read_bytes()))
    image.load()
    assert len(image.convert("RGB").getcolors(image.width * image.height)) > 10
