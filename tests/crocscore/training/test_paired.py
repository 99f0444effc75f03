"""Batches of pairs and their losses, with TRL's trainer on tiny models; checkpoints by time."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from croc.errors import InputError
from crocscore.model import CROCScore
from crocscore.training.checkpoints import last_checkpoint, timed_checkpoints
from crocscore.training.paired import FALSE, losses_of
from crocscore.training.sft import make_trainer, read_questions, read_recipe, train

pytest.importorskip("trl", reason="training needs the extra train")


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def pair_loss_of(model, processor, batch):
    """The mean pair loss by the scorer's own margins."""
    inputs = {name: value for name, value in batch.items() if name != "pair_id"}
    yes, no = CROCScore(model, processor=processor).answer_ids
    labels = inputs.pop("labels")
    with torch.inference_mode():
        logits = model(**inputs).logits
    at = [row.index(next(i for i in row if i != -100)) - 1 for row in labels.tolist()]
    margins = [float(logits[i, place, yes] - logits[i, place, no]) for i, place in enumerate(at)]
    gaps = np.array(margins[0::2]) - np.array(margins[1::2])
    return float(np.log1p(np.exp(-gaps)).mean())


def test_a_row_holds_the_true_and_the_false_prompt_of_one_image(base, questions):
    scorer = CROCScore(base, device="cpu")
    single, paired = (read_questions(questions, scorer, paired=flag)["train"] for flag in (False, True))
    assert len(single) == 2 * len(paired)
    stored = pa.concat_tables([pq.read_table(f) for f in sorted(questions.glob("data/train-*.parquet"))])
    of = {row["pair_id"]: row for row in stored.to_pylist()}
    for row in paired:
        true, false = of[row["pair_id"]], of[row[f"{FALSE}pair_id"]]
        assert (true["label"], false["label"]) == (True, False)
        assert true["image"]["bytes"] == false["image"]["bytes"] == row["images"][0]["bytes"]
        assert true["prompt"] in row["prompt"] and false["prompt"] in row[f"{FALSE}prompt"]


def test_images_without_both_answers_are_refused(base, questions, tmp_path):
    shutil.copytree(questions, tmp_path / "questions")
    file = next((tmp_path / "questions").glob("data/train-*.parquet"))
    rows = pq.read_table(file)
    labels = [True, *rows["label"].to_pylist()[1:]]
    labels[1] = True
    rows = rows.set_column(rows.schema.get_field_index("label"), "label", pa.array(labels))
    pq.write_table(rows, file)
    with pytest.raises(InputError, match=r"training on pairs needs .* has 2 and 0"):
        read_questions(tmp_path / "questions", CROCScore(base, device="cpu"), paired=True)


def test_the_losses_are_those_of_their_formulas():
    # Two pairs, a vocabulary of three: Yes, No, another token.
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.5, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    answer, pairs = losses_of(logits, torch.tensor([0, 1, 0, 1]), (0, 1))
    # Margins 2, -0.5, -1, 1: gaps 2.5 and -2.
    assert float(pairs) == pytest.approx((np.log1p(np.exp(-2.5)) + np.log1p(np.exp(2.0))) / 2, rel=1e-6)
    own = [
        -row[right] + np.log(np.exp(row).sum())
        for row, right in zip(logits.numpy(), (0, 1, 0, 1), strict=True)
    ]
    assert float(answer) == pytest.approx(np.mean(own), rel=1e-6)


def test_the_answer_loss_of_pairs_is_that_of_supervised_fine_tuning(recipe):
    trainer = make_trainer(*read_recipe(recipe(paired=True)))
    batch = next(iter(trainer.get_train_dataloader()))
    assert len(batch["labels"]) == 8 == len(batch["pair_id"])  # a batch of 4 images
    inputs = {name: value for name, value in batch.items() if name != "pair_id"}
    with torch.no_grad():
        ours = trainer.compute_loss(trainer.model, dict(batch))
        theirs = super(type(trainer), trainer).compute_loss(trainer.model, dict(inputs))
        # Over two accumulated batches, each has half of the mean.
        half = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=torch.tensor(16))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(half, ours / 2)
    assert trainer._metrics["eval"]["pairs_loss"][0] == pytest.approx(
        pair_loss_of(trainer.model, trainer.processing_class, batch), rel=1e-4
    )


@pytest.fixture(scope="module")
def planted(questions, tmp_path_factory):
    """Questions whose true prompts are red and whose false ones are blue, whatever the image shows."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(questions, folder, dirs_exist_ok=True)
    for file in folder.glob("data/*.parquet"):
        rows = pq.read_table(file)
        colours = [
            "a red thing here" if label else "a blue thing here" for label in rows["label"].to_pylist()
        ]
        pq.write_table(
            rows.set_column(rows.schema.get_field_index("prompt"), "prompt", pa.array(colours)), file
        )
    return folder


@pytest.mark.parametrize("objective", ["answer", "pairs", "both"])
def test_training_lowers_the_losses_that_its_objective_has(recipe, planted, objective):
    options = {"lr_scheduler_type": "constant", "learning_rate": 3e-3, "save_strategy": "no"}
    words = recipe(questions=planted, paired=True, objective=objective, max_steps=30, **options)
    trainer = make_trainer(*read_recipe(words))
    trainer.train()
    answer, pairs = np.array(logged(trainer, "answer_loss")), np.array(logged(trainer, "pairs_loss"))
    expected = {"answer": answer, "pairs": pairs, "both": answer + pairs}[objective]
    np.testing.assert_allclose(logged(trainer, "loss"), expected, rtol=1e-3)
    assert pairs[-5:].mean() < 0.5 * pairs[:3].mean()  # red is told from blue
    # The pair loss does not see what both margins have in common, nor the other words of the vocabulary.
    assert (answer[-5:].mean() < 1) == (objective != "pairs")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"objective": "rank", "paired": True}, "objective 'rank' is unknown; expected answer, pairs, both"),
        ({"objective": "pairs"}, "objective pairs compares the prompts of a pair: set paired to true"),
        ({"checkpoint_minutes": 0}, "checkpoint_minutes must be above 0"),
    ],
)
def test_objectives_that_do_not_fit_are_refused(recipe, more, message):
    with pytest.raises(InputError, match=message):
        read_recipe(recipe(**more))


def test_a_checkpoint_is_saved_whenever_the_time_has_passed(recipe, tmp_path):
    trainer = make_trainer(*read_recipe(recipe(max_steps=6, save_strategy="no", checkpoint_minutes=10)))
    assert "TimedCheckpoints" in {type(each).__name__ for each in trainer.callback_handler.callbacks}
    trainer.train()
    assert last_checkpoint(tmp_path / "out") is None  # it took less than ten minutes

    ticks = iter(range(0, 10_000, 150))  # 2.5 minutes between two looks at the clock
    trainer = make_trainer(*read_recipe(recipe(max_steps=6, save_strategy="no")))
    trainer.add_callback(timed_checkpoints(5, clock=lambda: float(next(ticks))))
    trainer.train()
    saved = sorted(place.name for place in (tmp_path / "out").glob("checkpoint-*"))
    assert saved == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    last = last_checkpoint(tmp_path / "out")
    assert last is not None and last.name == saved[-1]
    state = last / "trainer_state.json"
    for left in (state.read_bytes()[:100], b"", None):  # killed while it was written
        state.unlink() if left is None else state.write_bytes(left)
        again = last_checkpoint(tmp_path / "out")
        assert again is not None and again.name == saved[-2]
        with pytest.raises(InputError, match=r"checkpoint-6 has no complete trainer_state\.json"):
            train(recipe(max_steps=6, resume_from_checkpoint=str(last)))
    # "true" takes the last complete one, which is known by an entry of its log.
    state = last.with_name(saved[-2]) / "trainer_state.json"
    earlier = json.loads(state.read_bytes())
    earlier["log_history"].append({"loss": 123.0, "step": 4})
    state.write_text(json.dumps(earlier))
    train(recipe(max_steps=6, resume_from_checkpoint=True))
    log = json.loads((tmp_path / "out" / "training.json").read_bytes())
    assert [entry["step"] for entry in log if entry.get("loss") == 123.0] == [4]
