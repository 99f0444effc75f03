"""What a language model response → the two prompts in it."""

from __future__ import annotations

import json

import pytest

from croc_syn.writing import WriterResponse
from croc_syn.writing.responses import (
    CUT_OFF,
    DECLINED,
    NO_JSON,
    WRONG_KEYS,
    Pair,
    UnusableResponse,
    last_object,
    read_pair,
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
    assert read_pair(WriterResponse(text=text, finish="stop")) == PAIR


def test_a_number_is_a_value_too() -> None:
    pair = read_pair(WriterResponse(text=json.dumps(GOOD | {"value": 2, "contrast_value": 3})))
    assert (pair.value, pair.contrast_value) == ("2", "3")


@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        (WriterResponse(text="", refusal="I can't."), DECLINED, "the model declined: I can't."),
        (WriterResponse(text="", finish="content_filter"), DECLINED, "content filter"),
        (WriterResponse(text="I'm sorry, but I can't help with that."), DECLINED, "I'm sorry"),
        (WriterResponse(text="As an AI language model I do not paint."), DECLINED, "As an AI"),
        (
            WriterResponse(text=TEXT[:60], finish="length", output_tokens=16),
            CUT_OFF,
            "after 16 tokens, before its JSON",
        ),
        (
            WriterResponse(text="<think>Let me", finish="length", output_tokens=9),
            CUT_OFF,
            "during its reasoning",
        ),
        (WriterResponse(text="", finish="length"), CUT_OFF, "during its reasoning"),
        (
            WriterResponse(text="<think>never ends", finish="stop"),
            NO_JSON,
            "reasoning of the model did not end",
        ),
        (
            WriterResponse(text="A red car and a blue car.", finish="stop"),
            NO_JSON,
            "no JSON object in the answer: A red",
        ),
        (WriterResponse(text=str(GOOD)), NO_JSON, "no JSON object"),
        (WriterResponse(text="__import__('os').system('true')"), NO_JSON, "no JSON object"),
        (WriterResponse(text=TEXT.replace('"red"', "NaN")), NO_JSON, "no JSON object"),
        (WriterResponse(text=f"[{TEXT}"[:-1]), NO_JSON, "no JSON object"),
        (WriterResponse(text=TEXT.replace('"value"', '"prompt"')), NO_JSON, "no JSON object"),
        (WriterResponse(text='{"first": "a", "second": "b"}'), WRONG_KEYS, "it has the keys first, second"),
        (WriterResponse(text="{}"), WRONG_KEYS, "it has no keys"),
        (WriterResponse(text=json.dumps(GOOD | {"prompt": ["a"]})), WRONG_KEYS, "prompt is list, not text"),
        (
            WriterResponse(text=json.dumps(GOOD | {"prompt": None})),
            WRONG_KEYS,
            "prompt is NoneType, not text",
        ),
    ],
)
def test_what_is_no_answer_says_why(response: WriterResponse, kind: str, words: str) -> None:
    with pytest.raises(UnusableResponse) as refused:
        read_pair(response)
    assert refused.value.kind == kind
    assert words in str(refused.value)


def test_a_draft_in_a_thought_that_was_cut_off_is_no_answer() -> None:
    response = WriterResponse(text=f"Perhaps {DRAFT}, or", finish="length", output_tokens=50)
    with pytest.raises(UnusableResponse, match="during its reasoning"):
        read_pair(response, reasons=True)
    # Of a model that does not think aloud it is one.
    assert read_pair(response).prompt == "A draft."


def test_reasoning_that_the_service_tells_apart_leaves_the_text_alone() -> None:
    response = WriterResponse(text=TEXT, reasoning=f"Perhaps {DRAFT}", finish="length")
    assert read_pair(response, reasons=True) == PAIR


@pytest.mark.parametrize("text", ["{" * 100_000, '{"a":' * 50_000, "[" * 100_000 + TEXT[:-1], "}" * 100_000])
def test_a_text_of_brackets_takes_no_time(text: str) -> None:
    assert last_object(text[-60_000:]) is None


def test_reasons_hold_in_a_file() -> None:
    with pytest.raises(UnusableResponse) as refused:
        read_pair(WriterResponse(text="broken \ud83d half"))
    assert str(refused.value).encode()
