"""What an answer must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import text_encoders

from croc_syn.writing.responses import Pair, UnusableResponse
from croc_syn.writing.rules import LANGUAGE, LONG, MARKUP, META, PROPERTY, SAME, SHORT, PairChecker
from croc_syn.writing.settings import Encoder

ABOUT = {"subset": "property_variation", "name": "shot size", "id": "shot_size", "path": "layout/framing"}
FIRST = "A close-up of a lizard on warm sand, with soft evening light from the left."
SECOND = "A wide shot of a lizard on warm sand, with soft evening light from the left."


def pair(**changes: str) -> Pair:
    said = {"property": "shot size", "value": "close-up", "contrast_value": "wide shot"}
    return Pair(**(said | {"prompt": FIRST, "contrast_prompt": SECOND} | changes))


def test_a_good_answer_holds_and_its_edit_is_measured() -> None:
    # close-up → wide (changed), shot (added): two words.
    assert PairChecker().check(pair(), ABOUT).edits == 2


@pytest.mark.parametrize("name", ["shot size", "Shot Size", "shot_size", "shot-size"])
def test_the_property_may_be_named_by_name_or_id(name: str) -> None:
    assert PairChecker().check(pair(property=name), ABOUT)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"contrast_prompt": FIRST}, SAME, "have the same words"),
        ({"contrast_prompt": FIRST.upper().replace(",", ";")}, SAME, "have the same words"),
        ({"property": "colour"}, PROPERTY, "contrasts 'colour'; expected 'shot size'"),
        ({"property": ""}, PROPERTY, "does not name the property"),
        ({"value": ""}, PROPERTY, "value or contrast_value is empty"),
        ({"contrast_value": "Close-up"}, PROPERTY, "both are 'close-up'"),
        ({"value": "x" * 300}, PROPERTY, "longer than 200 characters"),
        ({"contrast_prompt": SECOND.replace("a lizard", "the same lizard")}, META, "contains 'the same'"),
        ({"contrast_prompt": "Unlike the first prompt, a wide shot of a lizard."}, META, "Unlike the first"),
        ({"prompt": f"Prompt: {FIRST}"}, META, "Prompt:"),
        ({"prompt": f"Sure, {FIRST}"}, META, "Sure"),
        ({"prompt": f"<b>{FIRST}</b>"}, MARKUP, "'<b>'"),
        ({"prompt": f"<script>alert(1)</script> {FIRST}"}, MARKUP, "'<script>'"),
        ({"prompt": "A (lizard:1.3) on the warm sand of a desert"}, MARKUP, "'(lizard:1.3)'"),
        ({"prompt": "A lizard on warm sand --ar 16:9"}, MARKUP, "'--a'"),
        ({"prompt": "A [COLOUR] lizard on the warm sand"}, MARKUP, "'[COLOUR]'"),
        ({"prompt": "A lizard on the warm sand of {place}"}, MARKUP, "'{'"),
        ({"prompt": "A lizard on the warm sand and so on..."}, MARKUP, "'...'"),
        ({"prompt": "A lizard\x00 on the warm sand"}, MARKUP, "control characters"),
        ({"prompt": "Lizard"}, SHORT, "1 word, fewer than 2"),
        ({"prompt": "a lizard " * 400}, LONG, "3,600 characters, more than 2,000"),
        (
            {"contrast_prompt": "Eine Eidechse liegt auf dem warmen Sand der Wüste und sieht in die Sonne."},
            LANGUAGE,
            "is in German; expected English",
        ),
        (
            {"contrast_prompt": "Un lézard se repose sur le sable chaud du désert, sous une lumière douce."},
            LANGUAGE,
            "is in French; expected English",
        ),
        ({"prompt": "一只蜥蜴在温暖的沙滩上"}, LANGUAGE, "expected English"),
        ({"prompt": "A lizard on warm 沙 with soft light"}, LANGUAGE, "contains '沙'"),
    ],
)
def test_an_answer_that_breaks_a_rule_says_which(changes: dict[str, str], kind: str, words: str) -> None:
    with pytest.raises(UnusableResponse) as refused:
        PairChecker().check(pair(**changes), ABOUT)
    assert refused.value.kind == kind
    assert words in str(refused.value)


def test_in_errors_of_text_a_letter_is_the_contrast() -> None:
    about = {"name": "spelling", "id": "spelling", "path": "text/errors/spelling"}
    slip = pair(
        property="spelling", value="Cafe", contrast_value="cafe", contrast_prompt=FIRST.replace("A c", "a c")
    )
    assert PairChecker().check(slip, about).edits == 0
    with pytest.raises(UnusableResponse, match="have the same words"):
        PairChecker().check(slip, {**about, "path": "colour"})


def test_where_the_model_chooses_the_property_any_name_does() -> None:
    assert PairChecker().check(pair(property="distance of the camera"), {"subset": "entity_variation"})


@pytest.mark.parametrize(
    ("language", "first", "second"),
    [
        ("de", "Eine rote Katze schläft auf dem alten Sofa.", "Eine graue Katze schläft auf dem alten Sofa."),
        ("ja", "赤い車が古い家の前に止まっている。", "青い車が古い家の前に止まっている。"),
    ],
)
def test_another_language_is_the_right_one_where_it_was_asked_for(
    language: str, first: str, second: str
) -> None:
    checker = PairChecker(language)
    assert checker.check(pair(prompt=first, contrast_prompt=second), ABOUT)
    with pytest.raises(UnusableResponse, match="is in English; expected"):
        checker.check(pair(), ABOUT)


def test_tokens_are_counted_as_each_encoder_counts_them(tmp_path: Path) -> None:
    # A token a word or mark, and one at either end.
    encoder = Encoder(name="clip", tokenizer=str(text_encoders.word_tokenizer(tmp_path)), limit=77)
    (count,) = PairChecker(encoders=[(encoder, 77, True)]).check(pair(), ABOUT).tokens
    assert (count.encoder, count.prompt, count.contrast_prompt, count.limit) == ("clip", 21, 20, 77)


@pytest.mark.parametrize("strict", [True, False])
def test_what_an_encoder_cannot_read_is_refused_where_it_must(tmp_path: Path, strict: bool) -> None:
    encoder = Encoder(name="clip", tokenizer=str(text_encoders.word_tokenizer(tmp_path)), limit=10)
    checker = PairChecker(encoders=[(encoder, 10, strict)])
    if not strict:
        assert checker.check(pair(), ABOUT).tokens[0].prompt == 21
        return
    with pytest.raises(UnusableResponse, match="prompt has 21 tokens for clip, which reads at most 10"):
        checker.check(pair(), ABOUT)


@pytest.mark.parametrize(
    "text",
    [
        "A medieval knight in silver armour rides through a foggy forest at dawn",
        "Oil painting, thick brush strokes, two sailing boats, stormy sea, dark clouds",
        "Three ripe bananas, a halved papaya and kiwis on a bamboo tray",
        "An empty road without any cars, under heavy rain",
        'A neon sign that reads "Café Olé" above a narrow door',
        "Kangaroo, didgeridoo, eucalyptus",
    ],
)
def test_plain_english_prompts_are_not_taken_for_something_else(text: str) -> None:
    assert PairChecker().check(pair(prompt=text), ABOUT)


def test_an_unforeseen_property_of_any() -> None:
    about: dict[str, Any] = {"subset": "entity_placement"}
    with pytest.raises(UnusableResponse, match="does not name"):
        PairChecker().check(pair(property=" "), about)
