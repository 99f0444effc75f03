"""Annotated scenes: the builder, the arrays, and stage one of the small models on them."""

from __future__ import annotations

import io
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from builders.scenes import Settings, annotated, build_scenes, captions_of, layout_of, main, mixed
from builders.screening import folded, split_of
from builders.syn import build_exact
from croc.errors import InputError
from croc_syn import world
from croc_syn.world.contrasts.claims import make_claims
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.scenes.seeded_random import SeededRandom
from crocscore.model import CROCScore
from crocscore.pretraining import architectures as tiny
from crocscore.pretraining import pretrain as describe
from crocscore.pretraining import sampling
from crocscore.pretraining.scenes import NONE, Scenes, centres, covers, owners, read_scenes, texts_of

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
    said = {folded(text) for row in rows for text in (*row["true"], *row["false"])}
    assert not said & captions_of(checks)


def test_the_boxes_and_words_are_those_of_the_scene() -> None:
    scene = world.sample("two red dogs in a kitchen", 3)
    row = annotated(scene)
    dogs = [thing for thing in row["things"] if thing["kind"] == "dog"]
    assert len(dogs) == 2
    assert all({"colour=red", "count=2"} <= set(dog["words"]) for dog in dogs)
    assert dogs[0]["box"] == list(next(thing.box for thing in scene.things if thing.kind == "dog"))
    assert "setting=kitchen" in row["whole"]
    stand = {
        thing["kind"]: thing["words"]
        for thing in annotated(world.sample("a dog in front of a cat", 3))["things"]
    }
    assert "depth=front" in stand["dog"] and "depth=behind" in stand["cat"]
    row = annotated(world.sample("five dogs in a row", 3))
    assert all("layout=row" in thing["words"] for thing in row["things"])
    small = [(x, x * x, x + 0.1, x * x + 0.1) for x in (0.1, 0.3, 0.5, 0.8)]
    assert layout_of(small) == "scattered" and layout_of(small[:2]) == ""


def test_mixed_things_have_any_parts_and_surface_and_the_prompt_stays_true() -> None:
    own, other = "a dog in a kitchen", "a dog in a street"
    legs, textures = set(), set()
    for seed in range(60):
        scene = world.sample(own, seed)
        changed = mixed(scene, own, other, 1.0, SeededRandom("mixed", seed))
        assert world.satisfies(changed, own) and not world.satisfies(changed, other)
        assert changed == mixed(scene, own, other, 1.0, SeededRandom("mixed", seed))
        for before, after in zip(scene.things, changed.things, strict=True):
            assert (before.kind, before.colour, before.shape) == (after.kind, after.colour, after.shape)
            assert after.box[3] == pytest.approx(before.box[3]) and after.size == pytest.approx(before.size)
            if after.kind == "dog":
                legs.add(dict(after.parts)["leg"])
                textures.add(after.texture)
        assert mixed(scene, own, other, 0.0, SeededRandom("mixed", seed)) == scene
    assert len(legs) > 3 and len(textures) > 3


def test_what_the_prompt_says_is_not_drawn_anew() -> None:
    own, other = "a dog with three legs", "a dog with four legs"
    for seed in range(20):
        changed = mixed(world.sample(own, seed), own, other, 1.0, SeededRandom("stated", seed))
        assert [dict(thing.parts)["leg"] for thing in changed.things if thing.kind == "dog"] == [3]


def test_scenes_of_chosen_properties(tmp_path: Path) -> None:
    settings = Settings(sizes=(48,), claims=0)
    chosen = ["texture", "thing_parts"]
    build_scenes(
        tmp_path / "s", images=16, splits=SPLITS, properties=chosen, settings=settings, progress=False
    )
    said = [row["about"][0] for file in (tmp_path / "s" / "parts").iterdir() for row in read_rows(file)]
    assert len(said) == 16 and set(said) == {"texture", "thing_part"}
    with pytest.raises(InputError, match=r"no check varies taste; there are .*texture"):
        build_scenes(tmp_path / "t", images=1, splits=SPLITS, properties=["taste"])


def read_rows(file: Path) -> list[dict]:
    return pq.read_table(file).to_pylist()


def encode(texts: list[str]) -> list[list[int]]:
    return [[len(word) for word in text.split()] for text in texts]


def test_arrays_hold_what_the_files_hold(folder: Path, rows: list[dict], tmp_path: Path) -> None:
    files = sorted((folder / "parts").glob("*.parquet"))
    scenes = read_scenes(files, encode, side=112)
    assert len(scenes) == len(rows)
    i = next(i for i, row in enumerate(rows) if len(row["things"]) > 1)
    row = rows[i]
    with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
        if image.size == (112, 112):
            assert np.array_equal(scenes.pixels[i], np.asarray(image.convert("RGB")))
    mine = slice(scenes.first[i], scenes.first[i + 1])
    kinds = [scenes.vocabulary.kinds[k] for k in scenes.kind[mine]]
    assert kinds == [thing["kind"] for thing in row["things"]]
    for labels, thing in zip(scenes.words[mine], row["things"], strict=True):
        words = {
            f"{name}={values[label]}"
            for (name, values), label in zip(scenes.vocabulary.thing.items(), labels, strict=True)
            if label != NONE
        }
        assert words == set(thing["words"])
    pairs = range(scenes.pairs[i], scenes.pairs[i + 1])
    assert [scenes.pair(k) for k in pairs] == [
        tuple(encode([true, false])) for true, false in zip(row["true"], row["false"], strict=True)
    ]
    scenes.save(tmp_path / "arrays")
    again = Scenes.load(tmp_path / "arrays")
    assert np.array_equal(again.pixels, scenes.pixels)
    assert again.vocabulary == scenes.vocabulary


def test_a_patch_belongs_to_the_foremost_box_over_its_middle(folder: Path) -> None:
    scenes = read_scenes(sorted((folder / "parts").glob("*.parquet")), encode, side=112)
    for i in range(20):
        boxes = scenes.box[scenes.first[i] : scenes.first[i + 1]]
        for place, owner in enumerate(owners(boxes, 8)):
            y, x = (place // 8 + 0.5) / 8, (place % 8 + 0.5) / 8
            over = [k for k, b in enumerate(boxes) if b[0] <= x <= b[2] and b[1] <= y <= b[3]]
            assert owner == (over[-1] if over else -1)


def test_a_box_is_shared_out_to_the_patches_that_it_lies_in() -> None:
    shares = covers(np.array([[0.0, 0.0, 0.5, 0.25], [0.2, 0.6, 0.3, 0.7]], dtype=np.float32), 4)
    assert shares.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert np.flatnonzero(shares[0]).tolist() == [0, 1]
    assert shares[0, :2] == pytest.approx([0.5, 0.5])
    # Half of the second box lies left of the border at 0.25, all of it between 0.5 and 0.75 downwards.
    assert shares[1, [8, 9]] == pytest.approx([0.5, 0.5], abs=1e-5)


def test_things_from_close_by_fill_the_image(folder: Path) -> None:
    words, scenes = describe.prepared([folder], None, None)
    stage = describe.Stage("look", scenes, words, None, sampling.Plan(images=6, close=1))
    sampler = describe.sampler_of(stage, scenes, np.arange(len(scenes)))
    first, second = itertools.islice(sampler.batches(0), 2)
    assert first["close"].shape[1:] == (3, sampling.CLOSE, sampling.CLOSE)
    assert len(first["close"]) == len(first["kind"]) <= 12
    assert float(first["close"].abs().max()) <= 1.0
    assert "pixels" in second
    # A square of one colour in the middle of an image of another: what is cut out is mostly the square.
    scenes.pixels = np.zeros((1, 160, 160, 3), dtype=np.uint8)
    scenes.pixels[0, 60:100, 60:100] = 255
    scenes.first, scenes.box = np.array([0, 1]), np.array([[60, 60, 100, 100]], dtype=np.float32) / 160
    close = sampler.close([0], np.random.default_rng(0), 1)["close"]
    assert 0.4 < float((close > 0).float().mean()) < 0.95


def test_it_is_asked_how_many_mostly_of_what_there_are_several_of() -> None:
    scene = world.sample("five dogs and a cat", 3)
    said = [
        each.true
        for seed in range(60)
        for each in make_claims(scene, 12, SeededRandom("count", seed))
        if each.about == "count"
    ]
    assert len(said) > 40
    assert sum("dogs" in text for text in said) > 0.6 * len(said)
    assert any("cat" in text for text in said)


def test_what_is_right_of_another_thing_is_false_of_this_one() -> None:
    said = [
        each
        for prompt in ("a red dog in a park", "three striped balls")
        for seed in range(40)
        for each in make_claims(world.sample(prompt, 3), 12, SeededRandom("kind", seed))
        if each.about == "entity"
    ]
    red = [each for each in said if "red dog" in each.true]
    assert red and all("red" in each.false and "dog" not in each.false for each in red)
    assert any("three" in each.false and "ball" not in each.false for each in said)


def test_a_patch_holds_the_middles_of_things() -> None:
    boxes = np.array([[0.0, 0.0, 0.2, 0.2], [0.05, 0.0, 0.15, 0.2], [0.6, 0.9, 1.4, 1.3]], dtype=np.float32)
    assert np.flatnonzero(found := centres(boxes, 4)).tolist() == [0, 15]
    assert found[0] == 2 and len(found) == 16


@pytest.fixture(scope="module")
def tower(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tower") / "tower"
    given = ["--scenes", str(folder), "--out", str(out), "--steps", "100", "--images", "4", "--every", "40"]
    assert describe.main(["look", *given, "--warmup", "2", "--close", "20"]) == 0
    return out


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_looking_gets_better(tower: Path) -> None:
    measured = {line["step"]: line["held/look"] for line in lines(tower) if "held/look" in line}
    assert list(measured) == [40, 80, 100]
    assert measured[100] < measured[40]
    assert (tower / "tower.safetensors").is_file()


@pytest.mark.parametrize("what", ["read", "dual"])
def test_a_stage_gives_a_model_that_scores(what: str, folder: Path, tower: Path, tmp_path: Path) -> None:
    given = ["--scenes", str(folder), "--start", str(tower), "--steps", "2", "--images", "2", "--every", "2"]
    assert describe.main([what, *given, "--point", "0.5", "--out", str(tmp_path / "out")]) == 0
    last = lines(tmp_path / "out")[-1]
    assert 0.0 <= last["held/right"] <= 1.0
    assert ("point" in last) == (what == "read")
    image = Image.open(io.BytesIO(world.draw("a red dog", 0).png)).convert("RGB")
    prompts = ["a red dog", "three blue cats and no umbrella"]
    if what == "read":
        scorer = CROCScore.from_pretrained(tmp_path / "out")
        assert np.isfinite(scorer.score([image, image], prompts)).all()
        assert scorer.settings.question == tiny.QUESTION
    else:
        from croc.scorers.dual_encoder import DualEncoder

        assert np.isfinite(DualEncoder(str(tmp_path / "out")).score([image, image], prompts)).all()


def test_a_tower_with_a_share_of_0_stays_as_it_is(folder: Path, tower: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    given = ["--scenes", str(folder), "--start", str(tower), "--steps", "2", "--images", "2", "--every", "2"]
    for share in ("0", "0.3"):
        assert describe.main(["read", *given, "--tower", share, "--out", str(tmp_path / share)]) == 0
    before, still, moved = (
        load_file(path / "tower.safetensors") for path in (tower, tmp_path / "0", tmp_path / "0.3")
    )
    assert all(bool((before[name] == still[name]).all()) for name in before)
    assert not all(bool((before[name] == moved[name]).all()) for name in before)


def test_what_is_left_out_is_not_said_in_training_and_measured_all_the_same(folder: Path) -> None:
    words, scenes = describe.prepared([folder], None, None)
    plan = sampling.Plan(images=4, claims=5, without="colour,count")
    stage = describe.Stage("read", scenes, words, None, plan)
    rows = np.arange(len(scenes))
    sampler = describe.sampler_of(stage, scenes, rows)
    known = scenes.vocabulary.about
    said = {known[label] for batch in itertools.islice(sampler.batches(0), 30) for label in batch["about"]}
    assert said and not said & {"colour", "count"}
    assert {"right/colour", "right/count"} <= describe.measure(stage, sampler, rows).keys()
    with pytest.raises(InputError, match="differs in 'taste'"):
        wrong = sampling.Plan(without="taste")
        describe.sampler_of(describe.Stage("read", scenes, words, None, wrong), scenes, rows)


def test_what_is_left_out_things_do_not_say_of_themselves(folder: Path) -> None:
    words, scenes = describe.prepared([folder], None, None)
    plan = sampling.Plan(images=24, crops=24, without="colour,action,body_part", point=0.5)
    stage = describe.Stage("read", scenes, words, None, plan)
    sampler = describe.sampler_of(stage, scenes, np.arange(len(scenes)))
    (batch,) = itertools.islice(sampler.batches(0), 1)
    rows = np.arange(24)
    shown = sampler.batch(rows, np.random.default_rng(0), everything=True)["words"]
    for number, name in enumerate(scenes.vocabulary.thing):
        hidden = name in ("colour", "pose") or name.startswith("part:")
        for words in (batch["words"], batch["crops"]["words"]):
            assert not hidden or bool((words[:, number] == NONE).all()), name
        if name in ("colour", "texture"):
            assert bool((shown[:, number] != NONE).any())
            assert bool((batch["words"][:, number] == NONE).all()) == hidden
    loss, parts = stage.loss(batch, sampler)
    assert np.isfinite(loss.item()) and parts["worded"] > 0


def test_what_is_easy_is_drawn_less_often(folder: Path) -> None:
    _, scenes = describe.prepared([folder], None, None)
    known = scenes.vocabulary.about

    def share(less: str) -> float:
        plan = sampling.Plan(images=4, claims=3, less=less)
        sampler = sampling.Sampler(scenes, np.arange(len(scenes)), plan, [], [])
        said = [
            known[label] for batch in itertools.islice(sampler.batches(0), 60) for label in batch["about"]
        ]
        return said.count("colour") / len(said)

    assert 0 < share("colour") < 0.7 * share("")


def test_a_model_is_trained_on_from_where_it_was(folder: Path, tower: Path, tmp_path: Path) -> None:
    given = ["--scenes", str(folder), "--steps", "2", "--images", "2", "--every", "2"]
    assert describe.main(["read", *given, "--start", str(tower), "--out", str(tmp_path / "one")]) == 0
    words, scenes = describe.prepared([folder], None, None)
    rows = np.arange(len(scenes))
    plan = sampling.Plan(images=2)
    on = describe.Stage("read", scenes, words, tmp_path / "one", plan)
    anew = describe.Stage("read", scenes, words, tower, plan)
    measured = [
        describe.measure(stage, describe.sampler_of(stage, scenes, rows), rows) for stage in (on, anew)
    ]
    assert measured[0] != measured[1]
    # A model that was published has no heads beside it; its tower and its language model go on.
    (tmp_path / "one" / "tower.safetensors").unlink()
    published = describe.Stage("look", scenes, words, tmp_path / "one", plan)
    kept = published.tower.state_dict()  # rounded to fp16 when it was saved
    assert all(value.half().equal(kept[name].half()) for name, value in on.tower.state_dict().items())
    with pytest.raises(InputError, match=r"neither tower\.safetensors nor a model"):
        describe.Stage("read", scenes, words, tmp_path, plan)
    saved, mine = CROCScore(tmp_path / "one").checkpoint.model.state_dict(), on.model.state_dict()
    assert saved.keys() == mine.keys()
    language = [name for name in mine if "language_model" in name]
    assert language and all(bool((mine[name] == saved[name]).all()) for name in language)


def test_a_name_in_a_prompt_learns_of_the_things_that_bear_it(folder: Path) -> None:
    words, scenes = describe.prepared([folder], None, None)
    rows = np.arange(40)
    stage = describe.Stage("read", scenes, words, None, sampling.Plan(claims=5, point=0.5))
    sampler = describe.sampler_of(stage, scenes, rows)
    batch = sampler.batch(rows, np.random.default_rng(0))
    told: list[tuple[list[float], list[int]]] = []

    def point(states, box, labels):
        told.extend(zip(box.tolist(), labels.tolist(), strict=True))
        return states.sum() * 0

    stage.point = point
    stage.margins(stage.states(batch["pixels"]), batch, sampler)
    columns = list(scenes.vocabulary.thing)
    expected, several = [], 0
    for image, pairs in zip(rows, batch["said"], strict=True):
        things = np.arange(scenes.first[image], scenes.first[image + 1])
        for text in (words.decode(ids) for pair in pairs for ids in pair):
            for label, column in spoken(text, scenes.vocabulary.kinds):
                mine = things[scenes.kind[things] == scenes.vocabulary.kinds.index(label)]
                if not len(mine):
                    continue
                box = [*scenes.box[mine, :2].min(0).tolist(), *scenes.box[mine, 2:].max(0).tolist()]
                common = np.where(np.ptp(scenes.words[mine], axis=0) == 0, scenes.words[mine[0]], NONE)
                if column:
                    common = np.where(np.array(columns) == column, common, NONE)
                if column and (common == NONE).all():
                    continue
                several += len(mine) > 1
                expected.append((box, common.tolist()))
    assert told == expected
    counts = [labels[columns.index("count")] for _, labels in told]
    assert len(told) > 40 and several > 5
    assert {
        columns[i].partition(":")[0] for _, labels in told for i in np.flatnonzero(np.array(labels) != NONE)
    } > {"part", "count", "depth"}
    assert any(label != NONE for label in counts)


def spoken(text: str, kinds: list[str]) -> list[tuple[str, str]]:
    """Kinds and parts that a prompt names, in its order: (kind, "") or (kind before it, "part:…")."""
    spelled: dict[str, tuple[str, str]] = {}
    for kind in kinds:
        for part in KINDS[kind].parts:
            spelled |= {word: ("", part.word) for word in (part.word, part.plural_word)}
    spelled |= {word: (kind, "") for kind in kinds for word in (*KINDS[kind].words, *KINDS[kind].plurals)}
    longest_first = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
    found, last = [], None
    for match in re.finditer(rf"(?<= )({longest_first})(?![a-z])", text):
        kind, part = spelled[match[1]]
        if kind:
            last = kind
        if last:
            found.append((last, f"part:{part}" if part else ""))
    return found


def test_packed_claims_score_as_the_scorer_scores_them_one_by_one(
    folder: Path, tower: Path, tmp_path: Path
) -> None:
    import torch

    given = ["--scenes", str(folder), "--start", str(tower), "--steps", "1", "--images", "2", "--every", "1"]
    assert describe.main(["read", *given, "--out", str(tmp_path / "out")]) == 0
    words, scenes = describe.prepared([folder], None, None)
    plan = sampling.Plan(images=3, claims=3)
    stage = describe.Stage("read", scenes, words, None, plan)
    stage.model.load_state_dict(CROCScore(tmp_path / "out").checkpoint.model.state_dict())
    stage.model.eval()
    sampler = describe.sampler_of(stage, scenes, np.arange(len(scenes)))
    rows = np.flatnonzero(np.diff(scenes.pairs) >= 3)[:3]
    batch = sampler.batch(rows, np.random.default_rng(0))
    with torch.inference_mode():
        margins = stage.margins(stage.states(batch["pixels"]), batch, sampler).numpy()
    scorer = CROCScore(tmp_path / "out")
    images = [Image.fromarray(scenes.pixels[i]) for i in rows]
    texts = [[words.decode(ids).strip() for pair in pairs for ids in pair] for pairs in batch["said"]]
    alone = [scorer.score([image] * len(asked), asked) for image, asked in zip(images, texts, strict=True)]
    np.testing.assert_allclose(margins, np.concatenate(alone), atol=1e-4)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(folder: Path, tmp_path: Path) -> None:
    words, scenes = describe.prepared([folder], None, None)
    plan = sampling.Plan(steps=4, images=2, every=2, warmup=2)

    class Stopped(Exception):
        pass

    whole = describe.train(describe.Stage("look", scenes, words, None, plan), scenes, 8, tmp_path / "whole")
    stage = describe.Stage("look", scenes, words, None, plan)
    losses, real = [], stage.loss

    def stopping(*arguments: object) -> object:
        if len(losses) == 3:
            raise Stopped
        losses.append(1)
        return real(*arguments)

    stage.loss = stopping  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        describe.train(stage, scenes, 8, tmp_path / "cut")
    again = describe.train(describe.Stage("look", scenes, words, None, plan), scenes, 8, tmp_path / "cut")
    assert again == pytest.approx(whole, abs=1e-6)


def test_errors_are_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main(["look", "--scenes", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "make scenes with builders/scenes.py" in capsys.readouterr().err
    assert main(["--images", "2", "--train", "0", "--validation", "0.5", "--out", str(tmp_path / "s")]) == 2
    assert "give it a share" in capsys.readouterr().err
    with pytest.raises(InputError, match="croc build syn"):
        captions_of(tmp_path)
    assert texts_of(sorted((folder / "parts").glob("*.parquet")))
