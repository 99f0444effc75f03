"""Batches of pairs: both prompts of a check about one image, and the losses on such a batch.

The answer loss is that of supervised fine-tuning, the cross-entropy of the right answer to each question. The
pair loss is on what a check asks: that the margin of the true prompt is above that of the false one,
``log(1 + exp(margin(false) − margin(true)))``.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from croc.errors import InputError

if TYPE_CHECKING:
    import torch

ANSWER, PAIRS, BOTH = "answer", "pairs", "both"
OBJECTIVES = (ANSWER, PAIRS, BOTH)
"""What a training minimises: the answer loss, the pair loss, or their sum."""

IMAGE_KEYS = ("check_id", "image_side", "image_index")
"""Columns that tell which questions are about the same image."""

FALSE = "false_"
"""Prefix of the columns of the false prompt's question."""


def pair_questions(rows: Any, folder: Any) -> Any:
    """Put the two questions about each image into one row.

    Args:
        rows: ``datasets.Dataset`` with the columns of :data:`IMAGE_KEYS`, ``label``, ``pair_id``, ``prompt``
            and ``completion``.
        folder: where they are from, for the message.

    Returns:
        One row for each image, in the order of the questions with the answer Yes; the columns with the prefix
        :data:`FALSE` are those of the question with the answer No.

    Raises:
        InputError: an image has not exactly one question with each answer.
    """
    places: dict[tuple[Any, ...], dict[bool, list[int]]] = defaultdict(lambda: {True: [], False: []})
    keys = zip(*(rows[name] for name in IMAGE_KEYS), strict=True)
    for row, (key, label) in enumerate(zip(keys, rows["label"], strict=True)):
        places[key][label].append(row)
    for key, of_label in places.items():
        if [len(found) for found in of_label.values()] != [1, 1]:
            raise InputError(
                f"{folder}: training on pairs needs one question with the answer Yes and one with the answer "
                f"No about each image; image {key[2]} of the side {key[1]} of the check {key[0]} has "
                f"{len(of_label[True])} and {len(of_label[False])}"
            )
    ordered = sorted(places.values(), key=lambda of_label: of_label[True][0])
    true, false = (rows.select([of_label[label][0] for of_label in ordered]) for label in (True, False))
    for name in ("pair_id", "prompt", "completion"):
        true = true.add_column(f"{FALSE}{name}", list(false[name]))
    return true.remove_columns([*IMAGE_KEYS, "label"])


def answer_logits(model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits where the answers are, in fp32.

    Args:
        model: the model that is trained.
        inputs: a batch with ``labels``, one of which is not −100 in each row.

    Returns:
        Logits (questions, vocabulary), and the ids of the right answers (questions,).
    """
    import torch

    labels = inputs["labels"]
    at = (labels != -100).int().argmax(dim=1)
    rows = torch.arange(len(labels), device=labels.device)
    given = {name: value for name, value in inputs.items() if name != "labels"}
    # The places of all rows: of a large vocabulary, the logits of whole sequences would not fit in memory.
    places, column = torch.unique(at - 1, return_inverse=True)
    logits = model(**given, use_cache=False, logits_to_keep=places).logits
    if logits.shape[1] != len(places):  # a model that takes no places
        column = at - 1
    return logits[rows, column].float(), labels[rows, at]


def losses_of(
    logits: torch.Tensor, answers: torch.Tensor, answer_ids: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Answer loss and pair loss of a batch in which true and false prompts alternate.

    Args:
        logits: (questions, vocabulary).
        answers: ids of the right answers (questions,).
        answer_ids: ids of Yes and No.

    Returns:
        The mean over the questions and the mean over the pairs.
    """
    from torch.nn import functional as F

    margins = logits[:, answer_ids[0]] - logits[:, answer_ids[1]]
    return F.cross_entropy(logits, answers), F.softplus(margins[1::2] - margins[0::2]).mean()
