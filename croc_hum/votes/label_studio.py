"""Export to and import from Label Studio, and export as CSV.

The JSON is a list of tasks with their annotations, as Label Studio imports and exports it. Label Studio
accepts only its own users in ``completed_by``, so the pseudonym and the id of a vote are in ``meta`` of the
answer. Names and e-mail addresses of its users are not imported: each user becomes a pseudonym.
"""

from __future__ import annotations

import csv
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.storage.files import atomic
from croc_hum.schema import ANSWERS, VOTE_NAMES, plain_image
from croc_hum.votes.store import Store

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
                "created_at": vote["voted_at"].isoformat(),
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


@dataclass(frozen=True)
class ImportedVotes:
    """The votes of a file.

    Attributes:
        votes: rows for :meth:`croc_hum.votes.store.Store.add_votes`.
        skipped: number of annotations that were cancelled or have no answer.
    """

    votes: list[dict[str, Any]]
    skipped: int


def read(text: str, salt: str = "") -> ImportedVotes:
    """Read votes from the JSON of Label Studio.

    Args:
        text: a list of tasks whose ``data`` has the exported ``item_id``.
        salt: a secret of the campaign, so that the e-mail address of a pseudonym cannot be found by trial.

    Raises:
        InputError: the text is not such a list; the message names the task.
    """
    try:
        content = json.loads(text)
    except ValueError as problem:
        raise InputError(f"the file is not JSON ({problem})") from None
    if not isinstance(content, list):
        raise InputError("the JSON is not a list of tasks, as Label Studio exports it")
    votes: list[dict[str, Any]] = []
    skipped = 0
    for number, task in enumerate(content, 1):
        try:
            item = task["data"]["item_id"]
            kind = task["data"].get("task", "shows")
            annotations = task.get("annotations") or []
        except (TypeError, KeyError, AttributeError):
            raise InputError(f"task {number}: its data have no item_id") from None
        if kind not in ANSWERS:
            raise InputError(f"task {number}: task must be one of {', '.join(ANSWERS)}, not {kind!r}")
        for annotation in annotations:
            try:
                answer, reason, meta = _read_answer(annotation.get("result") or [], kind)
                voted_at, seconds = annotation.get("created_at"), annotation.get("lead_time")
                voted_at = None if voted_at is None else datetime.fromisoformat(voted_at)
                seconds = None if seconds is None else float(seconds)
            except (AttributeError, TypeError, KeyError, IndexError, ValueError):
                raise InputError(
                    f"task {number}: an annotation is not readable (result, created_at or lead_time)"
                ) from None
            if annotation.get("was_cancelled") or answer is None:
                skipped += 1
                continue
            vote_id = meta.get("vote_id") or annotation.get("unique_id")
            vote_id = vote_id or stable_hash("ls", item, annotation.get("id"), answer)
            annotator = str(meta.get("annotator") or "")
            if not _PSEUDONYM.fullmatch(annotator):
                annotator = _pseudonymize(annotation.get("completed_by"), salt)
            votes.append(
                {
                    "vote_id": str(vote_id),
                    "item_id": str(item),
                    "annotator": annotator,
                    "answer": answer,
                    "reason": reason,
                    "voted_at": voted_at,
                    "duration_s": seconds,
                    "version": "label-studio",
                }
            )
    return ImportedVotes(votes, skipped)


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
