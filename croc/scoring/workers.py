"""Slices of checks scored by the workers of an engine: each opens the checks and loads the scorer by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from croc.errors import CrocError, InputError
from croc.jobs.runner import Abort, Make
from croc.storage.files import canonical


@dataclass(frozen=True)
class Slices:
    """Makes the parts of one scorer in whatever process it is called.

    Attributes:
        source: arguments of :func:`croc.checks.sources.open_checks`; a worker can read what they name.
        revision: of the checks, as the plan has it.
        scorer: a name that :func:`croc.scorers.registry.load` takes.
        options: arguments for its class.
        fields: what the scorer said of itself where the plan was made.
        way: how the scores come about there, see :mod:`croc.scoring.batching`.
        batch_size, threads: of the engine that runs the scorer.
    """

    source: dict[str, Any]
    revision: str
    scorer: str
    options: dict[str, Any]
    fields: dict[str, str]
    way: str
    batch_size: int | None
    threads: int | None

    def __call__(self, payload: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
        """Score one slice and write its rows.

        Raises:
            Abort: the checks or the scorer are not here, or others than those of the plan.
        """
        key = canonical(asdict(self))
        if key not in _IN_MEMORY:
            _IN_MEMORY.clear()  # another scorer takes the place of the one before
            _IN_MEMORY[key] = self._ready()
        return _IN_MEMORY[key](payload, path)

    def _ready(self) -> Make:
        from croc.scoring.run import maker

        try:
            made, fields, way, revision = maker(
                self.source, self.scorer, self.options, self.batch_size, self.threads
            )
        except CrocError as error:
            raise Abort(f"a worker cannot begin: {error}") from error
        for what, here, planned in (
            ("the checks", revision, self.revision),
            ("the scorer", fields, self.fields),
            ("the way of scoring", way, self.way),
        ):
            if here != planned:
                raise Abort(f"{what}: a worker has {canonical(here)}, the plan is for {canonical(planned)}")
        return made


_IN_MEMORY: dict[str, Make] = {}


def named(dataset: Any, scorers: Any) -> str:
    """The dataset by a name that other processes can use.

    Raises:
        InputError: it is an object, or a scorer is.
    """
    if not isinstance(dataset, (str, Path)):
        raise InputError("an engine's workers open the dataset themselves: give a folder, a file or a Hub id")
    if objects := [spec for spec in scorers if not isinstance(spec, str)]:
        raise InputError(
            "an engine's workers load the scorers themselves: give names or module:Class, "
            f"not {objects[0]!r:.80}"
        )
    return str(Path(dataset).resolve()) if Path(dataset).exists() else str(dataset)
