"""Slices of checks scored by worker processes: each opens the checks and loads the scorer by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from croc.checks.sources import open_checks
from croc.errors import CrocError, InputError
from croc.jobs.paid_calls import PaidTerms
from croc.jobs.parts import Abort
from croc.jobs.worker_state import keep_one
from croc.scorers.registry import load_any
from croc.scoring.slices import SliceScorer
from croc.storage.files import canonical


@dataclass(frozen=True)
class WorkerSlices:
    """Scores slices in whichever process it is called; what it has loaded stays there from part to part.

    Attributes:
        source: arguments of :func:`croc.checks.sources.open_checks`; a worker can read what they name.
        revision: of the checks, as the plan has it.
        scorer: a name that :func:`croc.scorers.registry.load_any` takes.
        options: arguments for its class.
        fields: the scorer's description where the plan was made.
        method: how scores were computed there, see :mod:`croc.scoring.batching`.
        batch_size, threads: of the :class:`croc.scoring.batching.BatchScorer`.
        paid: terms for a scorer that calls a paid service, as :class:`croc.jobs.paid_calls.PaidTerms`.
    """

    source: dict[str, Any]
    revision: str
    scorer: str
    options: dict[str, Any]
    fields: dict[str, str]
    method: str
    batch_size: int | None
    threads: int | None
    paid: dict[str, Any] | None = None

    def __call__(self, payload: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
        """Score one slice and write its rows.

        Raises:
            Abort: the checks or the scorer cannot be loaded here, or differ from those of the plan.
        """
        return keep_one("croc.scoring", canonical(asdict(self)), self._load)(payload, path)

    def _load(self) -> SliceScorer:
        try:
            checks = open_checks(**self.source)
            scorer: Any = load_any(self.scorer, **self.options)
            if self.paid is not None and hasattr(scorer, "use_terms"):
                scorer.use_terms(PaidTerms(**self.paid).in_one_run())
            slices = SliceScorer(checks, scorer, batch_size=self.batch_size, threads=self.threads)
        except CrocError as error:
            raise Abort(f"a worker cannot start: {error}") from error
        for what, here, planned in (
            ("the checks", checks.revision, self.revision),
            ("the scorer", slices.fields, self.fields),
            ("the method of scoring", slices.method, self.method),
        ):
            if here != planned:
                slices.close()
                raise Abort(f"{what}: a worker has {canonical(here)}, the plan is for {canonical(planned)}")
        return slices


def name_for_workers(dataset: Any, scorers: Any) -> str:
    """The dataset under a name that other processes can use.

    Raises:
        InputError: the dataset or a scorer is an object.
    """
    if not isinstance(dataset, (str, Path)):
        raise InputError("worker processes open the dataset themselves: give a folder, a file or a Hub id")
    if objects := [spec for spec in scorers if not isinstance(spec, str)]:
        raise InputError(
            "worker processes load the scorers themselves: give names or module:Class, "
            f"not {objects[0]!r:.80}"
        )
    return str(Path(dataset).resolve()) if Path(dataset).exists() else str(dataset)
