"""The command ``import-checkpoint``."""

from __future__ import annotations

from pathlib import Path

import click

from croc.cli.command_group import section
from croc.cli.options import PATH
from croc.cli.output import echo, log


@section("run")
@click.command(
    epilog="""\b
Examples:
  croc import-checkpoint nllg/crocscore
  croc import-checkpoint microsoft/Phi-4-multimodal-instruct --revision COMMIT
  croc import-checkpoint my-phi4 --base microsoft/Phi-4-multimodal-instruct --out imported""",
)
@click.argument("source")
@click.option(
    "--out",
    type=PATH,
    metavar="FOLDER",
    help="Output folder. Default: a folder in the cache, where the Hub id of the source finds it. "
    "Run the same command again to resume an interrupted import.",
)
@click.option("--revision", metavar="REVISION", help="Commit, tag or branch of the source on the Hub.")
@click.option(
    "--base",
    metavar="FOLDER|HUB_ID",
    help="Microsoft's model, for the audio part and the tokenizer if the source lacks them. "
    "Default: microsoft/Phi-4-multimodal-instruct at a pinned commit.",
)
@click.option("--base-revision", metavar="REVISION", help="Commit, tag or branch of the base model.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Number format of the weights. Default: that of the source.",
)
@click.option(
    "--keep-adapter",
    is_flag=True,
    help="Write the LoRA adapter beside the weights instead of merging it, to train it further.",
)
def import_checkpoint(
    source: str,
    out: Path | None,
    revision: str | None,
    base: str | None,
    base_revision: str | None,
    dtype: str | None,
    keep_adapter: bool,
) -> None:
    """Convert a Phi-4-multimodal checkpoint for transformers.

    SOURCE is a folder or Hub id with Microsoft's layout, such as the authors' CROCScore (nllg/crocscore). The
    weights are renamed, and the LoRA adapter for images is merged into them. No code of the checkpoint runs.
    """
    from croc.scorers.phi4_multimodal.imported import BASE
    from croc.scorers.phi4_multimodal.importing import import_checkpoint as run

    folder = run(
        source,
        out,
        revision=revision,
        base=base or BASE,
        base_revision=base_revision,
        dtype=dtype,
        keep_adapter=keep_adapter,
        log=log,
    )
    echo(folder)
