"""Tokens of a prompt: each word counted once, and still what the tokenizer itself counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from croc.jobs.parts import Abort
from croc_syn.writing.settings import Encoder
from croc_syn.writing.tokens import TokenCounter, token_counter, word_by_word

TEXTS = (
    "A small red dog sits beside the dog's old house, with soft light from the left.",
    "Two large red dogs don't sit beside their houses; they're on a 12-metre wall (in the sun).",
)


def trained(model: Any, trainer: Any, normalizer: Any, pre_tokenizer: Any) -> Tokenizer:
    """A tokenizer that joined letters to pieces of these texts, with a mark at either end."""
    made = Tokenizer(model)
    if normalizer is not None:
        made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizer
    made.train_from_iterator(TEXTS, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return made


def pieces(**options: Any) -> Any:
    return trainers.BpeTrainer(vocab_size=150, special_tokens=["<s>", "</s>"], show_progress=False, **options)


def like_clip() -> Tokenizer:
    pattern = Regex(
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    )
    steps = [pre_tokenizers.Split(pattern, "removed", invert=True), pre_tokenizers.ByteLevel(False)]
    clean = [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    return trained(
        models.BPE(end_of_word_suffix="</w>"),
        pieces(end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
        normalizers.Sequence(clean),
        pre_tokenizers.Sequence(steps),
    )


def like_t5() -> Tokenizer:
    made = trained(
        models.Unigram(),
        trainers.UnigramTrainer(
            vocab_size=80, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
        ),
        normalizers.NFKC(),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
    )
    made.add_special_tokens([AddedToken("<extra_id_0>", lstrip=True)])
    return made


def like_gpt2() -> Tokenizer:
    return trained(models.BPE(), pieces(), None, pre_tokenizers.ByteLevel(add_prefix_space=False))


def like_llama() -> Tokenizer:
    """Joins letters across words."""
    return trained(models.BPE(), pieces(), None, pre_tokenizers.Metaspace(split=False))


MADE: dict[Callable[[], Tokenizer], bool] = {
    like_clip: True,
    like_t5: True,
    like_gpt2: True,
    like_llama: False,
}
TOKENIZERS = [make() for make in MADE]
COUNTERS = [TokenCounter(made) for made in TOKENIZERS]

WORDS = st.sampled_from(
    [word for text in TEXTS for word in text.split()] + ["<extra_id_0>", "</s>", "café", "▁"]
)


@given(st.lists(WORDS | st.text(st.characters(codec="ascii"), max_size=8), max_size=12).map(" ".join))
@example("")
@example(" a dog  sits ")
@example("it 's <extra_id_0> x<extra_id_0>y 'll")
@example("A small red dog ▁sits beside\nthe cafe\u0301")
def test_the_count_is_what_the_tokenizer_itself_gives(text: str) -> None:
    for tokenizer, count in zip(TOKENIZERS, COUNTERS, strict=True):
        whole = len(tokenizer.encode(text).ids)
        assert (count(text), count(text)) == (whole, whole)  # the second time from what was kept


@pytest.mark.parametrize(("make", "parts"), MADE.items(), ids=lambda each: getattr(each, "__name__", None))
def test_a_tokenizer_that_looks_across_spaces_is_known_as_one(
    make: Callable[[], Tokenizer], parts: bool
) -> None:
    assert word_by_word(json.loads(make().to_str())) is parts


def test_what_may_reach_across_a_space_counts_whole_texts() -> None:
    settings = json.loads(like_t5().to_str())
    mask = {"content": "<mask>", "rstrip": True}
    for change in (
        {"added_tokens": [mask]},
        {"added_tokens": [{"content": "new york", "rstrip": False}]},
        {"model": {"type": "BPE", "dropout": 0.1}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}},
        {
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": "."},
                "behavior": "Removed",
                "invert": True,
            }
        },
        {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}},
    ):
        assert word_by_word(settings)
        assert not word_by_word(settings | change), change


def test_words_that_are_kept_do_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("croc_syn.writing.tokens._MOST_WORDS", 5)
    count = TokenCounter(like_gpt2())
    for number in range(20):
        count(f"dog number {number}")
    assert len(count._words or ()) <= 5


def test_an_encoder_without_a_tokenizer_stops_everything(tmp_path: Path) -> None:
    with pytest.raises(Abort, match=r"encoder t5: .* has no tokenizer to count with .*give \[\]"):
        token_counter(Encoder(name="t5", tokenizer=str(tmp_path)))
