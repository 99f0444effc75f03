"""Train a yes/no vision-language model on questions from contrastive checks, with TRL's SFTTrainer.

    croc train --config recipe.yaml
    accelerate launch -m croc train --config recipe.yaml

The questions are those of ``croc build train``. The text before the answer is written by the scorer itself,
so that training and inference have the same template and preprocessing; the loss is on the answer alone. The
model is evaluated on held-out checks as often as ``eval_strategy`` says.
"""

from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.schema import DIRECTIONS
from croc.errors import CrocError, InputError, MissingExtra, exit_status
from croc.scorers.vision_language import AS_IS
from croc.storage.files import atomic, write_json
from crocscore.model import CROCScore
from crocscore.probes import is_probe_text
from crocscore.questions import question_files, question_tables
from crocscore.training import evaluation, trainable
from crocscore.training.checkpoints import is_complete, last_checkpoint, timed_checkpoints
from crocscore.training.paired import (
    ANSWER,
    BOTH,
    FALSE,
    IMAGE_KEYS,
    PAIRS,
    answer_logits,
    losses_of,
    pair_questions,
)
from crocscore.training.recipe import Arguments, read_recipe, recipe_text

if TYPE_CHECKING:
    from trl import SFTConfig

    from croc.verdict.report import Report

SPLITS = ("train", "validation")
"""Splits of the questions that are read."""

_MEASURES = (
    "loss",
    "mean_token_accuracy",
    "entropy",
    "num_tokens",
    "runtime",
    "samples_per_second",
    "steps_per_second",
)
"""What TRL's trainer reports of an evaluation, without the prefix ``eval_``."""

_NAME = "crocscore"
"""Name of the model in its results."""

_SCORES = "evaluation_scores"
"""Folder of the score tables, inside the output folder, during training."""


def read_questions(folder: str | Path, scorer: CROCScore, *, paired: bool = False) -> dict[str, Any]:
    """Read training examples, by split; questions with the text of a probe are left out of the split train.

    Args:
        folder: what ``croc build train`` made.
        scorer: its template and answers are used.
        paired: put both questions about an image into one row, see
            :func:`crocscore.training.paired.pair_questions`; with the text of a probe both are left out.

    Returns:
        ``datasets.Dataset`` by split name with the columns ``images`` (undecoded), ``prompt``, ``completion``
        and ``pair_id``.

    Raises:
        InputError: there are no questions for training, a file or column cannot be used, or a split has only
            one answer.
    """
    from datasets import Image, load_dataset
    from datasets.exceptions import DatasetGenerationError

    keys = [*IMAGE_KEYS, "label"] if paired else []
    yes, no = (scorer.written(answer) for answer in scorer.settings.answers)
    scorer.answer_ids  # noqa: B018  raises for an answer of several tokens

    def to_example(row: dict[str, Any]) -> dict[str, Any]:
        return {
            "images": [row["image"]],
            "prompt": scorer.turn(row["prompt"]),
            "completion": yes if row["label"] else no,
        }

    examples = {}
    for split in SPLITS:
        if split != SPLITS[0] and not question_files(folder, split):
            continue
        labels: set[bool] = set()
        for table in question_tables(folder, split, ("pair_id", "prompt", "label", *keys[:-1])):
            labels |= set(table["label"].to_pylist())
        if labels != {True, False}:
            problem = f"only the label {labels.pop()}" if labels else "no questions"
            raise InputError(f"{folder}: the split {split} has {problem}; training needs both answers")
        paths = [str(file) for file in question_files(folder, split)]
        try:
            # One by one: the library refuses to read splits with different columns together.
            stored = load_dataset("parquet", data_files=paths, split="train")
        except DatasetGenerationError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise InputError(f"{folder}: the split {split} cannot be read ({reason})") from None
        # Undecoded: the package has one rule for how a file becomes pixels, also in training.
        columns = dict.fromkeys(["pair_id", "image", "prompt", "label", *keys])
        rows = stored.select_columns(list(columns)).cast_column("image", Image(decode=False))
        if split == SPLITS[0]:
            left_out = [is_probe_text(prompt) for prompt in rows["prompt"]]
            if paired:
                images = list(zip(*(rows[name] for name in IMAGE_KEYS), strict=True))
                dropped = {image for image, flag in zip(images, left_out, strict=True) if flag}
                left_out = [image in dropped for image in images]
            if any(left_out):
                rows = rows.select([row for row, flag in enumerate(left_out) if not flag])
            if not len(rows):
                raise InputError(f"{folder}: every question of the split {split} has the text of a probe")
        unused = ["image"] if paired else ["image", "label"]
        made = rows.map(to_example, remove_columns=unused, load_from_cache_file=False)
        examples[split] = pair_questions(made, folder) if paired else made
    return examples


def _decode(row: dict[str, Any]) -> Any:
    """The image of a training example, as the scorer sees it."""
    from croc.checks.decoding import decode, to_bytes

    try:
        return decode(to_bytes(row["images"][0]))
    except InputError as error:
        raise InputError(f"the question {row['pair_id']}: {error}") from None


def make_trainer(arguments: Arguments, settings: Any) -> Any:
    """A TRL trainer, ready to train.

    Args:
        arguments: what is trained on what.
        settings: TRL's ``SFTConfig``. It is not changed; the trainer has a copy with its own values for the
            loss (on the answer alone) and the length (nothing is truncated).

    Returns:
        An ``SFTTrainer`` that stops at a loss that is not a number and names the questions of the batch, and
        that scores the recipe's checks whenever it evaluates.

    Raises:
        InputError: the model cannot read images, an answer has several tokens, or the questions cannot be
            used.
    """
    try:
        from trl import SFTTrainer
        from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling
    except ImportError as error:
        raise MissingExtra("training", "train") from error
    import torch
    from transformers import set_seed
    from transformers.modeling_outputs import CausalLMOutput

    if Path(settings.output_dir).resolve() == Path(arguments.model).resolve():
        raise InputError(
            f"output_dir: {settings.output_dir} is the folder of the initial model, whose weights would be "
            "overwritten; choose another folder"
        )
    scorer = _make_scorer(arguments, arguments.model, **_base_options(arguments), device="cpu")
    processor = scorer.checkpoint.processor
    if not hasattr(processor, "image_processor"):
        raise InputError(
            f"{arguments.model}: the model has no image processor, so it cannot answer questions about images"
        )
    examples = read_questions(arguments.questions, scorer, paired=arguments.paired)
    checks = (
        evaluation.select_checks(
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
            f"{arguments.questions}: eval_strategy needs the split validation, which is missing; "
            "build the checks with --validation"
        )
    _require_metric(settings.metric_for_best_model, has_checks=checks is not None)
    model = scorer.checkpoint.model
    if arguments.attention:
        try:
            model.set_attn_implementation(arguments.attention)
        except (ImportError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"attention: {arguments.attention!r} cannot be used here: {reason}") from None
    # The weights of a new adapter are random; the trainer sets the seed only later.
    set_seed(settings.seed)
    model = trainable.select_trainable(model, arguments)
    settings = copy.copy(settings)
    # A truncated answer would give a loss of 0 and no error.
    settings.max_length = None
    settings.completion_only_loss = True
    settings.remove_unused_columns = False

    class Collator(DataCollatorForVisionLanguageModeling):  # type: ignore[misc]
        def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
            ids, examples = [], []
            for row in rows:
                images = scorer.resized([_decode(row)])
                for prefix in ("", FALSE) if arguments.paired else ("",):
                    ids.append(row[f"{prefix}pair_id"])
                    asked = {name: row[f"{prefix}{name}"] for name in ("prompt", "completion")}
                    examples.append({"images": list(images), **asked})
            return {**super().__call__(examples), "pair_id": ids}

    class Trainer(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
            ids = inputs.pop("pair_id", [])
            if arguments.paired:
                output = self.loss_of_pairs(model, inputs, *rest, **more)
            else:
                output = super().compute_loss(model, inputs, *rest, **more)
            loss = output[0] if isinstance(output, tuple) else output
            if not torch.isfinite(loss.detach()).all():
                where = f"at step {self.state.global_step}, on the questions {', '.join(ids)}"
                raise CrocError(f"the loss is {float(loss.detach())} {where}")
            return output

        def loss_of_pairs(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            """The loss of the recipe's objective; both losses go into the log."""
            logits, answers = answer_logits(model, inputs)
            parts = dict(zip((ANSWER, PAIRS), losses_of(logits, answers, scorer.answer_ids), strict=True))
            mode = "train" if self.model.training else "eval"
            for name, part in parts.items():
                self._metrics[mode][f"{name}_loss"].append(float(part.detach()))
            loss = sum(parts.values()) if arguments.objective == BOTH else parts[arguments.objective]
            if num_items_in_batch is not None:
                # As TRL's own loss: a mean over the whole accumulated batch, of all processes.
                shared = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
                loss = loss * len(answers) / num_items_in_batch * shared
            return (loss, CausalLMOutput(logits=logits)) if return_outputs else loss

        def evaluate(self, *rest: Any, **more: Any) -> dict[str, float]:
            measured = super().evaluate(*rest, **more) if self.eval_dataset is not None else {}
            report = self.report()
            if report is not None:
                accuracies = evaluation.scaled_accuracies(report, "eval_")
                self.log(accuracies)
                measured = {**measured, **accuracies}
            self.write_history()
            return measured

        held_out_checks = checks

        def report(self) -> Report | None:
            """The report on the held-out checks with the current weights; None without checks."""
            if checks is None:
                return None
            current = trainable.transformers_model(self.accelerator.unwrap_model(self.model))
            was_training = current.training
            scorer = _make_scorer(arguments, current, processor=processor, name=_NAME, dtype=None)
            folder = Path(self.args.output_dir) / _SCORES
            try:
                return evaluation.evaluate_scorer(scorer, checks, folder)
            finally:
                current.train(was_training)

        def write_history(self) -> None:
            if self.is_world_process_zero():
                evaluation.write_history(self.state.log_history, Path(self.args.output_dir))

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            super()._save(output_dir, state_dict)
            if self.args.should_save:
                trainable.save_beside_adapter(self.model, output_dir or self.args.output_dir)

        def _load_from_checkpoint(self, checkpoint: str, model: Any = None) -> None:
            trainable.restore_weights(self.model if model is None else model, checkpoint)

        def _load_best_model(self) -> None:
            trainable.restore_weights(self.model, self.state.best_model_checkpoint)

    Path(settings.output_dir).mkdir(parents=True, exist_ok=True)
    try:
        return Trainer(
            model=model,
            args=settings,
            train_dataset=examples["train"],
            eval_dataset=examples.get("validation"),
            processing_class=processor,
            data_collator=Collator(processor=processor, max_length=None, completion_only_loss=True),
            callbacks=(
                [timed_checkpoints(arguments.checkpoint_minutes)] if arguments.checkpoint_minutes else None
            ),
        )
    except (RuntimeError, ImportError) as error:  # a reporting or sharding package that is not installed
        raise InputError(f"the recipe cannot be used: {str(error).strip().splitlines()[0]}") from error


def _require_metric(name: str | None, *, has_checks: bool) -> None:
    """Require a measure that evaluations report; the trainer would stop at the first one.

    Raises:
        InputError: there is none of this name.
    """
    if name is None:
        return
    accuracies = (*DIRECTIONS, evaluation.MEAN)
    measure = name.removeprefix("eval_")
    if measure in accuracies and not has_checks:
        raise InputError(f"metric_for_best_model: {name} needs held-out checks (checks)")
    known = (*_MEASURES, *accuracies)
    if measure not in known:
        near = get_close_matches(measure, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise InputError(f"metric_for_best_model: no evaluation reports {name!r}; {hint}")


def train(arguments: Sequence[str]) -> Path:
    """Train with a recipe.

    The output folder contains a plain checkpoint with its processor, the recipe, the log and its plot, facts
    for the card, and the results on the held-out checks.

    Args:
        arguments: ``["--config", "recipe.yaml", "--learning_rate", "1e-4", …]``.

    Returns:
        The folder of the trained model, which ``CROCScore.from_pretrained`` takes.
    """
    own, settings = read_recipe(arguments)
    recipe = recipe_text(arguments)
    resume_from = _checkpoint_to_resume(settings)
    trainer = make_trainer(own, settings)
    out, is_main = Path(settings.output_dir), trainer.is_world_process_zero()
    try:
        with _writing_checkpoints(out):
            trainer.train(resume_from_checkpoint=resume_from)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_what_is_kept(out)) from None
    trainer.write_history()
    accelerator, checks = trainer.accelerator, trainer.held_out_checks
    if is_main:
        evaluation.remove_results(out)
        trainable.remove_weights(out)
    accelerator.wait_for_everyone()
    with _writing_checkpoints(out):
        save_model(trainer, own)
    accelerator.wait_for_everyone()
    # What is published is evaluated: merging, rounding and another dtype change scores. A large model fits
    # in memory only once at a time.
    del trainer
    accelerator.free_memory()
    gc.collect()
    report = None
    if checks is not None:
        scorer = load_saved(own, out, device="cpu" if settings.use_cpu else None)
        report = evaluation.evaluate_scorer(scorer, checks, out / _SCORES, resamples=2_000, by=("property",))
    if is_main:
        evaluation.remove_scores(out / _SCORES)
        if recipe is not None:
            with atomic(out / "recipe.yaml") as temporary:
                temporary.write_text(recipe, "utf-8")
        if report is not None:
            write_json(out / evaluation.RESULTS, report.to_dict())
        write_json(out / evaluation.CARD, _card_facts(own, settings, out))
    # The folder is complete before any process returns.
    accelerator.wait_for_everyone()
    return out


def _checkpoint_to_resume(settings: SFTConfig) -> str | None:
    """The folder of the checkpoint that the settings name; ``true`` is the last complete one.

    Raises:
        InputError: there is no such folder, or the checkpoint is incomplete.
    """
    name = settings.resume_from_checkpoint
    if name is None or str(name).lower() == "false":
        return None
    if str(name).lower() == "true":
        last = last_checkpoint(settings.output_dir)
        if last is None:
            raise InputError(
                f"resume_from_checkpoint: {settings.output_dir} has no complete checkpoint; leave the "
                "option out to start again"
            )
        return str(last)
    if not Path(name).is_dir():
        raise InputError(f"resume_from_checkpoint: {name} is not a folder")
    if not is_complete(Path(name)):
        raise InputError(
            f"resume_from_checkpoint: {name} has no complete trainer_state.json; the training was stopped "
            "while this checkpoint was written. Take an earlier one"
        )
    return str(name)


def _what_is_kept(out: Path) -> str:
    """What an interrupted training leaves, and how to resume it."""
    checkpoint = last_checkpoint(out)
    if checkpoint is None:
        return f"{out} has no checkpoint yet, so the same command starts again (save_steps makes checkpoints)"
    return f"{checkpoint} is kept; add --resume_from_checkpoint {checkpoint} to the same command to resume"


@contextmanager
def _writing_checkpoints(out: Path) -> Iterator[None]:
    """Say that a checkpoint cannot be written; torch and safetensors raise errors of their own for it.

    Raises:
        CrocError: the disk is full, or a file may not become so large.
        OSError: the same from the operating system, with the name of the folder.
    """
    from safetensors import SafetensorError

    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(out)
        raise
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        if isinstance(error, SafetensorError) or "inline_container" in reason:
            raise CrocError(
                f"{out}: a checkpoint cannot be written ({reason}); free some space, and resume with "
                "--resume_from_checkpoint FOLDER"
            ) from error
        raise


def load_saved(arguments: Arguments, folder: Path, *, device: str | None = None) -> CROCScore:
    """A scorer with the model that :func:`save_model` wrote, loaded as everybody else loads it.

    An adapter that is kept separate is no checkpoint: it is put on the model of the recipe again.
    """
    if (folder / "config.json").is_file():
        return CROCScore.from_pretrained(folder, name=_NAME, device=device)
    base = _make_scorer(arguments, arguments.model, **_base_options(arguments), device=device)
    with_adapter = trainable.add_stored_adapter(base.checkpoint.model, folder)
    return _make_scorer(
        arguments,
        trainable.transformers_model(with_adapter),
        processor=base.checkpoint.processor,
        name=_NAME,
        dtype=None,
    )


def save_model(trainer: Any, arguments: Arguments) -> None:
    """Save the trained model and its processor; an adapter is merged if the recipe says so."""
    import torch

    out = trainer.args.output_dir
    if not trainable.has_adapter(trainer.model) or not arguments.merge:
        _store_question(trainer.model, arguments)
        if arguments.saved_dtype:
            trainer.model.to(getattr(torch, arguments.saved_dtype))
        trainer.save_model(out)
        return
    if trainer.is_world_process_zero():
        merged = trainable.merge_adapter(trainer.accelerator.unwrap_model(trainer.model))
        _store_question(merged, arguments)
        if arguments.saved_dtype:
            merged.to(getattr(torch, arguments.saved_dtype))
        merged.save_pretrained(out)
        trainer.processing_class.save_pretrained(out)


def _store_question(model: Any, arguments: Arguments) -> None:
    """Store the question in the configuration, and remove the calibration of the weights before training."""
    config = trainable.transformers_model(model).config
    stored = {
        key: value for key, value in (getattr(config, "croc", None) or {}).items() if key != "calibration"
    }
    updated = stored | _question_settings(arguments)
    if updated or hasattr(config, "croc"):
        config.croc = updated


def _base_options(arguments: Arguments) -> dict[str, Any]:
    """What the recipe says about loading the initial model."""
    return {
        "revision": arguments.revision,
        "key_mapping": arguments.key_mapping,
        "without_adapter": arguments.adapter is not None,
    }


def _make_scorer(arguments: Arguments, model: Any, **options: Any) -> CROCScore:
    """A scorer that asks a model as the recipe says."""
    given = {"auto": arguments.auto, "dtype": arguments.dtype, "image_processor": arguments.image_processor}
    return CROCScore(model, **{**given, **_question_settings(arguments), **options})


def _question_settings(arguments: Arguments) -> dict[str, Any]:
    """Template and image size where the recipe has them; elsewhere those of the checkpoint hold."""
    size = arguments.image_size if arguments.resize else AS_IS
    settings = {"question": arguments.question, "image_size": size}
    return {key: value for key, value in settings.items() if value}


def _card_facts(arguments: Arguments, settings: Any, out: Path) -> dict[str, Any]:
    """Facts for the card of the trained model, besides its results."""
    on_hub = not Path(arguments.model).is_dir()
    facts = {
        "name": out.resolve().name,
        "license": arguments.licence,
        "summary": arguments.summary,
        "base_model": arguments.model if on_hub else None,
        "base_revision": arguments.revision if on_hub else None,
        "seed": settings.seed,
    }
    return {key: value for key, value in facts.items() if value is not None}


@exit_status
def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line; see the module's docstring."""
    out = train(sys.argv[1:] if arguments is None else arguments)
    sys.stdout.write(f"{out}\n")


if __name__ == "__main__":
    sys.exit(main())
