"""Tokenizers: Qwen's own from its published ranks, and stand-ins of the classes of Llama's and T5's."""

from __future__ import annotations

import base64
import importlib.util
import string
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import LlamaTokenizer, LlamaTokenizerFast, PreTrainedTokenizerFast, Qwen2TokenizerFast

QWEN_CONTROL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# How Qwen splits a text before the merges.
_QWEN_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def qwen(file: Path | None = None) -> Qwen2TokenizerFast:
    """Qwen's tokenizer from its vocabulary (token and rank); None takes that in the wheel of dashscope."""
    if file is None:
        file = Path(importlib.util.find_spec("dashscope").origin).parent / "resources" / "qwen.tiktoken"
    lines = file.read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, filter(None, lines))}
    written = _byte_characters()

    def text(token: bytes) -> str:
        return "".join(written[byte] for byte in token)

    merges = [
        tuple(map(text, _parts(token, ranks))) for token in sorted(ranks, key=ranks.get) if len(token) > 1
    ]
    made = Tokenizer(models.BPE(vocab={text(token): rank for token, rank in ranks.items()}, merges=merges))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in QWEN_CONTROL])
    return Qwen2TokenizerFast(
        tokenizer_object=made,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(QWEN_CONTROL),
    )


def _byte_characters() -> dict[int, str]:
    """The printable character that byte-level BPE writes for each byte."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {**{byte: chr(byte) for byte in shown}, **{byte: chr(256 + i) for i, byte in enumerate(hidden)}}


def _parts(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that are merged into a token last."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
        at = min(range(len(pairs)), key=pairs.__getitem__)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def llama(folder: Path, texts: list[str]) -> LlamaTokenizer:
    """A SentencePiece model with byte fallback, trained on a few texts; the fast form goes to ``folder``."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 20 + ["Yes", "No", "say Yes", "say No"] * 50),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    slow = LlamaTokenizer(str(folder / "tokenizer.model"))
    fast = LlamaTokenizerFast(str(folder / "tokenizer.model"))
    fast.add_special_tokens({"additional_special_tokens": ["<image>"], "pad_token": "<pad>"})
    fast.save_pretrained(folder)
    return slow


def t5() -> PreTrainedTokenizerFast:
    """A Unigram model over characters with ▁Yes, ▁yes, ▁No and ▁no, and the end token that T5 appends."""
    characters = [*string.ascii_letters, *string.digits, *string.punctuation, "▁"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *((c, -5.0) for c in characters)]
    pieces += [("▁Yes", -2.0), ("▁yes", -2.0), ("▁No", -2.0), ("▁no", -2.0), ("▁a", -3.0)]
    made = Tokenizer(models.Unigram(pieces, unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
