"""Train a yes/no vision-language model on questions from contrastive checks, with TRL's SFTTrainer.

    croc train --config recipe.yaml
    accelerate launch -m croc train --config recipe.yaml

The questions are those of ``croc build train``. What the model reads before the answer is written by the
scorer that will ask it later, so that training and inference share one template and one preprocessing; the
loss is on the answer alone. Held-out checks are scored on the way: ``eval_strategy`` says when.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from croc.errors import CrocError, InputError, MissingExtra
from croc.storage.files import atomic, write_json
from crocscore.model import CROCScore
from crocscore.training import held_out as watch
from crocscore.training import tuning
from crocscore.training.recipe import Arguments, read_recipe, recipe_text

SPLITS = ("train", "validation")
"""Splits of the questions that training reads."""

_WATCHED = "watched"


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
    # One by one: read together, splits of other columns would be an error of the library's.
    stored = {
        name: load_dataset("parquet", data_files=found, split="train")
        for name, found in files.items()
        if found
    }
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
        An ``SFTTrainer`` that stops at a loss that is not a number and names the questions of the batch, and
        that scores the recipe's checks whenever it evaluates.

    Raises:
        InputError: the model cannot read images, an answer is several tokens, or the questions are unfit.
    """
    try:
        from trl import SFTTrainer
        from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling
    except ImportError as error:
        raise MissingExtra("training", "train") from error
    import torch
    from transformers import set_seed

    scorer = _asked(
        arguments,
        arguments.model,
        revision=arguments.revision,
        device="cpu",
        key_mapping=arguments.key_mapping,
    )
    processor = scorer.checkpoint.processor
    if not hasattr(processor, "image_processor"):
        raise InputError(
            f"{arguments.model}: it has no image processor, so that it cannot be asked about images"
        )
    examples = questions_of(arguments.questions, scorer)
    checks = (
        watch.held_out(
            arguments.checks,
            config=arguments.checks_config,
            split=arguments.checks_split,
            at_most=arguments.max_checks,
        )
        if arguments.checks
        else None
    )
    evaluates = getattr(settings.eval_strategy, "value", settings.eval_strategy) != "no"
    if evaluates and "validation" not in examples:
        raise InputError(
            f"{arguments.questions}: eval_strategy needs a split validation, and there is none; "
            "build the checks with --validation"
        )
    model = scorer.checkpoint.model
    if arguments.attention:
        model.set_attn_implementation(arguments.attention)
    # An adapter begins with random numbers, and the trainer seeds them later than that.
    set_seed(settings.seed)
    model = tuning.prepare(model, arguments)
    # A cut answer would give a loss of 0 and no error.
    settings.max_length = None
    settings.completion_only_loss = True
    settings.remove_unused_columns = False

    class Collator(DataCollatorForVisionLanguageModeling):  # type: ignore[misc]
        def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
            ids = [row["pair_id"] for row in rows]
            read = [
                {
                    "images": scorer.resized(row["images"]),
                    "prompt": row["prompt"],
                    "completion": row["completion"],
                }
                for row in rows
            ]
            return {**super().__call__(read), "pair_id": ids}

    class Trainer(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
            ids = inputs.pop("pair_id", [])
            found = super().compute_loss(model, inputs, *rest, **more)
            loss = found[0] if isinstance(found, tuple) else found
            if not torch.isfinite(loss.detach()).all():
                where = f"at step {self.state.global_step}, on the questions {', '.join(ids)}"
                raise CrocError(f"the loss is {float(loss.detach())} {where}")
            return found

        def evaluate(self, *rest: Any, **more: Any) -> dict[str, float]:
            measured = super().evaluate(*rest, **more) if self.eval_dataset is not None else {}
            if checks:
                found = watch.numbers(self.verdict(), "eval_")
                self.log(found)
                measured = {**measured, **found}
            self.write_history()
            return measured

        def verdict(self, **options: Any) -> Any:
            """The report on the held-out checks as the model is now."""
            trained = tuning.plain(self.accelerator.unwrap_model(self.model))
            was_training = trained.training
            now = _asked(arguments, trained, processor=processor, name="crocscore", dtype=None)
            folder = Path(self.args.output_dir) / _WATCHED
            try:
                return watch.verdict(now, checks, folder, **options)
            finally:
                trained.train(was_training)

        def write_history(self) -> None:
            if self.is_world_process_zero():
                watch.write_history(self.state.log_history, Path(self.args.output_dir))

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            super()._save(output_dir, state_dict)
            if self.args.should_save:
                tuning.save_beside(self.model, output_dir or self.args.output_dir)

        def _load_from_checkpoint(self, checkpoint: str, model: Any = None) -> None:
            tuning.restore(self.model if model is None else model, checkpoint)

        def _load_best_model(self) -> None:
            tuning.restore(self.model, self.state.best_model_checkpoint)

    Path(settings.output_dir).mkdir(parents=True, exist_ok=True)
    made = Trainer(
        model=model,
        args=settings,
        train_dataset=examples["train"],
        eval_dataset=examples.get("validation"),
        processing_class=processor,
        data_collator=Collator(processor=processor, max_length=None, completion_only_loss=True),
    )
    made.checks = checks
    return made


def train(arguments: Sequence[str]) -> Path:
    """Train as a recipe says.

    The folder that is written holds a plain checkpoint with its processor, and beside it the recipe, the log
    and its plot, what the card says, and the verdict on the held-out checks.

    Args:
        arguments: ``["--config", "recipe.yaml", "--learning_rate", "1e-4", …]``.

    Returns:
        The folder of the trained model, which ``CROCScore.from_pretrained`` takes.
    """
    chosen, settings = read_recipe(arguments)
    recipe = recipe_text(arguments)
    trainer = trainer_of(chosen, settings)
    trainer.train(resume_from_checkpoint=settings.resume_from_checkpoint)
    out = Path(settings.output_dir)
    if chosen.saved_dtype:
        tuning.round_to(trainer.model, chosen.saved_dtype)
    report = trainer.verdict(resamples=2_000, by=("property",)) if trainer.checks else None
    trainer.write_history()
    save(trainer, chosen)
    if trainer.is_world_process_zero():
        watch.clear(out / _WATCHED)
        if recipe is not None:
            with atomic(out / "recipe.yaml") as temporary:
                temporary.write_text(recipe, "utf-8")
        if report is not None:
            write_json(out / watch.RESULTS, report.to_dict())
        write_json(out / "card.json", _said(chosen, settings, out))
    # Who goes on with the folder finds it whole in every process.
    trainer.accelerator.wait_for_everyone()
    return out


def save(trainer: Any, chosen: Arguments) -> None:
    """Write the trained model and its processor as a checkpoint; the adapter becomes part of the weights."""
    import torch

    out = trainer.args.output_dir
    if not tuning.is_adapted(trainer.model) or not chosen.merge:
        _settle(trainer.model, chosen)
        if chosen.saved_dtype:
            trainer.model.to(getattr(torch, chosen.saved_dtype))
        trainer.save_model(out)
        return
    if trainer.is_world_process_zero():
        whole = tuning.merged(trainer.accelerator.unwrap_model(trainer.model))
        _settle(whole, chosen)
        if chosen.saved_dtype:
            whole.to(getattr(torch, chosen.saved_dtype))
        whole.save_pretrained(out)
        trainer.processing_class.save_pretrained(out)


def _settle(model: Any, chosen: Arguments) -> None:
    """Write how the model is asked into its configuration; an older calibration is no longer true."""
    config = tuning.plain(model).config
    held = {
        key: value for key, value in (getattr(config, "croc", None) or {}).items() if key != "calibration"
    }
    asked = held | _question(chosen)
    if asked or hasattr(config, "croc"):
        config.croc = asked


def _asked(arguments: Arguments, model: Any, **options: Any) -> CROCScore:
    """The scorer over a model, as the recipe asks it."""
    given = {"auto": arguments.auto, "dtype": arguments.dtype, "image_processor": arguments.image_processor}
    return CROCScore(model, **{**given, **_question(arguments), **options})


def _question(chosen: Arguments) -> dict[str, Any]:
    """How the recipe says that the model is asked; what it does not say is the checkpoint's."""
    said = {"question": chosen.question, "image_size": chosen.image_size}
    return {key: value for key, value in said.items() if value}


def _said(chosen: Arguments, settings: Any, out: Path) -> dict[str, Any]:
    """What the card of the trained model says beside its numbers."""
    on_hub = not Path(chosen.model).is_dir()
    said = {
        "name": out.resolve().name,
        "license": chosen.licence,
        "summary": chosen.summary,
        "base_model": chosen.model if on_hub else None,
        "base_revision": chosen.revision if on_hub else None,
        "seed": settings.seed,
    }
    return {key: value for key, value in said.items() if value is not None}


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
