"""The only resumable runner: plan → part → atomic file → manifest → status.

A stage gives it a list of parts and a pure function that makes one file from one part. The folder contains::

    plan.json        written first: the fingerprint of the work and the list of its parts
    parts/           one file per part, each renamed into place when it is complete and on disk
    records/         for each part: size, sha256, counts, seconds
    failed/          the reason of each part that failed
    manifest.json    written last: if it exists, every part is complete

After an interruption, the next run with the same fingerprint makes only the missing parts, and those whose
content no longer has its recorded checksum. Files and manifest
do not depend on interruptions or on the number of workers.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from croc.errors import CrocError, InputError
from croc.jobs.executors import local_executor
from croc.jobs.parts import Executor, MakePart, Part
from croc.jobs.progress import progress_bar
from croc.storage.checksums import changed_files
from croc.storage.files import (
    canonical,
    checksum_of,
    differences,
    digest_of,
    fsync,
    is_locked,
    is_whole,
    locked,
    read_json,
    sha256_of,
    write_json,
)
from croc.wording import counted

logger = logging.getLogger(__name__)

FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_NO_PLAN = "not a folder of resumable work: it has neither plan.json nor manifest.json"
_LISTED = ("bytes", "sha256", "xxh128", "counts")


class _StoredPart(TypedDict):
    """A part in ``plan.json``; ``payload`` is the digest of its payload."""

    name: str
    payload: str


class _StoredPlan(TypedDict):
    format: int
    what: NotRequired[str]
    suffix: str
    fingerprint: dict[str, Any]
    parts: list[_StoredPart]


class _StoredSession(TypedDict):
    started: float
    done_before: int


class _StoredFailure(TypedDict):
    reason: str


class _StoredRecord(TypedDict):
    """The file of a finished part, in ``records/``."""

    name: str
    payload: str
    bytes: int
    sha256: str
    xxh128: NotRequired[str]
    counts: dict[str, Any]
    seconds: float
    finished: float


class _ManifestPart(TypedDict):
    name: str
    file: str
    bytes: int
    sha256: str
    xxh128: NotRequired[str]
    counts: dict[str, Any]


class _StoredManifest(TypedDict):
    format: int
    fingerprint: dict[str, Any]
    parts: list[_ManifestPart]
    counts: dict[str, int | float]
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The contents of a finished folder; equal work gives identical manifest files.

    Attributes:
        folder: path of the folder.
        fingerprint: the settings that define the work, from the caller.
        parts: per part, in the order of the plan: ``name``, ``file``, ``bytes``, ``sha256``, ``xxh128``,
            ``counts``.
        counts: sums of the parts' numeric counts.
        sha256: hash of fingerprint and checksums; it identifies the content as a revision does.
    """

    folder: Path
    fingerprint: dict[str, Any]
    parts: list[dict[str, Any]]
    counts: dict[str, int | float]
    sha256: str

    def files(self) -> list[Path]:
        """The parts' files in the order of the plan."""
        return [self.folder / part["file"] for part in self.parts]


@dataclass(frozen=True)
class Status:
    """The state of a folder, read from its files only, so it is available during a run and after a crash.

    Attributes:
        total, done: numbers of parts.
        failed: reason by part name; the next run tries these parts again.
        bytes: size of the finished parts.
        seconds: time spent on making them, summed over the workers.
        rate: parts per second in the last run, None before its first part is done.
        eta: seconds left at that rate, None if the rate is unknown.
        running: whether a process is working on the folder now.
        complete: whether the manifest exists.
        counts: sums of the numeric counts of the finished parts.
    """

    total: int
    done: int
    failed: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    rate: float | None = None
    eta: float | None = None
    running: bool = False
    complete: bool = False
    counts: dict[str, int | float] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Number of parts that are not done, including the failed ones."""
        return self.total - self.done


class PartsFailed(CrocError):
    """Some parts failed; the others are kept, and the next run makes only the failed ones."""

    def __init__(
        self, out: Path, what: str, failed: Mapping[str, str], total: int, stopped: bool = False
    ) -> None:
        shown = "; ".join(f"{name}: {reason}" for name, reason in list(failed.items())[:5])
        more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
        end = "the run was stopped" if stopped else "the others are done"
        super().__init__(
            f"{out}: {len(failed)} of {total} {what} failed ({shown}{more}); {end}; "
            "run the command again to retry"
        )
        self.failed = dict(failed)


Progress = Callable[[Status], None]


def run(
    parts: Iterable[Part],
    make: MakePart,
    out: str | Path,
    *,
    suffix: str,
    fingerprint: Mapping[str, Any],
    progress: bool | Progress = True,
    what: str = "parts",
    max_failures: int | None = None,
    existing: Literal["resume", "overwrite"] = "resume",
    executor: Executor | None = None,
) -> Manifest:
    """Make every part that is not finished yet.

    Args:
        parts: the whole plan; it is read into a list before anything is made.
        make: see ``MakePart``. An exception fails that part only; ``Abort``, a missing extra and a full or
            read-only disk stop the run.
        out: the folder; created.
        suffix: ending of the parts' files, such as ``.parquet``.
        fingerprint: JSON-serialisable settings that the bytes depend on (options, versions, seeds, checksums
            of the input).
        progress: True shows a bar on a terminal, otherwise a line every half minute; False shows nothing; a
            function is called with the status before the first part and after each one.
        what: name of the parts in messages, in the plural.
        max_failures: stop when more parts than this have failed; None continues to the end.
        existing: ``resume`` keeps finished parts of the same work and refuses other work; ``overwrite``
            starts from nothing.
        executor: makes the parts, see :mod:`croc.jobs.executors`; None makes them in this process. With
            worker processes the calling script needs a ``__main__`` guard.

    Returns:
        The manifest, which is also in ``manifest.json``.

    Raises:
        InputError: the folder holds other work, another process works in it, or the plan is not usable.
        PartsFailed: some parts failed; the rest is kept.
        WorkerDied: a worker process was killed; the rest is kept.
    """
    folder = Path(out)
    plan = _Plan.of(list(parts), suffix, fingerprint, what)
    with locked(folder):
        if existing == "overwrite" and (folder / "plan.json").exists():
            _clear(folder)
        plan.write_or_compare(folder)
        records, todo = plan.split(folder)
        if not todo and (folder / "manifest.json").is_file():
            return read_manifest(folder)
        (folder / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        for name in ("tmp", "parts", "records", "failed"):
            (folder / name).mkdir(exist_ok=True)
        try:
            _Run(folder, plan, records, max_failures, progress).work(
                make, todo, executor or local_executor(1)
            )
        except KeyboardInterrupt as stop:
            kept = f"{len(records):,} of {len(plan.parts):,} {what} are finished and kept"
            stop.add_note(f"{folder}: {kept}")
            raise
        return plan.finish(folder, records)


def status(out: str | Path) -> Status:
    """The status of the work in a folder, during a run or after a crash.

    Raises:
        InputError: the folder contains no plan.
    """
    folder = Path(out)
    plan = read_json(folder / "plan.json", _NO_PLAN, _StoredPlan)
    session = read_json(folder / "session.json", None, _StoredSession)
    started, done_before = (session["started"], session["done_before"]) if session else (0.0, None)
    tally = _Tally(len(plan["parts"]), started, done_before)
    for entry in plan["parts"]:
        if (record := _record(folder, entry["name"])) is not None:
            tally.add(record)
    failed = _failures(folder, [entry["name"] for entry in plan["parts"]])
    complete = (folder / "manifest.json").is_file()
    return tally.status(failed, running=is_locked(folder), complete=complete)


def finished(out: str | Path) -> set[str]:
    """The names of the parts in a folder that have a record; none in a folder without work."""
    return {path.stem for path in (Path(out) / "records").glob("*.json")}


def read_manifest(out: str | Path) -> Manifest:
    """The manifest of a finished folder.

    Raises:
        InputError: there is none, because the folder is unfinished or contains something else.
    """
    folder = Path(out)
    if not (folder / "manifest.json").is_file() and (folder / "plan.json").is_file():
        now = status(folder)
        failed = f", {len(now.failed):,} failed" if now.failed else ""
        raise InputError(
            f"{folder} is unfinished: {now.done:,} of {counted(now.total, 'part')} done{failed}; "
            "run the command again"
        )
    stored = read_json(folder / "manifest.json", _NO_PLAN, _StoredManifest)
    content = {"format": stored["format"], "fingerprint": stored["fingerprint"], "parts": stored["parts"]}
    if stored["sha256"] != checksum_of(content):
        raise InputError(
            f"{folder / 'manifest.json'}: its checksum does not match its content, so it was changed; "
            "remove it and repeat the command that made the folder"
        )
    parts = [dict(part) for part in stored["parts"]]
    return Manifest(folder, stored["fingerprint"], parts, stored["counts"], stored["sha256"])


def require_parts(made: Manifest, *, whole: bool = False) -> None:
    """Require that the parts of a finished folder are those of its manifest.

    Args:
        made: the manifest.
        whole: compare all bytes by sha256; see :func:`croc.storage.checksums.changed_files`.

    Raises:
        InputError: a part was changed or is missing.
    """
    entries = {part["file"]: part for part in made.parts}
    if problems := list(changed_files(made.folder, entries, whole=whole)):
        raise InputError(
            f"{made.folder}: {problems[0]}; repeat the command that made the folder, which makes this part "
            "again"
        )


def verify(out: str | Path) -> list[str]:
    """Compare every finished part with its record, including its checksum; return the problems."""
    folder = Path(out)
    plan = read_json(folder / "plan.json", _NO_PLAN, _StoredPlan)
    problems, known = [], set()
    for entry in plan["parts"]:
        record, path = _record(folder, entry["name"]), folder / "parts" / (entry["name"] + plan["suffix"])
        known.add(path.name)
        if record is None:
            problems.append(f"{entry['name']}: not made yet")
        elif not path.is_file():
            problems.append(f"{entry['name']}: {path} is missing")
        elif path.stat().st_size != record["bytes"]:
            problems.append(
                f"{entry['name']}: {counted(path.stat().st_size, 'byte')}, expected {record['bytes']:,}"
            )
        elif sha256_of(path) != record["sha256"]:
            problems.append(f"{entry['name']}: the content of {path} differs from its recorded checksum")
    strays = {path.name for path in (folder / "parts").glob("*")} - known
    problems += [f"{name}: in parts/, but not in the plan" for name in sorted(strays)]
    return problems


@dataclass(frozen=True)
class _Plan:
    parts: list[Part]
    digests: list[str]
    suffix: str
    fingerprint: dict[str, Any]
    what: str

    @classmethod
    def of(cls, parts: list[Part], suffix: str, fingerprint: Mapping[str, Any], what: str) -> _Plan:
        seen: set[str] = set()
        digests = []
        for part in parts:
            if not _NAME.fullmatch(part.name):
                raise InputError(
                    f"part {part.name!r}: a name has up to 120 letters, digits, dots, dashes and underscores"
                )
            if part.name.lower() in seen:
                raise InputError(
                    f"part {part.name!r} is in the plan twice; names must differ in more than case"
                )
            seen.add(part.name.lower())
            digests.append(digest_of(part.payload, f"the payload of part {part.name!r}"))
        digest_of(dict(fingerprint), "the fingerprint")
        return cls(parts, digests, suffix, json.loads(canonical(dict(fingerprint))), what)

    def as_json(self) -> dict[str, Any]:
        entries = [{"name": p.name, "payload": d} for p, d in zip(self.parts, self.digests, strict=True)]
        settings = {"format": FORMAT, "what": self.what, "suffix": self.suffix}
        return {**settings, "fingerprint": self.fingerprint, "parts": entries}

    def write_or_compare(self, folder: Path) -> None:
        """Write the plan, or check that the one in the folder is the same."""
        stored = read_json(folder / "plan.json", None, _StoredPlan)
        mine = self.as_json()
        if stored is None:
            if any((folder / name).exists() for name in ("parts", "records", "manifest.json")):
                raise InputError(
                    f"{folder} contains parts/ or a manifest of unknown origin, without plan.json; "
                    "choose another folder"
                )
            write_json(folder / "plan.json", mine)
        elif difference := _difference(stored, mine):
            raise InputError(
                f"{folder} contains other work ({difference}); choose another folder or overwrite this one"
            )

    def split(self, folder: Path) -> tuple[dict[str, dict[str, Any]], list[Part]]:
        """The records of the finished parts, and the parts to make."""
        records, todo = {}, []
        for part, digest in zip(self.parts, self.digests, strict=True):
            record, path = _record(folder, part.name), folder / "parts" / (part.name + self.suffix)
            if record is None or record.get("payload") != digest or not path.is_file():
                todo.append(part)
            elif path.stat().st_size == record["bytes"] and is_whole(
                path, record.get("xxh128") or record["sha256"]
            ):
                records[part.name] = record
            else:
                logger.warning("%s was changed after it was finished; it is made again", path)
                todo.append(part)
        known = {part.name + self.suffix for part in self.parts}
        for path in (folder / "parts").glob("*"):
            if path.name not in known:
                raise InputError(f"{path} is not in the plan of {folder}; move it away")
        return records, todo

    def finish(self, folder: Path, records: Mapping[str, Mapping[str, Any]]) -> Manifest:
        listed = [
            {
                "name": part.name,
                "file": f"parts/{part.name}{self.suffix}",
                **{key: records[part.name][key] for key in _LISTED if key in records[part.name]},
            }
            for part in self.parts
        ]
        content = {"format": FORMAT, "fingerprint": self.fingerprint, "parts": listed}
        tally = _Tally(len(listed))
        for part in self.parts:
            tally.add(records[part.name])
        counts = dict(sorted(tally.counts.items()))
        sha256 = checksum_of(content)
        fsync(folder / "parts")
        write_json(folder / "manifest.json", {**content, "counts": counts, "sha256": sha256})
        (folder / "tmp").rmdir()
        return Manifest(folder, self.fingerprint, listed, counts, sha256)


class _Run:
    """One run: makes parts, writes their records, and reports the status."""

    def __init__(
        self,
        folder: Path,
        plan: _Plan,
        records: dict[str, dict[str, Any]],
        max_failures: int | None,
        progress: bool | Progress,
    ) -> None:
        self.folder, self.plan, self.records, self.max_failures = folder, plan, records, max_failures
        self.digest = {part.name: digest for part, digest in zip(plan.parts, plan.digests, strict=True)}
        self.failed: dict[str, str] = {}
        self.tally = _Tally(len(plan.parts), time.time(), len(records))
        for record in records.values():
            self.tally.add(record)
        session = {"started": self.tally.started, "done_before": len(records)}
        write_json(folder / "session.json", session)
        self.show: AbstractContextManager[Progress]
        if callable(progress):
            self.show = nullcontext(progress)
        else:
            self.show = _shown(plan.what) if progress else nullcontext(lambda status: None)

    def work(self, make: MakePart, todo: Sequence[Part], executor: Executor) -> None:
        total = len(self.plan.parts)
        with self.show as show, closing(executor(make, todo, self.folder / "tmp")) as outcomes:
            show(self.status())
            for part, outcome in outcomes:
                self.keep(part, outcome)
                show(self.status())
                if self.max_failures is not None and len(self.failed) > self.max_failures:
                    raise PartsFailed(self.folder, self.plan.what, self.failed, total, stopped=True)
        if self.failed:
            raise PartsFailed(self.folder, self.plan.what, self.failed, total)

    def keep(self, part: Part, outcome: dict[str, Any]) -> None:
        """Move the part's file into place, then write its record; a file without a record does not count."""
        failure = self.folder / "failed" / f"{part.name}.json"
        if "fatal" in outcome:
            kept = f"{len(self.records):,} of {len(self.plan.parts):,} {self.plan.what} are finished and kept"
            raise CrocError(f"{self.folder}: stopped at part {part.name}: {outcome['fatal']} ({kept})")
        if "reason" in outcome:
            self.failed[part.name] = outcome["reason"]
            logger.warning("%s: part %s failed: %s", self.folder, part.name, outcome["reason"])
            write_json(failure, outcome)
            return
        target = self.folder / "parts" / (part.name + self.plan.suffix)
        # The rename may be synced at the end: a record without its file does not count either.
        Path(outcome.pop("path")).replace(target)
        record = {"name": part.name, "payload": self.digest[part.name], **outcome, "finished": time.time()}
        # The record of a quick part is not synced: after a power cut the part is made again.
        durable = record["seconds"] >= 1
        write_json(self.folder / "records" / f"{part.name}.json", record, durable=durable)
        failure.unlink(missing_ok=True)
        self.records[part.name] = record
        self.tally.add(record)

    def status(self) -> Status:
        return self.tally.status(self.failed, running=True, complete=False)


@contextmanager
def _shown(what: str) -> Iterator[Progress]:
    with progress_bar(what, "parts") as show:
        yield lambda now: show(now.done, now.total, f"{len(now.failed)} failed" if now.failed else "")


@dataclass
class _Tally:
    """Running sums over records, so that the cost of a status does not grow with the number of parts."""

    total: int
    started: float = 0.0
    done_before: int | None = None
    done: int = 0
    bytes: int = 0
    seconds: float = 0.0
    finished: float = 0.0
    counts: dict[str, int | float] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any]) -> None:
        self.done += 1
        self.bytes += record["bytes"]
        self.seconds += record["seconds"]
        self.finished = max(self.finished, record["finished"])
        for key, value in record["counts"].items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self.counts[key] = self.counts.get(key, 0) + value

    def status(self, failed: Mapping[str, str], *, running: bool, complete: bool) -> Status:
        rate = None
        if self.done_before is not None and self.done > self.done_before:
            rate = (self.done - self.done_before) / max(self.finished - self.started, 1e-9)
        left = self.total - self.done
        return Status(
            total=self.total,
            done=self.done,
            failed=dict(failed),
            bytes=self.bytes,
            seconds=self.seconds,
            rate=rate,
            eta=None if rate is None else left / rate,
            running=running,
            complete=complete,
            counts=dict(sorted(self.counts.items())),
        )


def _clear(folder: Path) -> None:
    """Remove the files of the runner, the manifest first; other files in the folder stay."""
    for name in ("manifest.json", "session.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("records", "failed", "tmp", "parts"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "plan.json").unlink(missing_ok=True)


def _difference(stored: Mapping[str, Any], mine: Mapping[str, Any]) -> str:
    """The first few differences between two plans as text; empty when they are the same."""
    keys = ("format", "suffix", "fingerprint")
    found = differences({key: stored.get(key) for key in keys}, {key: mine[key] for key in keys})
    old, new = stored.get("parts", []), mine["parts"]
    if len(old) != len(new):
        found.append(f"number of parts: {len(old)} in the folder, {len(new)} requested")
    elif old != new:
        first = next(a["name"] for a, b in zip(old, new, strict=True) if a != b)
        found.append(f"part {first}: made from other input")
    return "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")


def _record(folder: Path, name: str) -> Any:
    path = folder / "records" / f"{name}.json"
    # After a power cut a file may exist without its content.
    return read_json(path, None, _StoredRecord) if path.is_file() and path.stat().st_size else None


def _failures(folder: Path, names: Iterable[str]) -> dict[str, str]:
    found = {path.stem: path for path in (folder / "failed").glob("*.json")}
    stored = {name: read_json(found[name], None, _StoredFailure) for name in names if name in found}
    return {name: failure["reason"] for name, failure in stored.items() if failure}
