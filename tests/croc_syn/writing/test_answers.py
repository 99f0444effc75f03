"""What a language model said → the two prompts in it."""

from __future__ import annotations

import json

import pytest

from croc_syn.writing import Said
from croc_syn.writing.answers import (
    CUT_OFF,
    DECLINED,
    NO_JSON,
    WRONG_KEYS,
    Pair,
    Refused,
    last_object,
    pair_of,
)

GOOD = {
    "property": "colour",
    "value": "red",
    "contrast_value": "blue",
    "prompt": "A red car on a street.",
    "contrast_prompt": "A blue car on a street.",
}
TEXT = json.dumps(GOOD)
DRAFT = json.dumps(GOOD | {"prompt": "A draft.", "contrast_prompt": "Another draft."})
PAIR = Pair(**GOOD)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"```json\n{TEXT}\n```",
        f"Here is the pair:\n```\n{TEXT}\n```\nI hope that this helps!",
        f"<think>Perhaps {DRAFT}? No.</think>\n\n{TEXT}",
        # The chat template of a model that reasons opens the thought itself.
        f"Perhaps {DRAFT}? No.\n</think>\n{TEXT}",
        f"<thinking>so {{so}}</thinking>{TEXT}",
        f"<think>one</think> {DRAFT} <think>two</think> {TEXT}",
        f"{DRAFT}\nOn second thoughts:\n{TEXT}\nDone {{ really }}.",
        TEXT.replace("A red car on", "A red car\\n   on"),
        json.dumps(GOOD, indent=4).replace("street.", "street.\n", 1),
        json.dumps(GOOD | {"explanation": "one more key does no harm"}),
        "{" * 50 + TEXT,
        f"{{'property': 'colour'}} {TEXT}",
    ],
)
def test_the_last_object_after_any_reasoning_is_the_answer(text: str) -> None:
    assert pair_of(Said(text=text, finish="stop")) == PAIR


def test_a_number_is_a_value_too() -> None:
    pair = pair_of(Said(text=json.dumps(GOOD | {"value": 2, "contrast_value": 3})))
    assert (pair.value, pair.contrast_value) == ("2", "3")


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (Said(text="", refusal="I can't."), DECLINED, "the model declined: I can't."),
        (Said(text="", finish="content_filter"), DECLINED, "content filter"),
        (Said(text="I'm sorry, but I can't help with that."), DECLINED, "I'm sorry"),
        (Said(text="As an AI language model I do not paint."), DECLINED, "As an AI"),
        (
            Said(text=TEXT[:60], finish="length", output_tokens=16),
            CUT_OFF,
            "after 16 tokens, before its JSON",
        ),
        (Said(text="<think>Let me", finish="length", output_tokens=9), CUT_OFF, "while it was thinking"),
        (Said(text="", finish="length"), CUT_OFF, "while it was thinking"),
        (Said(text="<think>never ends", finish="stop"), NO_JSON, "end of its thoughts"),
        (
            Said(text="A red car and a blue car.", finish="stop"),
            NO_JSON,
            "no JSON object in the answer: A red",
        ),
        (Said(text=str(GOOD)), NO_JSON, "no JSON object"),
        (Said(text="__import__('os').system('true')"), NO_JSON, "no JSON object"),
        (Said(text=TEXT.replace('"red"', "NaN")), NO_JSON, "no JSON object"),
        (Said(text=f"[{TEXT}"[:-1]), NO_JSON, "no JSON object"),
        (Said(text=TEXT.replace('"value"', '"prompt"')), NO_JSON, "no JSON object"),
        (Said(text='{"first": "a", "second": "b"}'), WRONG_KEYS, "it has first, second"),
        (Said(text="{}"), WRONG_KEYS, "it has nothing"),
        (Said(text=json.dumps(GOOD | {"prompt": ["a"]})), WRONG_KEYS, "prompt is list, not text"),
        (Said(text=json.dumps(GOOD | {"prompt": None})), WRONG_KEYS, "prompt is NoneType, not text"),
    ],
)
def test_what_is_no_answer_says_why(said: Said, kind: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        pair_of(said)
    assert refused.value.kind == kind
    assert words in str(refused.value)


def test_a_draft_in_a_thought_that_was_cut_off_is_no_answer() -> None:
    said = Said(text=f"Perhaps {DRAFT}, or", finish="length", output_tokens=50)
    with pytest.raises(Refused, match="while it was thinking"):
        pair_of(said, reasons=True)
    # Of a model that does not think aloud it is one.
    assert pair_of(said).prompt == "A draft."


def test_reasoning_that_the_service_tells_apart_leaves_the_text_alone() -> None:
    said = Said(text=TEXT, reasoning=f"Perhaps {DRAFT}", finish="length")
    assert pair_of(said, reasons=True) == PAIR


@pytest.mark.parametrize("text", ["{" * 100_000, '{"a":' * 50_000, "[" * 100_000 + TEXT[:-1], "}" * 100_000])
def test_a_text_of_brackets_takes_no_time(text: str) -> None:
    assert last_object(text[-60_000:]) is None


def test_reasons_hold_in_a_file() -> None:
    with pytest.raises(Refused) as refused:
        pair_of(Said(text="broken \ud83d half"))
    assert str(refused.value).encode()
