"""Files with questions about images: TIFA, DSG, GenEval 2 and our own, each recognised by its keys.

- **TIFA v1.0** (``.json``): a list of ``{caption, question, choices, answer}``;
- **DSG** (``.csv``): ``text, proposition_id, dependency, question_natural_language``; every answer is yes;
- **GenEval 2** (``.jsonl``): ``{prompt, vqa_list: [[question, answer], …]}`` per line;
- **own** (``.json``, ``.jsonl`` or ``.csv``): ``prompt, question`` per row, and optionally ``id, parents,
  answer, choices``; or ``{prompt, questions: […]}`` with all questions of a prompt, as ``croc questions``
  writes it.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from croc.checks.rows import prompt_problem
from croc.errors import InputError
from croc.storage.text_files import parse_json, read_text

_LOG = logging.getLogger(__name__)

YES, NO = "yes", "no"
_NAMES = {
    "caption": "prompt",
    "text": "prompt",
    "question_natural_language": "question",
    "proposition_id": "id",
    "dependency": "parents",
}
"""Keys of the published files and ours."""


@dataclass(frozen=True)
class Question:
    """A question about an image.

    Attributes:
        number: its identity among the questions of a prompt.
        text: the question.
        answer: the right answer, ``yes``, ``no`` or one of the choices, or another text.
        choices: the possible answers of a question that is not answered by yes or no; empty when only the
            right one is known.
        parents: numbers of the questions that must be right for this one to count (DSG).
    """

    number: str
    text: str
    answer: str = YES
    choices: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()

    @property
    def is_yes_no(self) -> bool:
        """Whether the right answer is yes or no."""
        return self.answer in (YES, NO)


def prompt_key(prompt: str) -> str:
    """A prompt as it is looked up: runs of white space are one space."""
    return " ".join(prompt.split())


def read_questions(path: str | Path) -> dict[str, tuple[Question, ...]]:
    """The questions of each prompt, in the order of the file, by :func:`prompt_key`.

    A parent that is not among the questions of its prompt, or is the question itself, is left out with a
    warning: the published file of DSG has such. Of a prompt that is in the file under several ids, the
    questions of the first count, with a warning.

    Raises:
        InputError: the file is missing, has another form, or a row is wrong; the message names the row.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file with questions")
    found: dict[str, dict[str, Question]] = {}
    owners: dict[str, Any] = {}
    repeated: set[str] = set()
    for where, row in _rows(path):
        prompt = prompt_key(_text(row, "prompt", where))
        owner = row.get("item")
        if owners.setdefault(prompt, owner) != owner:
            repeated.add(prompt)
            continue
        questions = found.setdefault(prompt, {})
        question = _question(row, str(len(questions) + 1), where)
        if question.number in questions:
            raise InputError(
                f"{where}: two questions of the prompt {prompt!r:.80} have the id {question.number!r}"
            )
        questions[question.number] = question
    if not found:
        raise InputError(f"{path} has no questions")
    if repeated:
        _LOG.warning(
            "%s: prompts with several ids: %d; the questions of the first count",
            path,
            len(repeated),
        )
    return _with_known_parents(found, path)


def _with_known_parents(
    found: Mapping[str, Mapping[str, Question]], path: Path
) -> dict[str, tuple[Question, ...]]:
    unknown = 0
    result = {}
    for prompt, questions in found.items():
        kept = []
        for question in questions.values():
            parents = tuple(n for n in question.parents if n in questions and n != question.number)
            unknown += len(question.parents) - len(parents)
            kept.append(Question(question.number, question.text, question.answer, question.choices, parents))
        result[prompt] = tuple(kept)
    if unknown:
        _LOG.warning(
            "%s: %d dependencies on the question itself or on one that is not in the file are left out",
            path,
            unknown,
        )
    return result


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file with this program's keys, each with its place for messages."""
    number = 0
    for place, raw in _raw_rows(path):
        if not isinstance(raw, dict):
            raise InputError(f"{place}: a row with a prompt and a question is expected, not {raw!r:.60}")
        if "vqa_list" in raw:
            for pair in _pairs_of(raw, place):
                yield (
                    place,
                    {"prompt": raw.get("prompt"), "question": pair[0], "answer": pair[1], "item": number},
                )
            number += 1
            continue
        if "questions" in raw:
            if not isinstance(raw["questions"], list) or not all(
                isinstance(q, dict) for q in raw["questions"]
            ):
                raise InputError(f"{place}: questions must be a list of questions")
            for question in raw["questions"]:
                yield place, {**question, "prompt": raw.get("prompt"), "item": number}
            number += 1
            continue
        row: dict[str, Any] = {_NAMES.get(str(key), str(key)): value for key, value in raw.items()}
        # In TIFA's file "id" is that of the prompt, in ours that of the question.
        published = "caption" in raw or "text" in raw
        row["item"] = (raw.get("item_id") or raw.get("id")) if published else None
        if "caption" in raw:
            row.pop("id", None)
        yield place, row


def _pairs_of(raw: Mapping[str, Any], place: str) -> list[Any]:
    pairs = raw["vqa_list"]
    if not isinstance(pairs, list) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        raise InputError(f"{place}: vqa_list must be a list of [question, answer]")
    return pairs


def _raw_rows(path: Path) -> Iterator[tuple[str, Any]]:
    text = read_text(path).removeprefix("\ufeff")
    try:
        if path.suffix == ".csv":
            reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
            yield from ((f"{path}, line {reader.line_num}", dict(row)) for row in reader)
        elif path.suffix == ".jsonl":
            lines = enumerate(text.splitlines(), 1)
            places = ((f"{path}, line {n}", line) for n, line in lines if line.strip())
            yield from ((place, parse_json(line, place)) for place, line in places)
        elif path.suffix == ".json":
            rows = parse_json(text, str(path))
            if not isinstance(rows, list):
                raise InputError(f"{path} must contain a list of questions")
            yield from ((f"{path}, question {number}", row) for number, row in enumerate(rows, 1))
        else:
            raise InputError(f"{path}: a file with questions is .json, .jsonl or .csv")
    except csv.Error as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _question(row: Mapping[str, Any], number: str, where: str) -> Question:
    answer = _text(row, "answer", where) if row.get("answer") not in (None, "") else YES
    choices = _listed(row.get("choices"), "choices", where)
    lowered = {choice.lower() for choice in choices}
    if answer.lower() in (YES, NO) and lowered <= {YES, NO}:
        answer, choices = answer.lower(), ()
    elif choices and answer not in choices:
        raise InputError(f"{where}: the answer {answer!r} is not one of the choices {', '.join(choices)}")
    if len(set(choices)) < len(choices):
        raise InputError(f"{where}: a choice occurs twice among {', '.join(choices)}")
    given = row.get("id")
    return Question(
        number=number if given in (None, "") else str(given),
        text=_text(row, "question", where),
        answer=answer,
        choices=choices,
        parents=tuple(n for n in _listed(row.get("parents"), "parents", where) if n != "0"),
    )


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or (problem := prompt_problem(value)):
        reason = problem if isinstance(value, str) else f"it is {value!r:.40}"
        raise InputError(f"{where}: {key} must be a text, but {reason}")
    return value.strip()


def _listed(value: Any, key: str, where: str) -> tuple[str, ...]:
    """A list of texts or numbers, or a text with commas between them."""
    if value in (None, ""):
        return ()
    if isinstance(value, str | int):
        value = re.split(r"\s*,\s*", str(value).strip())
    if not isinstance(value, list) or not all(isinstance(one, str | int) for one in value):
        raise InputError(f"{where}: {key} must be a list, not {value!r:.60}")
    return tuple(str(one).strip() for one in value if str(one).strip())
