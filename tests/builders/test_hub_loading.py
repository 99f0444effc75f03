"""What is published, read back from a Hub on loopback by unmodified clients in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_models
from hub_server import Hub, online
from huggingface_hub import HfApi
from pictures import png
from release_files import HEADER, LINES, PICTURES, tar
from staged_checks import row, stage

from builders import hum
from builders.publish import publish
from builders.syn import build_exact, build_staged
from builders.train import build_train
from builders.verify import verify

REPO = "org/croc-syn"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A Hub with a dataset, public and private, a metric under two names, and a model."""
    root = tmp_path_factory.mktemp("world")
    patch = pytest.MonkeyPatch()
    build_exact(
        root / "syn",
        checks=60,
        images=1,
        size=48,
        allocation="subsets",
        splits={"train": 0.5, "test": 0.5},
        audit_checks=0,
        progress=False,
    )
    space = Path(__file__).parents[2] / "spaces" / "croc"
    model = tiny_models.save(*tiny_models.clip(), root / "model")
    with Hub(root / "hub") as hub, online(patch):
        options = {"endpoint": hub.endpoint, "token": "hf_writer"}
        first = publish("syn", root / "syn", REPO, tag="v1", **options)
        publish("syn", root / "syn", "org/secret", private=True, **options)
        for name in ("org/croc", "evaluate-metric/croc"):
            publish("space", space, name, **options)
        publish("model", model, "org/clip", **options)
        yield SimpleNamespace(hub=hub, root=root, syn=root / "syn", first=first, options=options)
    patch.undo()


def client(
    world, script: str, *arguments: str, token: str | None = None, **more
) -> subprocess.CompletedProcess:
    """Run a script as another person on another machine would: own cache, own folder, the Hub's address."""
    home = world.root / f"home-{token}"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, **world.hub.client_environment(home, token)}
    command = [sys.executable, "-c", script, *arguments] if "\n" in script else [*script.split(), *arguments]
    return subprocess.run(command, env=environment, cwd=home, check=False, capture_output=True, text=True)


def answer(done: subprocess.CompletedProcess) -> dict:
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


_OPEN = """
import json, sys, time
import croc.cli
from croc.checks.sources import open_checks
started = time.monotonic()
checks = open_checks("org/croc-syn", split="test")
images = checks.read(0, 1)[0]["images"]
print(json.dumps({"ids": [texts.check_id for texts in checks.texts], "images": len(images),
                  "seconds": time.monotonic() - started}))
"""


def test_a_dataset_that_was_prepared_once_is_read_where_the_hub_cannot_be_reached(world, tmp_path):
    environment = {**os.environ, **world.hub.client_environment(tmp_path)}

    def run(**more: str) -> dict:
        command = [sys.executable, "-c", _OPEN]
        done = subprocess.run(
            command, env=environment | more, cwd=tmp_path, check=False, capture_output=True, text=True
        )
        return answer(done)

    first = run()
    assert set(first["ids"]) == rows(world.syn, "test-*") and first["images"]
    again = run(HF_ENDPOINT="http://127.0.0.1:9")
    assert (again["ids"], again["images"]) == (first["ids"], first["images"])
    assert again["seconds"] < 10


def rows(folder: Path, pattern: str = "*") -> set[str]:
    ids: set[str] = set()
    for path in (folder / "data").glob(f"{pattern}.parquet"):
        ids |= set(pq.read_table(path, columns=["check_id"])["check_id"].to_pylist())
    return ids


_LOAD = """
import json, sys
import datasets
from datasets import load_dataset

repo, commit = sys.argv[1:]
ids = lambda rows: sorted(row["check_id"] for row in rows)
found = {"images": 0}
whole = load_dataset(repo)
found["splits"] = {name: ids(split.select_columns(["check_id"])) for name, split in whole.items()}
row = whole["test"][0]
found["pixels"] = [row["images"][0].size, row["contrast_images"][0].size]
found["streamed"] = ids(load_dataset(repo, split="test", streaming=True))
threads = load_dataset(repo, split="test", streaming=True).decode(num_threads=2)
found["threads"] = ids(threads)
found["config"] = ids(load_dataset(repo, "entity_variation", split="test", streaming=True))
found["tagged"] = ids(load_dataset(repo, split="test", revision="v1", streaming=True))
found["commit"] = ids(load_dataset(repo, split="test", revision=commit, streaming=True))
wanted = found["wanted"] = next(name for name in whole["test"]["property"] if name)
picked = load_dataset(repo, split="test", streaming=True, filters=[("property", "==", wanted)])
found["filtered"] = ids(picked)
try:
    load_dataset(repo, revision="v9", streaming=True)
except Exception as error:
    found["no such revision"] = type(error).__name__
try:
    load_dataset("org/secret", split="test", streaming=True)
except Exception as error:
    found["secret"] = type(error).__name__
print(json.dumps(found))
"""


def test_load_dataset_reads_it_whole_streamed_by_config_split_revision_and_filter(world):
    found = answer(client(world, _LOAD, REPO, world.first.commit))
    test = sorted(rows(world.syn, "test-*"))
    assert found["splits"] == {"test": test, "train": sorted(rows(world.syn, "train-*"))}
    assert found["pixels"] == [[48, 48], [48, 48]]
    assert found["streamed"] == found["threads"] == found["tagged"] == found["commit"] == test
    assert found["config"] == sorted(rows(world.syn, "test-*-entity_variation-*"))
    assert 0 < len(found["config"]) < len(test)
    picked = {
        row["check_id"]
        for path in (world.syn / "data").glob("test-*.parquet")
        for row in pq.read_table(path, columns=["check_id", "property"]).to_pylist()
        if row["property"] == found["wanted"]
    }
    assert found["filtered"] == sorted(picked)
    assert 0 < len(picked) < len(test)
    assert found["no such revision"] in ("RevisionNotFoundError", "DatasetNotFoundError")
    assert found["secret"] == "DatasetNotFoundError"


# ---- The other kinds of data ----


@pytest.fixture(scope="module")
def questions(world):
    return build_train(world.syn, world.root / "train", progress=False).out


@pytest.fixture(scope="module")
def human(world):
    source = world.root / "release"
    source.mkdir()
    (source / "croc_hum.tsv").write_text("\n".join([HEADER, *LINES]) + "\n")
    tar(source / "images.tar.gz", PICTURES.items())
    api = HfApi(**world.options)
    api.create_repo("org/release", repo_type="dataset")
    api.upload_folder(folder_path=source, repo_id="org/release", repo_type="dataset")
    out = world.root / "hum"
    command = f"{sys.executable} -m croc build hum --from-release org/release --license cc-by-4.0 --out {out}"
    done = client(world, command)
    assert done.returncode == 0, done.stderr
    return out


_KINDS = """
import json
from datasets import load_dataset

people = load_dataset("org/croc-hum", split="test")
counting = load_dataset("org/croc-hum", "counting", split="test", streaming=True)
asked = load_dataset("org/croc-train", split="train", streaming=True)
first = next(iter(asked))
print(json.dumps({
    "hum": [
        [row["category"], row["prompt"], len(row["images"]), len(row["contrast_images"])] for row in people
    ],
    "config": [row["prompt"] for row in counting],
    "votes": people.features["votes"] is not None,
    "pixels": first["image"].size,
    "answers": sorted({row["answer"] for row in asked}),
    "ids": sorted(row["pair_id"] for row in asked),
    "held out": len(load_dataset("org/croc-train", split="test")),
}))
"""


@pytest.mark.slow
def test_human_checks_and_questions_for_training_load_as_the_synthetic_ones_do(world, questions, human):
    publish("hum", human, "org/croc-hum", tag="v1", **world.options)
    publish("train", questions, "org/croc-train", **world.options)
    found = answer(client(world, _KINDS))
    # In negation the contrast images are the one of the third list; a check may lack contrast images.
    assert found["hum"] == [
        ["counting", "a cat", 1, 0],
        ["counting", "two dogs", 2, 1],
        ["negation", "a dog", 1, 1],
        ["spatial_relation", "a left of b", 1, 1],
    ]
    assert found["config"] == ["a cat", "two dogs"]
    assert found["pixels"] == [48, 48] and found["answers"] == ["No", "Yes"]
    ids = {
        split: [
            each
            for path in sorted((questions / "data").glob(f"{split}-*"))
            for each in pq.read_table(path, columns=["pair_id"])["pair_id"].to_pylist()
        ]
        for split in ("train", "test")
    }
    assert found["ids"] == sorted(ids["train"]) and found["held out"] == len(ids["test"])


@pytest.mark.slow
def test_sentences_that_people_judged_are_published_and_loaded(world, shared_data):
    """NLVR's development split: real pictures, real votes."""
    report = hum.build_nlvr(shared_data / "nlvr" / "dev", world.root / "nlvr", progress=False)
    assert report.checks == 246
    assert verify(report.out) == []
    publish("hum", report.out, "org/nlvr", **world.options)
    found = answer(client(world, _NLVR))
    assert found["rows"] == 246 and found["votes"] >= 246 * 2 and 0.5 < found["agreement"] <= 1


_NLVR = """
import json
from datasets import load_dataset

rows = load_dataset("org/nlvr", split="test")
assert rows[0]["images"][0].size[0] > 100
light = rows.select_columns(["votes", "agreement"])
print(json.dumps({
    "rows": len(rows),
    "votes": sum(len(row["votes"]) for row in light),
    "agreement": sum(row["agreement"] for row in light) / len(rows),
}))
"""

# ---- Filters ----

_FILTER = """
import json, sys
from datasets import load_dataset

where, mode = sys.argv[1:3]
name = sys.argv[3] if len(sys.argv) > 3 else None
options = {"filters": [("property", "==", "p2")]} if name is None else {"name": name}
rows = load_dataset(where, split="test", streaming=mode == "streaming", **options)
print(json.dumps(sorted(row["check_id"] for row in rows)))
"""


@pytest.fixture(scope="module")
def large(world):
    """Two categories of four properties each, 33 MB of pictures that do not compress."""
    rows = [
        row(
            number,
            category=("action", "counting")[number // 12],
            property=f"p{number % 4}",
            images=[{"bytes": png(50_000 + number, 480), "path": None}],
            contrast_images=[{"bytes": png(60_000 + number, 480), "path": None}],
        )
        for number in range(24)
    ]
    staged = stage(world.root / "large-staged", rows)
    out = build_staged(staged.folder, world.root / "large", progress=False).out
    publish("syn", out, "org/large", **world.options)
    return out, {each["check_id"]: each for each in rows}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["streaming", "downloaded"])
def test_a_filter_gives_the_same_rows_from_a_folder_and_from_the_hub(world, large, mode):
    folder, rows = large
    wanted = sorted(name for name, each in rows.items() if each["property"] == "p2")
    assert answer(client(world, _FILTER, str(folder), mode)) == wanted
    assert answer(client(world, _FILTER, "org/large", mode)) == wanted


@pytest.mark.slow
def test_a_filter_reads_and_a_property_or_category_downloads_its_files_alone(world, large):
    folder, _ = large
    files = sorted((folder / "data").iterdir())
    whole = sum(file.stat().st_size for file in files)

    def sent(*arguments: str) -> int:
        before = world.hub.sent
        answer(client(world, _FILTER, "org/large", *arguments, token="hf_reader"))
        return world.hub.sent - before

    mine, counting = (
        sum(file.stat().st_size for file in files if word in file.name) for word in ("-p2-", "-counting-")
    )
    assert (mine, counting) == (pytest.approx(whole / 4, rel=0.02), pytest.approx(whole / 2, rel=0.02))
    # Streaming reads the ends of the other files too, which say what is in them.
    assert sent("streaming") < 1.1 * mine
    assert sent("downloaded", "property-p2") < 1.02 * mine
    assert sent("downloaded", "counting") < 1.02 * counting


_SECRET = """
import json
from datasets import load_dataset

print(json.dumps({"rows": len(load_dataset("org/secret", split="test"))}))
"""


def test_a_private_dataset_opens_with_a_token_of_its_organisation_only(world):
    assert answer(client(world, _SECRET, token="hf_reader")) == {"rows": len(rows(world.syn, "test-*"))}
    refused = client(world, _SECRET, token="hf_stranger")
    assert refused.returncode == 1
    assert "org/secret" in refused.stderr
    assert "hf_stranger" not in refused.stderr


_READER = """
import json, sys
from datasets import load_dataset

stream = iter(load_dataset("org/moving", split="test", streaming=True))
read = [next(stream)["prompt"]]
print("reading", flush=True)
sys.stdin.readline()
read += [row["prompt"] for row in stream]
again = [row["prompt"] for row in load_dataset("org/moving", split="test", streaming=True)]
print(json.dumps({"began": read, "again": again}))
"""


@pytest.mark.slow
def test_who_reads_while_a_new_version_comes_keeps_the_old_one_to_its_end(world):
    """The reader resolved a commit when it opened; the files of the new one have other names and rows."""
    old = world.root / "moving-old"
    build_exact(old, checks=30, images=1, size=32, audit_checks=0, progress=False)
    new = world.root / "moving-new"
    build_exact(new, checks=30, images=1, size=32, seed=7, audit_checks=0, progress=False)
    publish("syn", old, "org/moving", **world.options)
    home = world.root / "home-reader"
    home.mkdir()
    environment = {**os.environ, **world.hub.client_environment(home)}
    reader = subprocess.Popen(
        [sys.executable, "-c", _READER],
        env=environment,
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout and reader.stdout.readline() == "reading\n"
    publish("syn", new, "org/moving", **world.options)
    output, _ = reader.communicate("\n", timeout=120)
    found = json.loads(output.splitlines()[-1])
    assert sorted(found["began"]) == prompts(old)
    assert sorted(found["again"]) == prompts(new)
    assert prompts(old) != prompts(new)


def prompts(folder: Path) -> list[str]:
    tables = [pq.read_table(path, columns=["prompt"]) for path in (folder / "data").glob("*.parquet")]
    return sorted(pa.concat_tables(tables)["prompt"].to_pylist())


def test_what_comes_back_from_the_hub_verifies(world):
    done = client(world, f"{sys.executable} -m croc verify {REPO} --revision v1")
    assert (done.returncode, done.stdout) == (0, f"{REPO}: no problems\n"), done.stderr
    (card,) = world.root.glob("home-None/hub/datasets--org--croc-syn/snapshots/*/README.md")
    assert f'"{REPO}"' in card.read_text(), "the card's examples load what was published"


@pytest.mark.parametrize("command", ["verify org/secret", "build hum --out x --from-release org/secret"])
@pytest.mark.parametrize("end", ["", "é"])
def test_a_download_that_is_refused_is_one_sentence_without_the_token(world, command, end):
    token = "hf_" + "aB3" * 12
    done = client(world, f"{sys.executable} -m croc {command}", token=token + end)
    assert done.returncode == 2
    reason = "the access token contains invalid characters" if end else "may not be read with this access"
    assert "org/secret" in done.stderr and reason in done.stderr and done.stderr.count("\n") == 1
    assert token not in done.stdout + done.stderr


_METRIC = """
import json
import evaluate

table = dict(
    check_id=["a", "a"], image_side=["original", "contrast"], image_index=[0, 0],
    prompt_score=[0.9, 0.2], contrast_score=[0.3, 0.8], protocol="syn", resamples=0, permutations=0,
)
print(json.dumps({name: evaluate.load(name).compute(**table)["score"] for name in ("org/croc", "croc")}))
"""


@pytest.mark.slow
def test_evaluate_loads_the_metric_from_an_organisation_and_by_its_short_name(world):
    # Two images, each scored higher with its own prompt: right in all four directions.
    assert answer(client(world, _METRIC)) == {"org/croc": 1.0, "croc": 1.0}
    paths = {path for _, path, status in world.hub.calls if status == 200}
    assert "/spaces/evaluate-metric/croc/resolve/main/croc.py" in paths


_MODEL = """
import json
from transformers import AutoModel

model = AutoModel.from_pretrained("org/clip")
print(json.dumps({"parameters": sum(p.numel() for p in model.parameters()), "sum": model.logit_scale.item()}))
"""


@pytest.mark.slow
def test_a_model_loads_by_from_pretrained(world):
    model, _ = tiny_models.clip()
    found = answer(client(world, _MODEL))
    assert found["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert found["sum"] == pytest.approx(model.logit_scale.item())


def test_croc_scores_a_published_dataset_by_streaming_it(world):
    out = world.root / "scores"
    done = client(
        world,
        f"{sys.executable} -m croc score {REPO} --streaming --split test --scorer random --out {out}",
    )
    assert done.returncode == 0, done.stderr
    table = pq.read_table(next(out.glob("**/*.parquet")))
    assert set(table["check_id"].to_pylist()) == rows(world.syn, "test-*")
    assert world.first.commit.encode() in b"".join((table.schema.metadata or {}).values())
