"""The scorers of this package, which join through the entry point ``croc.scorers`` like any plug-in.

croc score runs/syn --scorer crocscore --scorer crocscore-dual --out scores
croc score runs/syn --scorer crocscore --option model=org/crocscore-smolvlm --out scores
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.errors import CrocError

if TYPE_CHECKING:
    from croc.scorers.dual_encoder import DualEncoder
    from crocscore.model import CROCScore

DUAL = Path(__file__).parent / "weights" / "dual"
"""Folder of the dual encoder that comes with the package."""


def crocscore(**options: Any) -> CROCScore:
    """The yes/no model that comes with the package, or another one given as ``model=`` (folder or Hub id).

    Raises:
        CrocError: this installation contains no weights and no other model is given.
    """
    from crocscore.model import CROCScore

    return CROCScore.from_pretrained(options.pop("model", None), **options)


def crocscore_dual(**options: Any) -> DualEncoder:
    """The dual encoder that was trained on the same scenes; its score is the cosine, not clipped at 0.

    ``runtime=`` is that of :meth:`crocscore.model.CROCScore.from_pretrained`.

    Raises:
        CrocError: this installation contains no weights of it and no other model is given.
    """
    from croc.scorers.dual_encoder import DualEncoder
    from crocscore.graphs import RUNTIME, GraphDualEncoder, choose_runtime

    model = options.pop("model", DUAL)
    if model == DUAL and not (DUAL / "model.safetensors").is_file():
        raise CrocError(
            "this installation contains no weights of crocscore-dual: give a folder or Hub id as model="
        )
    runtime = choose_runtime(model, options.pop("runtime", None), options)
    kind = GraphDualEncoder if runtime == RUNTIME else DualEncoder
    return kind(model, **{"name": "crocscore-dual", **options})
