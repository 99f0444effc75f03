"""Train a yes/no vision-language model on questions from contrastive checks, with TRL's SFTTrainer.

    croc train --config recipe.yaml
    accelerate launch -m crocscore.sft --config recipe.yaml

The questions are those of ``croc build train``. What the model reads before the answer is written by the
scorer that will ask it later, so that training and inference share one template and one preprocessing; the
loss is on the answer alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from croc.errors import CrocError, InputError, MissingExtra
from crocscore.model import CROCScore

SPLITS = ("train", "validation")


@dataclass
class Arguments:
    """What is trained on what; every other key of a recipe is one of TRL's ``SFTConfig``.

    Attributes:
        model: folder or Hub id to start from.
        revision: commit of the model on the Hub.
        questions: a folder that ``croc build train`` finished.
        question: the template with ``{prompt}``; None takes the checkpoint's own or this program's.
        freeze: names of parameters that stay as they are begin with one of these.
    """

    model: str = field(metadata={"help": "folder or Hub id to start from"})
    questions: str = field(metadata={"help": "a folder that croc build train finished"})
    revision: str | None = field(default=None, metadata={"help": "commit of the model on the Hub"})
    question: str | None = field(default=None, metadata={"help": "template with {prompt}"})
    freeze: list[str] = field(default_factory=list, metadata={"help": "prefixes of parameters to keep"})


def questions_of(folder: str | Path, scorer: CROCScore) -> dict[str, Any]:
    """Training examples by split.

    Args:
        folder: what ``croc build train`` made.
        scorer: whose template and answers the examples are written with.

    Returns:
        ``datasets.Dataset`` by split name with the columns ``images``, ``prompt``, ``completion`` and
        ``pair_id``.

    Raises:
        InputError: no questions for training, a column is missing, or a split has one answer alone.
    """
    from datasets import Image, List, load_dataset

    files = {
        split: sorted(str(file) for file in Path(folder).glob(f"data/{split}-*.parquet")) for split in SPLITS
    }
    if not files["train"]:
        raise InputError(f"{folder}: no data/train-*.parquet; make questions with croc build train")
    stored = load_dataset("parquet", data_files={name: found for name, found in files.items() if found})
    yes, no = (scorer.written(answer) for answer in scorer.settings.answers)
    scorer.answer_ids  # noqa: B018  an answer of several tokens is refused before anything is trained
    found = {}
    for name, rows in stored.items():
        if missing := {"pair_id", "image", "prompt", "label"} - set(rows.column_names):
            raise InputError(f"{folder}: the split {name} has no column {sorted(missing)[0]}")
        labels = set(rows["label"])
        if labels != {True, False}:
            said = "no labels" if not labels else f"the label {labels.pop()} alone"
            raise InputError(f"{folder}: the split {name} has {said}; training needs both answers")

        def written(row: dict[str, Any]) -> dict[str, Any]:
            return {
                "images": [row["image"]],
                "prompt": scorer.turn(row["prompt"]),
                "completion": yes if row["label"] else no,
            }

        plain = rows.select_columns(["pair_id", "image", "prompt", "label"]).cast_column(
            "image", Image(decode=False)
        )
        made = plain.map(written, remove_columns=["image", "label"], load_from_cache_file=False)
        found[str(name)] = made.cast_column("images", List(Image()))
    return found


def trainer_of(arguments: Arguments, settings: Any) -> Any:
    """A TRL trainer, ready to train.

    Args:
        arguments: what is trained on what.
        settings: TRL's ``SFTConfig``; the loss is put on the answer alone and nothing is cut.

    Returns:
        An ``SFTTrainer`` that stops at a loss that is not a number and names the questions of the batch.

    Raises:
        InputError: the model cannot read images, an answer is several tokens, or the questions are unfit.
    """
    try:
        from trl import SFTTrainer
        from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling
    except ImportError as error:
        raise MissingExtra("training", "train") from error
    import torch

    options = {"question": arguments.question} if arguments.question else {}
    scorer = CROCScore(arguments.model, revision=arguments.revision, dtype="float32", device="cpu", **options)
    model, processor = scorer.checkpoint.model, scorer.checkpoint.processor
    if not hasattr(processor, "image_processor"):
        raise InputError(
            f"{arguments.model}: it has no image processor, so that it cannot be asked about images"
        )
    examples = questions_of(arguments.questions, scorer)
    known = [name for name, _ in model.named_parameters()]
    for prefix in arguments.freeze:
        if not any(name.startswith(prefix) for name in known):
            raise InputError(f"freeze: no parameter of the model begins with {prefix!r}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(arguments.freeze)))
    # A cut answer would give a loss of 0 and no error.
    settings.max_length = None
    settings.completion_only_loss = True
    settings.remove_unused_columns = False

    class Collator(DataCollatorForVisionLanguageModeling):  # type: ignore[misc]
        def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
            ids = [row["pair_id"] for row in rows]
            batch = super().__call__(
                [{k: row[k] for k in ("images", "prompt", "completion")} for row in rows]
            )
            return {**batch, "pair_id": ids}

    class Trainer(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
            ids = inputs.pop("pair_id", [])
            found = super().compute_loss(model, inputs, *rest, **more)
            loss = found[0] if isinstance(found, tuple) else found
            if not torch.isfinite(loss.detach()).all():
                where = f"at step {self.state.global_step}, on the questions {', '.join(ids)}"
                raise CrocError(f"the loss is {float(loss.detach())} {where}")
            return found

        def _load_from_checkpoint(self, checkpoint: str, model: Any = None) -> None:
            # The library's own load keeps the first weights where a model saves under older names (Llava).
            target = model if model is not None else self.model
            if hasattr(target, "peft_config"):
                super()._load_from_checkpoint(checkpoint, model)
                return
            stored = type(target).from_pretrained(checkpoint, dtype=target.dtype)
            target.load_state_dict(stored.state_dict())

    return Trainer(
        model=model,
        args=settings,
        train_dataset=examples["train"],
        eval_dataset=examples.get("validation"),
        processing_class=processor,
        data_collator=Collator(processor=processor, max_length=None, completion_only_loss=True),
    )


def read_recipe(arguments: Sequence[str]) -> tuple[Arguments, Any]:
    """A recipe file and options after it, as :class:`Arguments` and TRL's ``SFTConfig``.

    Raises:
        InputError: a key that neither knows, or a value that does not fit.
        MissingExtra: TRL is not installed.
    """
    try:
        from trl import SFTConfig, TrlParser
    except ImportError as error:
        raise MissingExtra("training", "train") from error
    try:
        return tuple(TrlParser((Arguments, SFTConfig)).parse_args_and_config(list(arguments)))  # type: ignore[return-value]
    except (ValueError, OSError) as error:
        raise InputError(f"the recipe cannot be used: {str(error).splitlines()[0]}") from None


def train(arguments: Sequence[str]) -> Path:
    """Train as a recipe says and write model, processor and the recipe's settings.

    Args:
        arguments: ``["--config", "recipe.yaml", "--learning_rate", "1e-4", …]``.

    Returns:
        The folder of the trained model, which ``CROCScore.from_pretrained`` takes.
    """
    chosen, settings = read_recipe(arguments)
    trainer = trainer_of(chosen, settings)
    trainer.train(resume_from_checkpoint=settings.resume_from_checkpoint)
    if chosen.question:
        trainer.model.config.croc = {"question": chosen.question}
    trainer.save_model(settings.output_dir)
    return Path(settings.output_dir)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the module's docstring."""
    try:
        out = train(sys.argv[1:] if arguments is None else arguments)
    except CrocError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
