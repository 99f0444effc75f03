"""The builder of annotated scenes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from builders.scenes import Settings, annotate, build_scenes, captions_of, layout_of, mix_unusual
from builders.screening import fold_caption, split_of
from builders.syn import build_exact
from croc.cli import main
from croc.errors import InputError
from croc_syn import world
from croc_syn.world import KINDS
from croc_syn.world.contrasts.claims import make_claims
from croc_syn.world.scenes.seeded_random import SeededRandom

SPLITS = {"train": 0.7, "validation": 0.05, "test": 0.25}


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checks") / "test"
    build_exact(
        folder,
        checks=24,
        images=1,
        size=32,
        splits=SPLITS,
        only=["test"],
        subsets=["property_variation"],
        audit_checks=0,
        progress=False,
    )
    return folder


@pytest.fixture(scope="module")
def folder(checks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "scenes"
    settings = Settings(sizes=(112, 64), claims=5)
    build_scenes(out, images=120, splits=SPLITS, without=[checks], settings=settings, progress=False)
    return out


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict]:
    return [row for file in sorted((folder / "parts").glob("*.parquet")) for row in read_rows(file)]


def read_rows(file: Path) -> list[dict]:
    return pq.read_table(file).to_pylist()


def test_a_build_of_one_split_holds_that_split_alone(checks: Path) -> None:
    files = sorted((checks / "data").glob("*.parquet"))
    assert files
    assert all(file.name.startswith("test-") for file in files)
    for file in files:
        concepts = pq.read_table(file, columns=["concept_id"])["concept_id"].to_pylist()
        assert {split_of(concept, SPLITS) for concept in concepts} == {"test"}


def test_a_split_without_a_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no concept goes into 'validation'"):
        build_exact(tmp_path / "x", checks=2, splits={"train": 0.5, "test": 0.5}, only=["validation"])


def test_scenes_are_of_training_concepts_and_say_no_prompt_of_the_test(
    rows: list[dict], checks: Path
) -> None:
    assert len(rows) > 110
    assert {split_of(row["concept_id"], SPLITS) for row in rows} == {"train"}
    said = {fold_caption(text) for row in rows for text in (*row["true"], *row["false"])}
    assert not said & captions_of(checks)


def test_the_boxes_and_words_are_those_of_the_scene() -> None:
    scene = world.sample("two red dogs in a kitchen", 3)
    row = annotate(scene)
    dogs = [thing for thing in row["things"] if thing["kind"] == "dog"]
    assert len(dogs) == 2
    assert all({"colour=red", "count=2"} <= set(dog["words"]) for dog in dogs)
    assert dogs[0]["box"] == list(next(thing.box for thing in scene.things if thing.kind == "dog"))
    assert "setting=kitchen" in row["whole"]
    stand = {
        thing["kind"]: thing["words"]
        for thing in annotate(world.sample("a dog in front of a cat", 3))["things"]
    }
    assert "depth=front" in stand["dog"] and "depth=behind" in stand["cat"]
    row = annotate(world.sample("five dogs in a row", 3))
    dogs = [thing for thing in row["things"] if thing["kind"] == "dog"]
    assert len(dogs) == 5 and all("layout=row" in dog["words"] for dog in dogs)
    small = [(x, x * x, x + 0.1, x * x + 0.1) for x in (0.1, 0.3, 0.5, 0.8)]
    assert layout_of(small) == "scattered" and layout_of(small[:2]) == ""


def test_mixed_things_have_any_parts_and_surface_and_the_prompt_stays_true() -> None:
    own, other = "a dog in a kitchen", "a dog in a street"
    legs, textures = set(), set()
    for seed in range(60):
        scene = world.sample(own, seed)
        changed = mix_unusual(scene, own, other, 1.0, SeededRandom("mixed", seed))
        assert world.satisfies(changed, own) and not world.satisfies(changed, other)
        assert changed == mix_unusual(scene, own, other, 1.0, SeededRandom("mixed", seed))
        for before, after in zip(scene.things, changed.things, strict=True):
            assert (before.kind, before.colour, before.shape) == (after.kind, after.colour, after.shape)
            assert after.box[3] == pytest.approx(before.box[3]) and after.size == pytest.approx(before.size)
            if after.kind == "dog":
                legs.add(dict(after.parts)["leg"])
                textures.add(after.texture)
        assert mix_unusual(scene, own, other, 0.0, SeededRandom("mixed", seed)) == scene
    assert len(legs) > 3 and len(textures) > 3


def test_what_the_prompt_says_is_not_drawn_anew() -> None:
    own, other = "a dog with three legs", "a dog with four legs"
    for seed in range(20):
        changed = mix_unusual(world.sample(own, seed), own, other, 1.0, SeededRandom("stated", seed))
        assert [dict(thing.parts)["leg"] for thing in changed.things if thing.kind == "dog"] == [3]


def test_scenes_of_chosen_properties(tmp_path: Path) -> None:
    settings = Settings(sizes=(48,), claims=0, plain=0)
    chosen = ["texture", "thing_parts"]
    build_scenes(
        tmp_path / "s", images=16, splits=SPLITS, properties=chosen, settings=settings, progress=False
    )
    said = [row["about"][0] for file in (tmp_path / "s" / "parts").iterdir() for row in read_rows(file)]
    assert len(said) == 16 and set(said) == {"texture", "thing_part"}
    with pytest.raises(InputError, match=r"no check varies taste; there are .*texture"):
        build_scenes(tmp_path / "t", images=1, splits=SPLITS, properties=["taste"])


@pytest.mark.parametrize(("share", "held_out"), [(1.0, ()), (0.0, ()), (1.0, ("values=setting=plain",))])
def test_scenes_on_a_plain_background(share: float, held_out: tuple[str, ...], tmp_path: Path) -> None:
    """Everything but the place is as the prompt says, and no prompt names the place that is not drawn."""
    settings = Settings(sizes=(32,), claims=4, about=("count", "only"), plain=share, held_out=held_out)
    made = build_scenes(
        tmp_path / "s",
        images=24,
        splits={"train": 1.0},
        properties=["count"],
        settings=settings,
        progress=False,
    )
    rows = [row for file in made.files() for row in read_rows(file)]
    assert len(rows) > 20
    assert {"setting=plain" in row["whole"] for row in rows} == {share == 1 and not held_out}
    assert all(row["true"] for row in rows)
    for row in rows:
        for text in row["true"]:
            stated = {f"{a.dimension}={a.value}" for a in world.parse(text).image}
            assert stated <= set(row["whole"])


def test_only_says_colours_too() -> None:
    scene = world.sample("a red ball and a blue box, on a plain background", 1, distractors=False)
    claims = make_claims(scene, 40, SeededRandom("only"), ("only",))
    pairs = {(claim.true, claim.false) for claim in claims}
    assert ("only a red ball and a blue box", "only a red ball") in pairs
    assert any(true == "only a ball and a box" for true, _ in pairs)


def test_errors_are_one_sentence(tmp_path: Path) -> None:
    shares = ["--train", "0", "--validation", "0.5"]
    words = ["build", "scenes", "--images", "2", *shares, "--out", str(tmp_path / "s")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2 and "give it a share" in result.output
    with pytest.raises(InputError, match="croc build syn"):
        captions_of(tmp_path)


HELD_OUT = ("nouns=0.2", "values=0.2", "frames=place first,without", "compositions=0.1")


def test_nothing_that_is_held_out_occurs_in_prompts_claims_or_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[world.Scene] = []
    monkeypatch.setattr("builders.scenes.rasterise", lambda svg: b"")
    monkeypatch.setattr("builders.scenes.annotate", lambda scene: drawn.append(scene) or annotate(scene))
    settings = Settings(styles=("outlined", "flat", "blocks"), held_out=HELD_OUT, seed=4)
    made = build_scenes(
        tmp_path / "scenes", images=60, splits={"train": 1.0}, settings=settings, progress=False
    )
    rows = [row for file in made.files() for row in pq.read_table(file).to_pylist()]
    held_out = world.HeldOut.of(HELD_OUT)
    assert made.counts["images"] == len(rows) == len(drawn) > 30
    assert made.counts["held_out"] > 0
    texts = [text for row in rows for text in (*row["true"], *row["false"])]
    assert len(texts) > 300
    assert not any(held_out.is_in_prompt(text) for text in texts)
    words = " ".join(f" {text} " for text in texts)
    for kind in held_out.nouns:
        assert not any(f" {word} " in words for word in (*KINDS[kind].words, *KINDS[kind].plurals))
    assert not any(held_out.is_in_scene(scene) for scene in drawn)
    assert {row["style"] for row in rows} == set(settings.styles)
    assert {scene.style for scene in drawn} == set(settings.styles)
    recorded = json.loads((tmp_path / "scenes" / "manifest.json").read_text("utf-8"))
    assert recorded["fingerprint"]["held_out"] == held_out.as_dict()
