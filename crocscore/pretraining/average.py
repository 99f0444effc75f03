"""Average the weights of models that were trained one from another.

    python -m crocscore.pretraining.average runs/vlm-5 runs/vlm-6 --out runs/mean

The mean of models that were fine-tuned from the same weights can be better than each of them, and costs
nothing when it scores (Wortsman et al. 2022, arXiv 2203.05482).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from croc.errors import InputError, exit_status
from croc.storage.files import read_json, write_json

WEIGHTS = "model.safetensors"
COPIED = (
    "config.json",
    "generation_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
"""What makes a folder of a model loadable, besides the weights."""


def average(models: Sequence[str | Path], out: str | Path) -> Path:
    """Write a model whose weights are the mean of those of others.

    Args:
        models: folders of two or more models of the same architecture and vocabulary.
        out: the new folder: the first model with other weights, without calibration, results and graphs.

    Returns:
        The new folder.

    Raises:
        InputError: there is one model alone, a folder is no model or is written to, or two models do not fit
            each other.
    """
    import torch
    from safetensors.torch import load_file, save_file

    folders, out = [Path(model) for model in models], Path(out)
    if len(folders) < 2:
        raise InputError("give two models or more")
    for folder in folders:
        if not (folder / WEIGHTS).is_file():
            raise InputError(f"{folder} has no {WEIGHTS}: not the folder of a model")
        if folder.resolve() == out.resolve():
            raise InputError(f"{out} is one of the models; choose another folder")
    first, *others = (load_file(folder / WEIGHTS) for folder in folders)
    for folder, weights in zip(folders[1:], others, strict=True):
        if _vocabulary(folder) != _vocabulary(folders[0]):
            raise InputError(f"{folder} and {folders[0]} have different vocabularies")
        shapes, expected = ({name: one.shape for name, one in some.items()} for some in (weights, first))
        if shapes != expected:
            raise InputError(f"{folder} and {folders[0]} have different architectures")
    mean = {
        name: torch.stack([value.double(), *(some[name].double() for some in others)]).mean(0).to(value.dtype)
        if value.dtype.is_floating_point
        else value
        for name, value in first.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (folders[0] / name).is_file():
            (out / name).write_bytes((folders[0] / name).read_bytes())
    config: dict[str, Any] = read_json(out / "config.json", "no config.json in it", dict[str, Any])
    if config.get("croc"):
        config["croc"] = {name: value for name, value in config["croc"].items() if name != "calibration"}
        write_json(out / "config.json", config)
    save_file(mean, out / WEIGHTS, metadata={"format": "pt"})
    return out


def _vocabulary(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder).get_vocab()


@exit_status
def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    from croc.cli.output import echo

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="folder of a model")
    parser.add_argument("--out", required=True, type=Path, help="folder of the new model")
    given = parser.parse_args(arguments)
    echo(f"wrote {average(given.models, given.out)}")


if __name__ == "__main__":
    sys.exit(main())
