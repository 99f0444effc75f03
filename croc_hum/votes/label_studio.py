"""Votes to and from Label Studio, and to a table for a spreadsheet.

The JSON is a list of tasks with their annotations, as Label Studio imports and exports it. Label Studio takes
only its own users in ``completed_by``, so the pseudonym and the vote's id travel in ``meta`` of the answer.
Names and e-mail addresses of its users stay outside: an annotator becomes a pseudonym.
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
"""A labelling interface for the tasks; who uses one task only removes the others' controls."""


def tasks(store: Store, *, images: bool = False) -> list[dict[str, Any]]:
    """Items with the votes that stand, as Label Studio's tasks.

    Args:
        store: items and votes.
        images: with each image as a data address; else ``image`` is null, and ``item_id`` finds it.
    """
    found: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(store.items(), 1):
        shown = None
        if images:
            png, _ = plain_image(store.image(item["item_id"]))
            shown = f"data:image/png;base64,{b64encode(png).decode()}"
        kept = {name: item[name] for name in ("item_id", "task", "category", "prompt", "contrast_prompt")}
        found[item["item_id"]] = {"id": number, "data": {**kept, "image": shown}, "annotations": []}
    for number, vote in enumerate(store.votes(), 1):
        own = {"annotator": vote["annotator"], "vote_id": vote["vote_id"]}
        result = [{**_result(vote["task"], vote["answer"]), "meta": own}]
        if vote["reason"]:
            result.append(_piece("reason", "textarea", {"text": [vote["reason"]]}))
        found[vote["item_id"]]["annotations"].append(
            {
                "id": number,
                "created_at": vote["voted_at"].isoformat(),
                "lead_time": vote["duration_s"],
                "was_cancelled": False,
                "result": result,
            }
        )
    return list(found.values())


def _piece(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": kind, "value": value}


def _result(task: str, answer: str) -> dict[str, Any]:
    if task == "rating":
        return _piece("rating", "rating", {"rating": int(answer)})
    return _piece(task, "choices", {"choices": [answer]})


@dataclass(frozen=True)
class Found:
    """Votes of a file.

    Attributes:
        votes: rows for :meth:`croc_hum.votes.store.Store.add_votes`.
        skipped: annotations that were cancelled or hold no answer.
    """

    votes: list[dict[str, Any]]
    skipped: int


def read(text: str, salt: str = "") -> Found:
    """Votes from Label Studio's JSON.

    Args:
        text: the file's content: a list of tasks whose ``data`` has the ``item_id`` that was exported.
        salt: a secret, the same for every file of a campaign, so that nobody finds an e-mail address by
            trying which one gives a pseudonym.

    Raises:
        InputError: it is not such a list; the message names the task.
    """
    try:
        content = json.loads(text)
    except ValueError as problem:
        raise InputError(f"not JSON ({problem})") from None
    if not isinstance(content, list):
        raise InputError("Label Studio's JSON is a list of tasks")
    votes: list[dict[str, Any]] = []
    skipped = 0
    for number, task in enumerate(content, 1):
        try:
            item = task["data"]["item_id"]
            kind = task["data"].get("task", "shows")
            annotations = task.get("annotations") or []
        except (TypeError, KeyError, AttributeError):
            raise InputError(f"task {number}: its data has no item_id") from None
        if kind not in ANSWERS:
            raise InputError(f"task {number}: {kind!r} is not one of {', '.join(ANSWERS)}")
        for annotation in annotations:
            try:
                answer, reason, meta = _answer(annotation.get("result") or [], kind)
                when, took = annotation.get("created_at"), annotation.get("lead_time")
                when = None if when is None else datetime.fromisoformat(when)
                took = None if took is None else float(took)
            except (AttributeError, TypeError, KeyError, IndexError, ValueError):
                raise InputError(f"task {number}: an annotation cannot be read") from None
            if annotation.get("was_cancelled") or answer is None:
                skipped += 1
                continue
            own = meta.get("vote_id") or annotation.get("unique_id")
            own = own or stable_hash("ls", item, annotation.get("id"), answer)
            who = str(meta.get("annotator") or "")
            votes.append(
                {
                    "vote_id": str(own),
                    "item_id": str(item),
                    "annotator": who
                    if _PSEUDONYM.fullmatch(who)
                    else _pseudonym(annotation.get("completed_by"), salt),
                    "answer": answer,
                    "reason": reason,
                    "voted_at": when,
                    "duration_s": took,
                    "version": "label-studio",
                }
            )
    return Found(votes, skipped)


def _answer(result: list[Any], kind: str) -> tuple[str | None, str | None, dict[str, Any]]:
    answer = reason = None
    meta: dict[str, Any] = {}
    for piece in result:
        value = piece["value"]
        if piece["from_name"] == kind:
            answer = str(value["rating"] if kind == "rating" else value["choices"][0])
            meta = dict(piece.get("meta") or {})
        elif piece["from_name"] == "reason" and value.get("text"):
            words = value["text"]
            reason = "\n".join(words) if isinstance(words, list) else str(words)
    return answer, reason, meta


_PSEUDONYM = re.compile(r"[ai][0-9a-f]{8}")


def _pseudonym(who: Any, salt: str) -> str:
    """A pseudonym in the place of an id or an e-mail address of Label Studio."""
    if isinstance(who, Mapping):
        who = who.get("id") or who.get("email")
    return f"i{stable_hash('label studio', salt, who, length=8)}"


_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n", "|", "%")


def write_csv(store: Store, path: Path) -> int:
    """The votes that stand as CSV; a cell that a spreadsheet would compute begins with ``'``.

    Returns:
        Number of rows.
    """
    count = 0
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(VOTE_NAMES)
        for vote in store.votes():
            writer.writerow([_cell(vote[name]) for name in VOTE_NAMES])
            count += 1
    return count


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
