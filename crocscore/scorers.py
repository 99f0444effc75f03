"""What CROCScore brings to croc's scorers, through the entry point ``croc.scorers``, like any plug-in.

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
"""Where the dual encoder that comes with the package lies."""


def crocscore(**options: Any) -> CROCScore:
    """The yes/no model that comes with the package; ``model=`` takes another folder or Hub id.

    Raises:
        CrocError: this installation holds no weights and no other model is named.
    """
    from crocscore.model import CROCScore

    return CROCScore.from_pretrained(options.pop("model", None), **options)


def crocscore_dual(**options: Any) -> DualEncoder:
    """The dual encoder that learnt from the same checks: the cosine, which CLIPScore clips at 0.

    Raises:
        CrocError: this installation holds no weights of it.
    """
    from croc.scorers.dual_encoder import DualEncoder

    model = options.pop("model", DUAL)
    if model == DUAL and not (DUAL / "model.safetensors").is_file():
        raise CrocError(
            "this installation holds no weights of crocscore-dual: name a folder or Hub id with model="
        )
    return DualEncoder(model, **{"name": "crocscore-dual", **options})
