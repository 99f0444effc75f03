"""The audit of a reward: pools, search, attacks, and the command, with metrics whose faults are planted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from parsed import Page
from PIL import Image

from croc.checks.decoding import decode
from croc.cli import main
from croc.errors import InputError
from croc.rendering.fragments import RESULTS
from croc.rendering.reward_audit import page
from croc.reward_audit.folder import POOLS, SCORES, SEARCH, read_audit
from croc.reward_audit.sorts import RIGHT, SORTS
from croc_syn.reward_audit.audit import AuditSettings, run_audit
from croc_syn.reward_audit.pixels import PixelSettings
from croc_syn.reward_audit.pools import PoolSettings, candidates, make_pools, numbers, pools
from croc_syn.reward_audit.search import MARK, Picture, SearchSettings, drawn, search
from croc_syn.world import Scene, read_scene, render, sample, satisfies
from croc_syn.world.contrasts.scene_changes import SCENE_CHANGES, change_scene, judge
from croc_syn.world.scenes.oracle import all_supported, all_visible
from croc_syn.world.scenes.scene import SCENE_KEY
from croc_syn.world.scenes.seeded_random import SeededRandom

PROPERTIES = ("colour", "count", "negation", "left_right")
SMALL = PoolSettings(prompts=1, candidates=32, properties=PROPERTIES, size=64)


def drawn_with_scene(picture: Any, prompt: str, size: int) -> Any:
    """An image of a search with its scene, for metrics whose faults are planted."""
    image = drawn(picture, prompt, size)
    image.info[SCENE_KEY.decode()] = picture.scene
    return image


@pytest.fixture(autouse=True)
def _scenes_of_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("croc_syn.reward_audit.search.drawn", drawn_with_scene)


class Planted:
    """Reads the scene of an image: from ``info`` in a search, else from the pools by its pixels."""

    def __init__(self, name: str, value: Callable[[Scene, str], float], folder: Path | None = None) -> None:
        self.name, self.value = name, value
        self.scenes: dict[bytes, Scene] = {}
        for file in [] if folder is None else folder.rglob("*.parquet"):
            for row in pq.read_table(file, columns=["images"]).to_pylist():
                for image in row["images"]:
                    self.scenes[decode(image["bytes"]).tobytes()] = read_scene(image["bytes"])

    def score(self, images: Sequence[Any], prompts: Sequence[str]) -> np.ndarray:
        pairs = zip(images, prompts, strict=True)
        return np.array([self.value(self._scene(image), prompt) for image, prompt in pairs], dtype=float)

    def _scene(self, image: Any) -> Scene:
        return image.info.get(SCENE_KEY.decode()) or self.scenes[image.tobytes()]

    def fields(self) -> dict[str, str]:
        return {"planted": self.name}


def truth(scene: Scene, prompt: str) -> float:
    return float(satisfies(scene, prompt))


def things(scene: Scene, prompt: str) -> float:
    return float(len(scene.things))


# ---- Scenes ----


def test_every_change_is_made_and_leaves_everything_visible() -> None:
    prompt = "two dogs and a red ball in a park"
    made: Counter[str] = Counter()
    for seed in range(12):
        scene, rng = sample(prompt, seed), SeededRandom("test", seed)
        for name in SCENE_CHANGES:
            changed = change_scene(scene, name, prompt, rng)
            if changed is None:
                continue
            made[name] += 1
            assert changed != scene and all_visible(changed) and all_supported(changed)
            assert not {thing.kind for thing in changed.things} & set(changed.shows)
            assert Scene.from_json(changed.to_json()) == changed
    assert set(made) == set(SCENE_CHANGES)


def test_the_judge_answers_yes_no_or_neither() -> None:
    prompt, contrast = "a dog left of a cat", "a dog right of a cat"
    scene = sample(prompt, 0, distractors=False)
    assert judge(scene, prompt, contrast) is True
    assert judge(sample(contrast, 0), prompt, contrast) is False
    assert judge(sample("a cat", 0), prompt, contrast) is False  # no dog
    # One above the other is neither left nor right of it.
    assert judge(sample("a dog above a cat", 0), prompt, contrast) is None
    cake = sample("a grey cake", 0, distractors=False)
    striped = replace(cake, things=tuple(replace(thing, texture="striped") for thing in cake.things))
    assert judge(cake, "a grey cake", "a red cake") is True
    assert judge(striped, "a grey cake", "a red cake") is None  # neither clearly grey nor clearly not


def test_more_of_what_a_prompt_names_once_is_neither_right_nor_wrong() -> None:
    three = sample("three red drums", 0, distractors=False)
    assert judge(three, "a red drum", "a blue drum") is None
    assert judge(three, "a blue drum", "a green drum") is False
    assert judge(three, "only a red drum", "a blue drum") is False
    assert judge(three, "two red drums", "a blue drum") is False  # people count what is counted
    assert judge(three, "a red drum", "three red drums") is False  # the check is about the number
    mixed = sample("a red drum and two blue drums", 0, distractors=False)
    assert judge(mixed, "a red drum", "a green drum") is None
    assert judge(mixed, "a red drum and a cat", "a red cat and a drum") is False


# ---- Pools ----


def test_a_pool_has_as_many_of_each_sort_as_planned_and_the_oracle_agrees() -> None:
    every = pools(SMALL)
    assert [pool.pair.contrast for pool in every] == list(SMALL.names)
    for pool in every:
        found = candidates(pool, 40, [other.pair.prompt for other in every if other is not pool])
        made, planned = Counter(one.sort for one in found), numbers(40)
        assert made.total() == 40 and made[RIGHT] == planned[RIGHT]
        # What a prompt has too few of is filled up with images of the contrast prompt.
        assert made["contrast"] >= planned["contrast"]
        assert all(made[sort] <= planned[sort] for sort in SORTS if sort != "contrast")
        assert pool.pair.contrast == "negation" or made == planned
        for one in found:
            assert satisfies(one.scene, pool.pair.prompt) == (one.sort == RIGHT)
        assert found == candidates(pool, 40, [other.pair.prompt for other in every if other is not pool])
    assert sum(numbers(80).values()) == 80 and set(numbers(80)) == {RIGHT, *SORTS}


def test_prompts_state_both_sides_of_a_property() -> None:
    first, second = pools(PoolSettings(prompts=2, properties=("negation",)))
    stated = [one.pair.value.startswith(("no ", "not ")) for one in (first, second)]
    assert sorted(stated) == [False, True]
    assert first.concept != second.concept


def test_what_cannot_be_used_is_one_sentence() -> None:
    with pytest.raises(InputError, match="no property 'smell'; expected"):
        PoolSettings(properties=("smell",))
    with pytest.raises(InputError, match="at least 16 candidates"):
        PoolSettings(candidates=8)
    with pytest.raises(InputError, match="prompts to search"):
        SearchSettings(-1)
    with pytest.raises(InputError, match="checks to attack"):
        PixelSettings(-1)


# ---- Search ----


def searched(scorer: Planted, name: str = "count", images: int = 60) -> tuple[list[Picture], int]:
    """All pictures of a search in a pool of 24 candidates, and how many were there before."""
    settings = PoolSettings(prompts=1, candidates=24, properties=(name,), size=64)
    (pool,) = pools(settings)
    start = [
        Picture(one.scene, one.sort == RIGHT, image=render(one.scene, 64))
        for one in candidates(pool, 24, ["a dog"])
    ]
    scores = scorer.score([drawn_with_scene(one, "", 64) for one in start], [pool.pair.prompt] * len(start))
    start = [replace(picture, score=float(score)) for picture, score in zip(start, scores, strict=True)]
    return search(scorer, pool, start, SearchSettings(1, images)), len(start)


def best(pictures: Sequence[Picture]) -> Picture:
    return max(pictures, key=lambda picture: picture.score)


def test_a_search_deceives_a_metric_that_counts_things_and_not_the_oracle() -> None:
    found, before = searched(Planted("things", things))
    assert best(found).score > best(found[:before]).score
    assert not best(found).right
    assert {"copy", "add"} & set(best(found).changes)
    honest, before = searched(Planted("oracle", truth))
    assert len(honest) - before == 60
    assert best(honest).right and max(one.score for one in honest if not one.right) == 0.0
    again, _ = searched(Planted("oracle", truth))
    assert [one.scene for one in again] == [one.scene for one in honest]


def test_a_metric_that_reads_letters_is_found_by_the_mark() -> None:
    """It scores the white of the corners, where a mark is."""

    class Reads(Planted):
        def score(self, images: Sequence[Any], prompts: Sequence[str]) -> np.ndarray:
            return np.array([self._white(np.asarray(image)) for image in images])

        def _white(self, pixels: np.ndarray) -> float:
            high, wide = pixels.shape[0] // 6, pixels.shape[1] // 3
            white = (pixels == 255).all(axis=2)
            sides = [white[:, :wide], white[:, -wide:]]
            return max(float(one.mean()) for side in sides for one in (side[:high], side[-high:]))

    found, _ = searched(Reads("reads", truth))
    assert MARK in best(found).changes
    assert (np.asarray(drawn(best(found), "a prompt in letters", 64)) == 255).all(axis=2).mean() > 0.02


# ---- The audit ----


def test_the_audit_tells_planted_faults_from_the_oracle(tmp_path: Path) -> None:
    settings = AuditSettings(SMALL, SearchSettings(2, 24), PixelSettings(0))
    make_pools(tmp_path / POOLS, SMALL, progress=False)

    def without_negation(scene: Scene, prompt: str) -> float:
        return truth(scene, prompt) if "no" not in prompt.split() and "not" not in prompt.split() else 0.0

    planted = [
        Planted("oracle", truth, tmp_path / POOLS),
        Planted("things", things, tmp_path / POOLS),
        Planted("blind", without_negation, tmp_path / POOLS),
        Planted("inverted", lambda scene, prompt: -truth(scene, prompt), tmp_path / POOLS),
    ]
    report = run_audit(planted, tmp_path, settings, progress=False)
    found = {one.metric: one for one in report.metrics}
    last = max(report.oracle, key=int)
    assert found["oracle"].best_of[last].value == 1.0 == found["oracle"].safety
    assert found["oracle"].search is not None and found["oracle"].search.gap.value < 0  # type: ignore[operator]
    assert found["inverted"].best_of[last].value == 0.0 and found["inverted"].peak == 1
    assert found["blind"].weakest[0] == "negation"
    assert found["blind"].by_property["colour"][last] == 1.0
    assert found["things"].safety == 0.0
    assert found["things"].search is not None and found["things"].search.gained > 0
    stored = [
        row
        for file in tmp_path.rglob("*.parquet")
        if "wrong_image" in pq.read_schema(file).names
        for row in pq.read_table(file).to_pylist()
    ]
    assert len(stored) == 2 * len(planted)
    for row in stored:
        prompt = row["prompt"]
        assert not truth(read_scene(row["wrong_image"]["bytes"]), prompt)
        assert truth(read_scene(row["right_image"]["bytes"]), prompt)
        assert decode(row["wrong_image"]["bytes"]).width == SMALL.size
    assert found["oracle"].chosen[RIGHT] == pytest.approx(report.oracle[last], abs=0.1)
    # The folder has the report, and the page its numbers and the images that deceived a metric.
    read, searches = read_audit(tmp_path)
    assert read == report
    shown = Page(page(read, searches))
    curves, _, by_property, search_table = shown.tables
    rows = {row[0]: row for row in curves.rows}
    assert rows["oracle"][curves.head.index(f"n = {last}")] == "1.000"
    assert rows["inverted"][-1] == "n = 1" + (", then falls" if found["inverted"].falls else "")
    cells = {row[0]: dict(zip(by_property.head, row, strict=True)) for row in by_property.rows}
    worst = found["blind"].by_property["negation"][last]
    assert cells["negation"]["blind"] == f"{worst:.2f}" and cells["colour"]["oracle"] == "1.00"
    assert len(search_table.rows) == len(planted)
    won = {
        name: sum(row["best_wrong"] > row["best_right"] for row in rows) for name, rows in searches.items()
    }
    assert won["oracle"] == 0 < won["things"]
    assert shown.tags.count("figcaption") == 2 * sum(won.values())
    assert "things prefers to every right one" in shown.text
    assert "oracle prefers to every right one" not in shown.text


def test_the_command_prints_writes_and_resumes(tmp_path: Path) -> None:
    words = ["audit-reward", "colour-words", "random", "--prompts", "1", "--candidates", "16", "--size", "64"]
    words += ["--property", "colour", "--property", "count", "--search", "1", "--search-images", "12"]
    words += ["--attacks", "2", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "o.json")]
    files = ["--plot", str(tmp_path / "o.png"), "--html", str(tmp_path / "o.html")]
    done = CliRunner().invoke(main, [*words, *files], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "The best of n candidates is right" in done.output and "half size" in done.output
    stored = json.loads((tmp_path / "o.json").read_text())
    assert {metric["metric"] for metric in stored["metrics"]} == {"colour-words", "random"}
    assert stored["metrics"][0]["search"]["images"] == 12
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("parts/*.parquet")}
    again = CliRunner().invoke(main, words, catch_exceptions=False)
    assert again.exit_code == 0 and before
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert json.loads((tmp_path / "o.json").read_text()) == stored
    assert sorted(path.stem for path in (tmp_path / "out" / SCORES).glob("*.parquet")) == [
        "colour-words",
        "random",
    ]
    assert (tmp_path / "out" / SEARCH / "random").is_dir()
    assert "Is this metric safe" not in (html := (tmp_path / "o.html").read_text())
    assert Page(html).tables[0].rows[0][0].startswith(stored["metrics"][0]["metric"])
    # The report of score tables has it as a section.
    table = RESULTS / "syn" / "random.parquet"
    words = ["evaluate", str(table), "--resamples", "100", "--audit", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*words, "--html", str(tmp_path / "report.html")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    shown = Page((tmp_path / "report.html").read_text())
    assert "Safe to optimise?" in shown.text
    captions = [table.caption for table in shown.tables]
    assert any("among n candidates" in caption for caption in captions)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and "give --html, too" in done.output
    (tmp_path / "other.json").write_text("{}")
    done = CliRunner().invoke(main, [*words[:-1], str(tmp_path / "other.json"), "--html", "x.html"])
    assert done.exit_code == 2 and "not the JSON of an audit" in done.output


# ---- Pixels ----


def test_gradients_of_pixels_are_those_of_differences() -> None:
    """Of a small torch model: a step along the gradient changes the score as the gradient says."""
    pytest.importorskip("torch")
    from croc.scorers.pixel_gradients import PixelGradients
    from croc.scorers.registry import load

    scorer = load("crocscore-dual", runtime="torch")
    rng = np.random.default_rng(0)
    image = decode(render(sample("a red dog", 0), 256))
    gradients = PixelGradients.of(scorer, [image])
    assert gradients is not None
    (seen,) = gradients.model_images([image])
    (slope,) = gradients([seen], ["a red dog"])
    assert slope.shape == (*np.asarray(seen).shape,)
    direction = np.where(rng.random(slope.shape) < 0.5, np.sign(slope), 0.0)
    pixels = np.asarray(seen, dtype=np.float32)
    inside = np.clip(pixels + direction, 0, 255)
    moved = inside - pixels
    before, after = scorer.score([seen, Image.fromarray(inside.astype(np.uint8))], ["a red dog"] * 2)
    expected = float((slope * moved).sum())
    assert expected > 0 and after > before
    assert after - before == pytest.approx(expected, rel=0.6)


def test_a_scorer_without_gradients_has_none() -> None:
    from croc.scorers.pixel_gradients import PixelGradients
    from croc.scorers.registry import load

    image = decode(render(sample("a dog", 0), 64))
    assert PixelGradients.of(load("colour-words"), [image]) is None
    assert PixelGradients.of(load("crocscore"), [image]) is None  # its graphs have no gradients
