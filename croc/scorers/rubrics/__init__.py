"""Rubrics of rating judges: what is asked, which answers there are, and what each of them counts.

A rubric is a YAML file; those of this folder have names, any other is given by its path::

    question: 'How well does the image match "{prompt}"? Answer with a number from 1 to 3.'
    answers: {"1": 1, "2": 2, "3": 3}
    answer_start: "Score:"      # optional: how the model's answer begins
    summary: a line about it    # optional
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from croc.errors import InputError
from croc.storage.text_files import parse_yaml, read_yaml_text

FOLDER = Path(__file__).parent
_KEYS = ("question", "answers", "answer_start", "summary")


@dataclass(frozen=True)
class Rubric:
    """A question whose answers are grades.

    Attributes:
        name: the file's name without its suffix, with a hash of its content for a file of one's own.
        question: the text of the turn; it contains ``{prompt}`` once.
        answers: each answer and its value, higher is better.
        answer_start: the beginning of the model's answer, which is given to it; empty for none.
        summary: a line about the rubric.
    """

    name: str
    question: str
    answers: Mapping[str, float]
    answer_start: str = ""
    summary: str = ""

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest value, between which every score lies."""
        return min(self.answers.values()), max(self.answers.values())


def rubric_names() -> list[str]:
    """The rubrics that come with this package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_rubric(source: str | Path) -> Rubric:
    """Read a rubric by its name or from a file.

    Raises:
        InputError: there is no such rubric, or the file is not a rubric.
    """
    own = str(source) not in rubric_names()
    path = Path(source) if own else FOLDER / f"{source}.yaml"
    if not path.is_file():
        raise InputError(
            f"no rubric is called {str(source)!r}, and it is no file: "
            f"use one of {', '.join(rubric_names())}, or the path of a YAML file"
        )
    text = read_yaml_text(path)
    raw = parse_yaml(text, str(path))
    if not isinstance(raw, dict) or not {"question", "answers"} <= set(raw):
        raise InputError(f"{path}: a rubric is a mapping with question and answers")
    if unknown := sorted(map(str, set(raw) - set(_KEYS))):
        raise InputError(f"{path}: unknown key {unknown[0]!r}; the keys of a rubric are {', '.join(_KEYS)}")
    for key in ("question", "answer_start", "summary"):
        if not isinstance(raw.get(key, ""), str):
            raise InputError(f"{path}: {key} must be a text, not {raw[key]!r}")
    if raw["question"].count("{prompt}") != 1:
        raise InputError(f"{path}: the question must contain {{prompt}} once")
    digest = sha256(text.encode()).hexdigest()[:12]
    return Rubric(
        name=f"{path.stem}@{digest}" if own else path.stem,
        question=raw["question"],
        answers=_answers(raw["answers"], path),
        answer_start=raw.get("answer_start", ""),
        summary=raw.get("summary", ""),
    )


def _answers(raw: Any, path: Path) -> dict[str, float]:
    if not isinstance(raw, dict) or len(raw) < 2:
        raise InputError(f"{path}: answers must map at least two answers to their values")
    for answer, value in raw.items():
        if not isinstance(answer, str) or not answer.strip():
            raise InputError(f"{path}: the answer {answer!r} must be a text: write it in quotation marks")
        if type(value) not in (int, float) or not math.isfinite(value):
            raise InputError(f"{path}: the value of {answer!r} must be a number, not {value!r}")
    if len({answer.strip().lower() for answer in raw}) < len(raw):
        raise InputError(f"{path}: two answers differ only in case or spaces")
    if len(set(raw.values())) < 2:
        raise InputError(f"{path}: all answers have the same value, so every score would be the same")
    return {answer: float(value) for answer, value in raw.items()}
