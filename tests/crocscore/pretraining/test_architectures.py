"""Tokenizer of the small models: new words beside the old ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from crocscore.pretraining.architectures import extend_tokenizer, initial_rows, train_tokenizer

OLD = ["a red dog", "a blue dog", "two dogs", "a green house"] * 20


def pieces(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    return tokenizer.tokenize(f" {text}")


@pytest.fixture(scope="module")
def old() -> PreTrainedTokenizerFast:
    return train_tokenizer(OLD, size=320)


def test_new_words_are_one_token_and_all_other_texts_keep_theirs(
    old: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    new = extend_tokenizer(old, ["a crimson puppy, you see"] * 30 + ["a rare toad"], least=20)
    assert len(pieces(old, "crimson")) > 1
    assert pieces(new, "a crimson puppy") == ["\u0120a", "\u0120crimson", "\u0120puppy"]
    for text in (*OLD[:4], "rare toads", "crimsonish", "Does this image show it?"):
        assert pieces(new, text) == pieces(old, text)
    vocabulary = new.get_vocab()
    assert all(vocabulary[token] == number for token, number in old.get_vocab().items())
    new.save_pretrained(tmp_path)
    stored = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert pieces(stored, "you see a crimson dog") == pieces(new, "you see a crimson dog")
    assert (stored.pad_token_id, len(stored)) == (old.pad_token_id, len(new))


def test_without_new_words_nothing_changes(old: PreTrainedTokenizerFast) -> None:
    new = extend_tokenizer(old, OLD)
    assert new.get_vocab() == old.get_vocab()


def test_a_plural_of_a_known_word_is_read_in_two_pieces(old: PreTrainedTokenizerFast) -> None:
    assert pieces(old, "reds") == ["\u0120red", "s"]
    assert pieces(extend_tokenizer(old, ["two reds"] * 30), "reds") == ["\u0120red", "s"]


def test_a_new_row_begins_as_that_of_a_synonym_or_as_the_mean_of_its_pieces(
    old: PreTrainedTokenizerFast,
) -> None:
    new = extend_tokenizer(old, ["crimson puppies puppy you"] * 30)
    rows = torch.arange(len(old), dtype=torch.float32)[:, None].repeat(1, 4)
    names = {"dog": ["dog", "puppy", "dogs", "puppies"], "value:red": ["red", "scarlet", "crimson"]}
    found = initial_rows(rows, old, new, names)
    assert torch.equal(found[: len(old)], rows)

    def number(word: str) -> int:
        (only,) = new(f" {word}", add_special_tokens=False)["input_ids"]
        return only

    assert found[number("puppy"), 0] == number("dog")
    assert found[number("puppies"), 0] == number("dogs")
    assert found[number("crimson"), 0] == number("red")
    own = old(" you", add_special_tokens=False)["input_ids"]
    assert found[number("you"), 0] == pytest.approx(sum(own) / len(own))
