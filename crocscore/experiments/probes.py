"""An experiment without training: a scorer on probes, texts as people type them.

croc experiment probes crocscore --out runs/probes
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from croc.jobs.progress import progress_bar
from croc.scorers import Scorer
from croc.storage.files import atomic, write_json
from crocscore.experiments.plots import plot_probes
from crocscore.probes import PROBES, ProbeReport, run

__all__ = ["PROBES", "probe"]


def probe(scorer: Scorer, out: str | Path, probes: str | Path = PROBES, **options: Any) -> ProbeReport:
    """Score a list of probes and write the results and their plot.

    Args:
        scorer: any scorer.
        out: folder of ``probes.json`` and ``probes.png``.
        probes: the list.
        options: those of :func:`crocscore.probes.run`.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar("probes", "probes") as show:
        report = run(scorer, probes, progress=show, **options)
    with atomic(out / "probes.png") as temporary:
        temporary.write_bytes(plot_probes([group.to_dict() for group in (*report.groups, report.overall)]))
    write_json(out / "probes.json", report.to_dict())
    return report
