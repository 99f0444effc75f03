"""What each condition changes in the training questions."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_training import checks_and_questions

from croc.errors import InputError
from croc_syn.world import parse, read_scene, satisfies
from crocscore.experiments.conditions import Condition, change_questions, label_noise
from crocscore.experiments.image_noise import image_of


def rows(n: int = 40) -> pa.Table:
    return pa.table(
        {
            "pair_id": [f"p{i}" for i in range(n)],
            "check_id": [f"c{i // 4}" for i in range(n)],
            "category": ["counting" if i < n // 2 else None for i in range(n)],
            "property": ["count" if i < n // 2 else "colour" for i in range(n)],
            "label": [i % 2 == 0 for i in range(n)],
        }
    )


@pytest.mark.parametrize(("name", "column"), [("counting", "category"), ("colour", "property")])
def test_a_property_is_left_out_by_its_category_or_by_its_own_name(name, column):
    left = change_questions(rows(), Condition("x", leave_out=name), seed=0)
    assert len(left) == 20 and name not in left[column].to_pylist()


def test_smaller_shares_are_part_of_larger_ones_and_keep_checks_whole():
    some, more = (change_questions(rows(), Condition("x", share=share), 0) for share in (0.3, 0.6))
    assert (len(some), len(more)) == (12, 24)
    assert set(some["pair_id"].to_pylist()) < set(more["pair_id"].to_pylist())
    assert set(change_questions(rows(), Condition("x", share=0.3), 1)["check_id"].to_pylist()) != set(
        some["check_id"].to_pylist()
    )


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_noise_flips_as_many_answers_as_it_says(noise):
    before, after = rows()["label"].to_pylist(), change_questions(rows(), Condition("x", noise=noise), 0)
    flipped = [a != b for a, b in zip(before, after["label"].to_pylist(), strict=True)]
    assert sum(flipped) == noise * 40
    assert after.drop(["label"]).equals(rows().drop(["label"]))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition("x", leave_out="shape"), "'shape'; the questions are about colour, count, counting"),
        (Condition("x", share=0.01), "no question is left"),
    ],
)
def test_a_condition_that_leaves_nothing_is_refused(condition, message):
    with pytest.raises(InputError, match=message):
        change_questions(rows(), condition, 0)


def test_the_level_without_noise_is_one_condition_of_all_kinds():
    names = [one.name for one in label_noise((0.0, 0.3), ("flips", "count"))[1:]]
    assert names == ["no-noise", "flips-0.3", "count-0.3"]
    with pytest.raises(InputError, match="no noise is called 'blur'; expected flips, count, binding"):
        label_noise((0.1,), ("blur",))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    properties = ("count", "colour_binding", "colour")
    folder = checks_and_questions(tmp_path_factory.mktemp("data"), checks=45, properties=properties)[1]
    return pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("data/train-*.parquet"))])


@pytest.mark.parametrize("kind", ["count", "binding", "missing"])
def test_images_with_an_error_are_images_of_another_scene_with_the_same_answers(stored, kind):
    """By the oracle: a wrong image does not satisfy the prompt whose answer still is Yes."""
    changed = change_questions(stored, Condition("x", noise=0.5, noise_kind=kind), seed=0)
    kept = [name for name in stored.column_names if name not in ("image", "valid")]
    assert changed.select(kept).equals(stored.select(kept)) and changed.schema == stored.schema
    before, after = stored.to_pylist(), changed.to_pylist()
    wrong = {image for image, row in zip(image_of(changed), after, strict=True) if row["valid"] is False}
    images = set(image_of(stored))
    assert 0 < len(wrong) <= round(0.5 * len(images))
    if kind == "missing":  # every prompt names something
        assert len(wrong) == round(0.5 * len(images))
    for image, old, new in zip(image_of(stored), before, after, strict=True):
        assert (new["image"]["bytes"] != old["image"]["bytes"]) == (image in wrong)
        if image in wrong and new["label"]:
            scene, meaning = read_scene(new["image"]["bytes"]), parse(new["prompt"])
            assert not satisfies(scene, meaning) and satisfies(read_scene(old["image"]["bytes"]), meaning)
            if kind == "count":
                shown = {k: sum(t.kind == k for t in scene.things) for k in meaning.totals()}
                assert shown != meaning.totals() and all(shown[g.kind] for g in meaning.groups)
    again = change_questions(stored, Condition("x", noise=0.5, noise_kind=kind), seed=0)
    assert again.equals(changed)
    other = change_questions(stored, Condition("x", noise=0.5, noise_kind=kind), seed=1)
    assert not other["valid"].equals(changed["valid"])
