"""Export to and import from Label Studio, and export as CSV.

The JSON is a list of tasks with their annotations, as Label Studio imports and exports it. Label Studio
accepts only its own users in ``completed_by``, so the pseudonym and the id of a vote are in ``meta`` of the
answer. Names and e-mail addresses of its users are not imported: each user becomes a pseudonym.
"""

from __future__ import annotations

import csv
import math
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.storage.files import atomic
from croc.storage.text_files import parse_json, require_kind
from croc_hum.schema import ANSWERS, VOTE_NAMES, plain_image
from croc_hum.votes.store import Store
from croc_hum.votes.values import clean_text, milliseconds

CONFIG = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <Text name="prompt" value="$prompt"/>
  <Text name="contrast_prompt" value="$contrast_prompt"/>
  <Choices name="shows" toName="image" choice="single">
    <Choice value="yes"/><Choice value="no"/><Choice value="unsure"/>
  </Choices>
  <Rating name="rating" toName="image" maxRating="5"/>
  <Choices name="preference" toName="image" choice="single">
    <Choice value="prompt"/><Choice value="contrast"/><Choice value="unsure"/>
  </Choices>
  <TextArea name="reason" toName="image" maxSubmissions="1"/>
</View>
"""
"""A labelling interface with the controls of all tasks."""


def tasks(store: Store, *, images: bool = False) -> list[dict[str, Any]]:
    """The items and their current votes as tasks of Label Studio.

    Args:
        store: items and votes.
        images: include each image as a data URL; otherwise ``image`` is null.
    """
    by_item: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(store.items(), 1):
        url = None
        if images:
            png, _ = plain_image(store.image(item["item_id"]))
            url = f"data:image/png;base64,{b64encode(png).decode()}"
        data = {name: item[name] for name in ("item_id", "task", "category", "prompt", "contrast_prompt")}
        by_item[item["item_id"]] = {"id": number, "data": {**data, "image": url}, "annotations": []}
    for number, vote in enumerate(store.votes(), 1):
        meta = {"annotator": vote["annotator"], "vote_id": vote["vote_id"]}
        result = [{**_make_answer(vote["task"], vote["answer"]), "meta": meta}]
        if vote["reason"]:
            result.append(_make_result("reason", "textarea", {"text": [vote["reason"]]}))
        by_item[vote["item_id"]]["annotations"].append(
            {
                "id": number,
                "created_at": None if vote["voted_at"] is None else vote["voted_at"].isoformat(),
                "lead_time": vote["duration_s"],
                "was_cancelled": False,
                "result": result,
            }
        )
    return list(by_item.values())


def _make_result(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": kind, "value": value}


def _make_answer(task: str, answer: str) -> dict[str, Any]:
    if task == "rating":
        return _make_result("rating", "rating", {"rating": int(answer)})
    return _make_result(task, "choices", {"choices": [answer]})


class _Task(TypedDict):
    data: dict[str, Any]


@dataclass(frozen=True)
class ImportedVotes:
    """The votes of a file.

    Attributes:
        votes: rows for :meth:`croc_hum.votes.store.Store.add_votes`.
        skipped: number of annotations that were cancelled or have no answer.
    """

    votes: list[dict[str, Any]]
    skipped: int


def read(text: str, salt: str = "", source: str = "the file") -> ImportedVotes:
    """Read votes from the JSON of Label Studio.

    Args:
        text: a list of tasks whose ``data`` has the exported ``item_id``.
        salt: a secret of the campaign, so that the e-mail address of a pseudonym cannot be found by trial.
        source: what errors call the text.

    Raises:
        InputError: the text is not such a list; the message names the task.
    """
    content = parse_json(text, source)
    if not isinstance(content, list):
        raise InputError(f"{source}: expected a list of tasks, as Label Studio exports it")
    votes: list[dict[str, Any]] = []
    skipped = 0
    for number, task in enumerate(content, 1):
        where = f"{source}: task {number}"
        data = require_kind(task, _Task, where)["data"]
        item, kind = data.get("item_id"), data.get("task", "shows")
        if not isinstance(item, str):
            raise InputError(f"{where}: data.item_id: expected text, not {item!r:.80}")
        if not isinstance(kind, str) or kind not in ANSWERS:
            raise InputError(f"{where}: data.task: expected one of {', '.join(ANSWERS)}, not {kind!r:.80}")
        annotations = task.get("annotations") or []
        if not isinstance(annotations, list):
            raise InputError(f"{where}: annotations: expected a list")
        for place, annotation in enumerate(annotations, 1):
            vote = _read_annotation(annotation, clean_text(item), kind, f"{where}, annotation {place}", salt)
            if vote is None:
                skipped += 1
            else:
                votes.append(vote)
    return ImportedVotes(votes, skipped)


def _read_annotation(annotation: Any, item: str, kind: str, where: str, salt: str) -> dict[str, Any] | None:
    """The vote of an annotation; None if it was cancelled or has no answer."""
    if not isinstance(annotation, dict):
        raise InputError(f"{where}: expected an object with result, completed_by and created_at")
    try:
        answer, reason, meta = _read_answer(annotation.get("result") or [], kind)
    except (AttributeError, TypeError, KeyError, IndexError, ValueError):
        raise InputError(f"{where}: result: not readable as the answer of {kind}") from None
    if annotation.get("was_cancelled") or answer is None:
        return None
    voted_at, seconds = _read_time(annotation.get("created_at"), where), annotation.get("lead_time")
    try:
        seconds = None if seconds is None else float(seconds)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: lead_time: {seconds!r:.80} is not a number of seconds") from None
    if seconds is not None and not 0 <= seconds < math.inf:
        raise InputError(f"{where}: lead_time: {seconds} is not a number of seconds")
    if answer not in ANSWERS[kind]:
        raise InputError(
            f"{where}: result: the answer to {kind} must be one of {', '.join(ANSWERS[kind])}, not "
            f"{answer!r:.80}"
        )
    vote_id = meta.get("vote_id") or annotation.get("unique_id")
    number = annotation.get("id")
    number = clean_text(number) if isinstance(number, str) else number
    vote_id = vote_id or stable_hash("ls", item, number, answer)
    annotator = str(meta.get("annotator") or "")
    if not _PSEUDONYM.fullmatch(annotator):
        annotator = _pseudonymize(annotation.get("completed_by"), salt)
    return {
        "vote_id": clean_text(str(vote_id))[:100],
        "item_id": item,
        "annotator": annotator,
        "answer": answer,
        "reason": None if reason is None else clean_text(reason) or None,
        "voted_at": voted_at,
        "duration_s": seconds,
        "version": "label-studio",
    }


def _read_time(text: Any, where: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        milliseconds(moment)
    except (TypeError, ValueError, InputError):
        expected = "expected a date and time since 1970, such as 2026-05-01T09:30:00Z"
        raise InputError(f"{where}: created_at: {text!r:.80} is not possible; {expected}") from None
    return moment


def _read_answer(result: list[Any], kind: str) -> tuple[str | None, str | None, dict[str, Any]]:
    answer = reason = None
    meta: dict[str, Any] = {}
    for entry in result:
        value = entry["value"]
        if entry["from_name"] == kind:
            answer = str(value["rating"] if kind == "rating" else value["choices"][0])
            meta = dict(entry.get("meta") or {})
        elif entry["from_name"] == "reason" and value.get("text"):
            text = value["text"]
            reason = "\n".join(text) if isinstance(text, list) else str(text)
    return answer, reason, meta


_PSEUDONYM = re.compile(r"[ai][0-9a-f]{8}")


def _pseudonymize(user: Any, salt: str) -> str:
    """A pseudonym for a user of Label Studio, who is given as an id, an e-mail address or a mapping."""
    if isinstance(user, Mapping):
        user = user.get("id") or user.get("email")
    if isinstance(user, str):
        user = clean_text(user)
    return f"i{stable_hash('label studio', salt, user, length=8)}"


_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n", "|", "%")


def write_csv(store: Store, path: Path) -> int:
    """Write the current votes as CSV. A cell that a spreadsheet would run as a formula begins with ``'``.

    Returns:
        Number of rows.
    """
    count = 0
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(VOTE_NAMES)
        for vote in store.votes():
            writer.writerow([_escape_formula(vote[name]) for name in VOTE_NAMES])
            count += 1
    return count


def _escape_formula(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
