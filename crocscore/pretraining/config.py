"""How a stage of the pretraining is trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PretrainingConfig:
    """The settings of one stage; each is an option of the command.

    Attributes:
        steps: number of updates.
        images_per_step: images in a batch.
        close_up_steps: how many of the steps of the stage ``tower`` come first and see close-ups of single
            things, two for each image.
        close_ups_per_step: close-ups in a batch beside its images, in the other stages.
        claims_per_image: pairs of a true and a false prompt for each image.
        learning_rate: the highest learning rate.
        warmup_steps: steps over which it rises.
        decay_share: share of all steps, at the end, over which it falls linearly to 0.
        weight_decay: weight decay of matrices.
        annotation_weight: weight of the loss on patches and things, in the stages with text.
        caption_weight: weight of the loss on the words of true prompts.
        grounding_weight: weight of the loss on the things that the words of prompts name; 0 leaves it out.
        tower_rate_share: share of the learning rate for a pretrained tower; 0 freezes it.
        seed: of the weights and of the order.
        evaluate_every: steps between two evaluations, each with a checkpoint.
        leave_out: names, separated by commas, in which no pair of prompts differs and which no thing is
            labelled with; they are evaluated all the same. Pairs that may differ in one of them among other
            things ("only", "three_things") are left out, too.
        downweight: names, separated by commas; pairs that differ in them are drawn a quarter as often,
            because easy pairs would otherwise prevail.
    """

    steps: int = 2000
    images_per_step: int = 32
    close_up_steps: int = 0
    close_ups_per_step: int = 0
    claims_per_image: int = 5
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    decay_share: float = 0.6
    weight_decay: float = 0.05
    annotation_weight: float = 0.3
    caption_weight: float = 0.5
    grounding_weight: float = 0.0
    tower_rate_share: float = 0.3
    seed: int = 0
    evaluate_every: int = 250
    leave_out: str = ""
    downweight: str = ""

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        remaining = (self.steps - step) / max(1.0, self.decay_share * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps, max(remaining, 0.0))
