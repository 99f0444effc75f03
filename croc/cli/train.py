"""The command that trains a scorer."""

from __future__ import annotations

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="Example: croc train --config recipe.yaml --learning_rate 1e-4",
)
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False), required=True, help="The recipe, a YAML file."
)
@click.pass_context
def train(ctx: click.Context, config: str) -> None:
    """Train a yes/no model on questions from checks, with TRL.

    The recipe names the model to start from (model), the folder of questions (questions, made by croc build
    train), and any setting of TRL's SFTConfig; options after it override its keys. On several GPUs:
    accelerate launch -m crocscore.sft --config recipe.yaml
    """
    from crocscore.sft import train as run

    click.echo(f"wrote {run(['--config', config, *ctx.args])}")
