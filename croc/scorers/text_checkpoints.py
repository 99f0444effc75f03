"""Checkpoints whose tokenizer lies in another repository, and that have no image processor of their own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from croc.errors import CrocError
from croc.scorers.fingerprints import folder_fingerprint
from croc.scorers.loading import Checkpoint
from croc.scorers.loading_errors import damaged, first_line
from croc.scorers.tokenizer_files import check_tokenizers


class TextCheckpoint(Checkpoint):
    """A checkpoint with the tokenizer of ``processor`` and ``processor_revision``."""

    @cached_property
    def processor(self) -> Any:
        """An object with the ``tokenizer``."""
        from transformers import AutoTokenizer

        def read(source: str, **place: Any) -> Any:
            if Path(source).is_dir():
                check_tokenizers(Path(source))
            return AutoTokenizer.from_pretrained(source, **place)

        try:
            tokenizer = self._read(
                self._processor, self._processor_revision, read, file="tokenizer_config.json"
            )
        except damaged(OSError, ValueError, ImportError) as error:
            reason = first_line(error)
            raise CrocError(f"cannot load the tokenizer of {self._processor}: {reason}") from error
        return SimpleNamespace(tokenizer=tokenizer)

    def fields(self) -> dict[str, str]:
        """The model's and the tokenizer's part of a scorer's fields; a folder is given without its path."""
        place = Path(self._processor)
        tokenizer = (
            f"{place.name}@local:{folder_fingerprint(place)}"
            if place.is_dir()
            else f"{self._processor}@{self._processor_revision or 'unpinned'}"
        )
        return {
            "model": self.name if self.is_local else str(self.source),
            "revision": self.pinned,
            "dtype": str(self.dtype).removeprefix("torch."),
            "tokenizer": tokenizer,
            **({"weights": self._weights_file} if self._weights_file is not None else {}),
        }
