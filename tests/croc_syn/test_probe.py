"""``croc probe`` with planted weaknesses: what it finds, that it resumes, what it makes of failed checks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from builders.syn import build_exact
from croc.checks.decoding import decode, to_bytes
from croc.checks.schema import stable_hash
from croc.checks.sources import open_checks
from croc.cli import main
from croc.errors import CrocError, InputError
from croc.probe import read_report
from croc.probe.report import read_probe
from croc.rendering import probe as rendering
from croc.rendering.fragments import RESULTS
from croc_syn import probe, world
from croc_syn.probe import ProbeSettings, run_probe
from croc_syn.probe_checks import CheckSource, checks_of, facets_of
from croc_syn.shortening import shorten

PROPERTIES = ("colour", "count", "texture", "left_right", "negation", "material")
FEW = ProbeSettings(max_checks=160, detail_checks=0, properties=PROPERTIES, size=48, margin=0.1)


class Oracle:
    """Knows the scene of each image, as no metric can; random where a weakness is planted."""

    name = "planted"

    def __init__(self, is_weak=lambda meaning, scene: False) -> None:  # type: ignore[no-untyped-def]
        self.is_weak = is_weak
        self.pairs = 0

    def fields(self) -> dict[str, str]:
        return {"revision": "1"}

    def score(self, images, prompts):  # type: ignore[no-untyped-def]
        self.pairs += len(prompts)
        return np.array([self._one(image, prompt) for image, prompt in zip(images, prompts, strict=True)])

    def _one(self, image: Image.Image, prompt: str) -> float:
        scene = SCENES[stable_hash(image.tobytes().hex())]
        meaning = world.parse(prompt)
        if self.is_weak(meaning, scene):
            return int(stable_hash("noise", prompt, scene.to_json(), length=8), 16) / 16**8
        return float(world.satisfies(scene, meaning))


SCENES: dict[str, world.Scene] = {}


@pytest.fixture(autouse=True)
def remembered_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scorers see pixels alone: the scene of each drawn image is remembered by its pixels."""
    score = probe._Probe.score

    def remember(self, rows):  # type: ignore[no-untyped-def]
        for row in rows:
            for column in ("images", "contrast_images"):
                data = row[column][0]["bytes"]
                SCENES[stable_hash(decode(data).tobytes().hex())] = world.read_scene(data)
        return score(self, rows)

    monkeypatch.setattr(probe._Probe, "score", remember)


def counts_things(meaning: world.Meaning, scene: world.Scene) -> bool:
    """A metric that cannot count."""
    return any(group.count > 1 for group in meaning.groups)


def test_it_certifies_the_planted_property_and_nothing_else(tmp_path: Path) -> None:
    report = run_probe(Oracle(counts_things), tmp_path, FEW)
    assert [one.name for one in report.weak] == ["count"]
    assert report.weakest == "count"
    assert "count" in report.candidates
    assert report.findings[0].name == "count"
    assert report.checks < 160  # it stops when it is certain
    stored = read_report(tmp_path)
    assert stored["weakest"] == "count"
    assert len(stored["scored"]) == report.checks


def test_it_certifies_a_planted_noun_over_all_properties(tmp_path: Path) -> None:
    class Inverted(Oracle):
        """Is wrong whenever an elephant is named."""

        def _one(self, image: Image.Image, prompt: str) -> float:
            found = super()._one(image, prompt)
            return -found if "elephant" in prompt else found

    settings = ProbeSettings(8, 1, 0, size=48, noun_checks=144)
    report = run_probe(Inverted(), tmp_path, settings)
    assert [one.name for one in report.nouns if one.certified is not None] == ["elephant"]
    first = report.nouns[0]
    assert (first.kind, first.name) == ("noun", "elephant") and first.accuracy.high < 0.7  # type: ignore[operator]
    kinds = {one.kind for one in report.nouns}
    assert kinds == {"noun", "frame"}
    assert "elephant" in rendering.page(report, {})
    assert read_probe(tmp_path)[0] == report
    # Finished: nothing is scored again.
    again = Inverted()
    assert run_probe(again, tmp_path, settings) == report and again.pairs == 0


def test_an_oracle_has_no_weak_property(tmp_path: Path) -> None:
    report = run_probe(Oracle(), tmp_path, ProbeSettings(48, 1, 8, properties=PROPERTIES, size=48))
    assert not report.weak
    assert not report.counterexamples
    assert report.accuracy.value == 1.0
    assert any("nothing is certified" in line for line in rendering.summary(report))


def test_an_interrupted_search_resumes_to_the_same_result(tmp_path: Path) -> None:
    whole = run_probe(Oracle(counts_things), tmp_path / "whole", FEW)

    class Interrupted(Oracle):
        def score(self, images, prompts):  # type: ignore[no-untyped-def]
            if self.pairs > 100:
                raise KeyboardInterrupt
            return super().score(images, prompts)

    with pytest.raises(KeyboardInterrupt):
        run_probe(Interrupted(counts_things), tmp_path / "parts", FEW)
    rounds = len(list((tmp_path / "parts" / "rounds" / "properties").glob("*.json")))
    assert rounds > 1
    scorer = Oracle(counts_things)
    resumed = run_probe(scorer, tmp_path / "parts", FEW)
    assert resumed == whole
    assert (tmp_path / "parts" / "probe.json").read_bytes() == (
        tmp_path / "whole" / "probe.json"
    ).read_bytes()
    # finished: nothing is scored again
    again = Oracle(counts_things)
    assert run_probe(again, tmp_path / "parts", FEW) == whole
    assert again.pairs == 0


def test_a_higher_limit_continues_the_same_search(tmp_path: Path) -> None:
    few = ProbeSettings(16, 1, 0, properties=PROPERTIES, size=48)
    first = run_probe(Oracle(), tmp_path, few)
    second = run_probe(Oracle(), tmp_path, ProbeSettings(32, 1, 0, properties=PROPERTIES, size=48))
    assert second.scored[: first.checks] == first.scored
    with pytest.raises(InputError, match="contains another search"):
        run_probe(Oracle(), tmp_path, ProbeSettings(32, 1, 0, properties=PROPERTIES, size=48, seed=1))


def test_missing_scores_are_counted_and_never_wrong_answers(tmp_path: Path) -> None:
    class Broken(Oracle):
        def _one(self, image, prompt):  # type: ignore[no-untyped-def]
            return np.nan if "no " in prompt else super()._one(image, prompt)

    settings = ProbeSettings(48, 1, 0, properties=PROPERTIES, size=48)
    report = run_probe(Broken(), tmp_path, settings)
    assert report.missing > 0
    assert report.accuracy.value == 1.0
    with pytest.raises(CrocError, match="more than 0"):
        run_probe(Broken(), tmp_path / "strict", settings, max_failures=0)


# ---- Inside a weak property ----


def test_shortening_finds_the_colour_that_the_failure_depends_on() -> None:
    source, rng = CheckSource(0, 48, ("count",)), np.random.default_rng(0)
    row = source.draw("count", 0, rng).row
    (kind,) = world.parse(row["prompt"]).mentioned
    first = world.read_scene(row["images"][0]["bytes"])
    colour = next(thing.colour for thing in first.things if thing.kind == kind)

    def score(rows):  # type: ignore[no-untyped-def]
        """The truth; the opposite for scenes with a counted thing of that colour."""
        found = []
        for one in rows:
            scenes = [world.read_scene(one[side][0]["bytes"]) for side in ("images", "contrast_images")]
            signs = [
                -1.0 if any(t.kind == kind and t.colour == colour for t in scene.things) else 1.0
                for scene in scenes
            ]
            for side, scene in enumerate(scenes):  # the oracle keeps the truth in each step
                texts = (one["prompt"], one["contrast_prompt"])
                assert world.satisfies(scene, texts[side])
                assert not world.satisfies(scene, texts[1 - side])
            found.append(
                [
                    [
                        sign * world.satisfies(scene, one[name])
                        for sign, scene in zip(signs, scenes, strict=True)
                    ]
                    for name in ("prompt", "contrast_prompt")
                ]
            )
        return found

    smallest = shorten(row, score, 48)
    named = {thing.kind for scene in smallest.state.scenes for thing in scene.things}
    assert named == {kind}  # the other things are gone
    assert "in " not in smallest.prompts[0]  # and the place
    assert len(smallest.prompts[0]) < len(row["prompt"])
    found = {one.what.rpartition(": ")[2]: one for one in smallest.influences}
    assert found["colour"].value == colour
    assert found["colour"].tried == found["colour"].passed > 1
    assert found["background"].passed == 0
    assert smallest.picture().startswith(b"\x89PNG")


def test_a_failed_check_is_shortened_and_stays_true(tmp_path: Path) -> None:
    settings = ProbeSettings(240, 1, 16, properties=PROPERTIES, size=48, margin=0.1)
    report = run_probe(Oracle(counts_things), tmp_path, settings)
    (one,) = report.counterexamples
    assert one.property_name == "count"
    assert one.passed < 1
    assert len(one.prompt) <= len(one.found_prompt)
    with Image.open(tmp_path / one.image) as picture:
        assert picture.width > 200
    assert world.exclusive(world.parse(one.prompt), world.parse(one.contrast_prompt))
    assert report.details["count"]
    assert sum(finding.kind == "value" for finding in report.details["count"]) > 3
    text = "\n".join(rendering.summary(report) + rendering.counterexample_lines(one))
    assert one.prompt in text
    page = rendering.page(report, {one.image: (tmp_path / one.image).read_bytes()})
    assert page.count("<img") == 2
    assert rendering.picture_png(report).startswith(b"\x89PNG")


# ---- The checks ----


def test_a_check_is_that_of_a_build_with_the_same_seed(tmp_path: Path) -> None:
    source = CheckSource(3, 64, ("colour", "count"))
    check = source.draw("colour", 5, np.random.default_rng(0))
    assert check.spec.property == "colour"
    again = source.again("colour", str(check.spec.topic), 5)
    assert again.row == check.row
    facet = next(name for name in facets_of(check.row) if name.startswith("value"))
    drawn = source.draw("colour", 6, np.random.default_rng(1), facet)
    assert facet in facets_of(drawn.row)
    assert drawn.row["check_id"] != check.row["check_id"]


def test_what_cannot_be_probed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no property 'beauty'"):
        CheckSource(0, 64, ("beauty",))
    with pytest.raises(InputError, match="max_checks must be at least 1"):
        ProbeSettings(0)
    (tmp_path / "probe.json").write_text("{}")
    with pytest.raises(InputError, match=r"probe\.json"):
        read_report(tmp_path)


def test_a_build_needs_a_weak_property() -> None:
    report = {"format": "croc probe", "metric": "m", "findings": [], "scored": [], "seed": 0, "size": 64}
    with pytest.raises(InputError, match="certified no weak property"):
        checks_of({**report, "weakest": None})  # type: ignore[typeddict-item]


def test_a_build_from_a_probe_has_exactly_its_weak_checks(tmp_path: Path) -> None:
    source, rng = CheckSource(3, 48, ("colour", "count")), np.random.default_rng(0)
    drawn = [source.draw(name, number, rng) for number, name in enumerate(("colour", "count", "count"))]
    scored = [
        {"property": one.spec.property, "topic": one.spec.topic, "generation": one.generation, "passed": 0.5}
        for one in drawn
    ]
    findings = [
        {"kind": "property", "name": "count", "certified": 40},
        {"kind": "property", "name": "colour", "certified": None},
    ]
    report = {"format": "croc probe", "metric": "m", "seed": 3, "size": 48, "weakest": "count"}
    report |= {"findings": findings, "scored": scored, "signature": "croc:1|task:probe"}
    (tmp_path / "probe.json").write_text(json.dumps(report))
    options = {"images": 1, "size": 48, "audit_checks": 0, "progress": False}
    built = build_exact(tmp_path / "built", checks=300, from_probe=tmp_path, **options)
    assert built.checks == 2
    rows = open_checks(str(tmp_path / "built")).read(0, 2)
    found = {row["check_id"]: row for row in rows}
    assert set(found) == {one.row["check_id"] for one in drawn[1:]}
    for one in drawn[1:]:
        row = found[one.row["check_id"]]
        assert row["prompt"] == one.row["prompt"]
        assert to_bytes(row["images"][0]) == one.row["images"][0]["bytes"]
    with pytest.raises(InputError, match="select no others"):
        build_exact(tmp_path / "other", checks=3, from_probe=tmp_path, properties=["colour"], **options)


def test_the_command_writes_its_files_and_prints(tmp_path: Path) -> None:
    words = [
        "probe",
        "random",
        "--max-checks",
        "8",
        "--size",
        "48",
        "--property",
        "colour",
        "--property",
        "count",
    ]
    out = tmp_path / "out"
    files = ["--json", f"{out}/x.json", "--plot", f"{out}/x.png", "--html", f"{out}/x.html"]
    result = CliRunner().invoke(main, [*words, *files, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "random: " in result.output
    assert json.loads((out / "x.json").read_text()) == json.loads((out / "probe.json").read_text())
    assert (out / "x.png").read_bytes().startswith(b"\x89PNG")
    assert '<th scope="row" class="name">count</th>' in (out / "x.html").read_text()
    # The report of score tables has it as a section.
    table, report = RESULTS / "syn" / "random.parquet", tmp_path / "report.html"
    words = ["evaluate", str(table), "--resamples", "100", "--probe", str(out), "--html", str(report)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "Weak properties of random" in report.read_text()
    assert '<th scope="row" class="name">count</th>' in report.read_text()
