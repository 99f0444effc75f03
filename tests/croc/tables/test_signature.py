"""A signature says under which settings a number holds, and can be read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from croc.errors import InputError
from croc.tables.metadata import ScoreMetadata
from croc.tables.signature import KEYS, Signature, scorer_part

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["|", ":", "\\", "a|b:c", "\\|", "\n", "sha256:abc", " "]
)
signatures = st.dictionaries(text.filter(bool), text, max_size=8).map(Signature.of)


@given(signatures)
def test_the_long_form_gives_the_signature_back(signature):
    assert Signature.parse(str(signature)) == signature
    assert "\n" not in str(signature)


def test_the_long_form_of_a_plain_signature_is_easy_to_read():
    metadata = ScoreMetadata.of_scorer(
        "clip",
        {"revision": "abc", "dtype": "float32", "window": "77"},
        protocol="syn",
        dataset="croc/syn",
        dataset_revision="sha256:12",
        library_versions={"croc-t2i": "0.1.0"},
        run={"method": "pairs"},
    )
    assert str(metadata.signature) == (
        "croc:0.1.0|protocol:syn|dataset:croc/syn|dataset_revision:sha256:12"
        "|scorer:clip|revision:abc|dtype:float32|window:77"
    )


def test_the_short_form_abbreviates_keys_and_hashes_and_leaves_out_what_is_unknown():
    signature = Signature.of(protocol="hum", dataset="a", dataset_revision="0123456789abcdef0123")
    signature |= scorer_part("x", {"colour": "red"})
    assert signature.short() == "p:hum|d:a|dr:0123456789abcdef|s:x|colour:red"


def test_separators_in_keys_and_values_are_escaped():
    signature = Signature((("a:b", "c|d"), ("e", "f:g\\h")))
    assert str(signature) == r"a\:b:c\|d|e:f:g\\h"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("protocol", "'protocol' is not of the form key:value"),
        ("a:1|", "'' is not of the form key:value"),
        ("a:1|a:2", "duplicate key 'a' in a signature"),
        (":1", "a key of a signature is empty"),
        ("a:\\x", "'x' after a backslash; expected one of"),
        ("a:\\", "'' after a backslash; expected one of"),
    ],
)
def test_what_is_no_signature_is_refused(bad, message):
    with pytest.raises(InputError) as refused:
        Signature.parse(bad)
    assert message in str(refused.value)


def test_an_empty_text_is_the_empty_signature():
    assert Signature.parse("") == Signature()


def test_keys_of_a_scorer_never_meet_those_of_the_program():
    # The baselines' seed is not the seed of the bootstrap.
    part = scorer_part("random", {"seed": "5", "scorer": "odd", "scorer_seed": "6"})
    assert dict(part) == {
        "scorer": "random",
        "revision": "unknown",
        "scorer_scorer": "odd",
        "scorer_seed": "6",
        "scorer_scorer_seed": "5",
    }
    assert dict(Signature.of(seed=1) | part)["seed"] == "1"


def test_a_long_value_of_a_scorer_is_replaced_by_its_hash():
    # printf 'x%.0s' $(seq 61) | sha256sum
    assert scorer_part("a", {"template": "x" * 60}).get("template") == "x" * 60
    assert scorer_part("a", {"template": "x" * 61}).get("template") == "sha256:c508e75f24e2"


def test_two_scorers_on_the_same_checks_are_comparable():
    shared = Signature.of(protocol="syn", dataset="d", dataset_revision="1", seed=3)
    one, other = shared | scorer_part("a", {}), shared | scorer_part("b", {"window": "77"})
    assert one.is_comparable(other) and one.shared == shared == other.shared
    later = Signature.of(protocol="syn", dataset="d", dataset_revision="2", seed=3) | scorer_part("a", {})
    assert not one.is_comparable(later)
    assert one.differences(later) == {"dataset_revision": ("1", "2")}
    assert one.differences(later, "protocol", "dataset") == {}
    assert one.differences(later.without("seed"), "seed") == {"seed": ("3", None)}
    assert one.only("seed", "protocol") == Signature.of(protocol="syn", seed=3)


def test_each_key_and_each_abbreviation_is_declared_once():
    assert len({key.name for key in KEYS}) == len({key.short for key in KEYS}) == len(KEYS)


@given(signatures)
def test_a_pydantic_model_holds_a_signature_as_its_text(signature):
    adapter = TypeAdapter(Signature)
    assert adapter.dump_python(signature, mode="json") == str(signature)
    assert adapter.validate_json(adapter.dump_json(signature)) == signature


@pytest.mark.parametrize("bad", ['"a"', "1", "null"])
def test_a_pydantic_model_refuses_what_is_no_signature(bad):
    with pytest.raises(ValidationError):
        TypeAdapter(Signature).validate_json(bad)


def test_metadata_that_another_tool_wrote_may_hold_numbers():
    flat = {"scorer": "theirs", "extra": '{"window": 77, "case": null}', "run": '{"method": "own"}'}
    metadata = ScoreMetadata.from_parquet(flat, default_name="?", source="t.parquet")
    assert str(metadata.signature) == "scorer:theirs|revision:unknown|case:null|window:77"
    assert ScoreMetadata.from_parquet(metadata.to_parquet(), default_name="?", source="t") == metadata
