"""CLIP-FlanT5, VQAScore's own model: a FlanT5 that reads the patches of a CLIP as words.

Lin et al. 2024, section 3 and appendix: P("Yes" | image, question) as exp of the mean log-probability of the
tokens of the answer and the end of text. transformers has no class for it: it is FlanT5 with a projector and
CLIP's vision transformer in front. An image is padded to a square in the mean colour; the text is

    SYSTEM USER: <image>
    Does this figure show "…"? Please answer yes or no. ASSISTANT:

with a space at its end. What stands before and after the image is tokenized separately, so that an end token
stands before the image, too. The image part is computed once for all prompts; FlanT5's encoder reads image
and prompt together.

Against t2v_metrics 3.0 with the same random weights, scores agree to 4e-6 of their spread. Differences on
purpose: probabilities are summed in float64; control tokens in a prompt are text; a long prompt is cut at its
end. It was never run on the published weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from PIL.Image import Image

from croc.errors import InputError
from croc.scorers.itm import padded
from croc.scorers.loading import Checkpoint
from croc.scorers.prompt_tokens import PromptTokenizer
from croc.scorers.shared_images import SharedImageScorer
from croc.scorers.text_checkpoints import TextCheckpoint
from croc.scorers.vqa import QUESTION

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_PROJECTOR = re.compile(r"mlp(\d+)x_gelu")
_TOWER = "vision_tower."
_OF_IMAGES = ("image_processor", "processor_options")


class ClipFlanT5(SharedImageScorer):
    """exp(mean log P) of an answer and the end of text by CLIP-FlanT5.

    Args:
        model: Hub id or folder of the checkpoint: FlanT5 and the projector.
        tower: Hub id or folder of CLIP, whose vision transformer the checkpoint was trained with. Its weights
            are used if the checkpoint has none of its own, as in the authors' package.
        tower_revision: commit of ``tower``.
        tokenizer: Hub id or folder of FlanT5's tokenizer, which the package takes from FlanT5.
        tokenizer_revision: commit of ``tokenizer``.
        question: it contains ``{prompt}`` once.
        answer: the affirmative answer.
        system: the line before the question; None has none.
        max_prompt_tokens: longer prompts are cut to so many tokens; see ``truncated``.
        batch_size: largest number of pairs in one forward pass.
        framing: see :class:`~croc.scorers.loading.Checkpoint`, as are the other arguments.
    """

    def __init__(
        self,
        model: str,
        *,
        tower: str,
        tokenizer: str,
        tower_revision: str | None = None,
        tokenizer_revision: str | None = None,
        name: str | None = None,
        question: str = QUESTION,
        answer: str = "Yes",
        system: str | None = SYSTEM,
        max_prompt_tokens: int = 1024,
        batch_size: int = 8,
        framing: str | None = "square",
        **checkpoint: Any,
    ) -> None:
        if question.count("{prompt}") != 1:
            raise InputError(f"the question {question!r} must contain {{prompt}} once")
        placed = {key: checkpoint[key] for key in ("device", "dtype") if key in checkpoint}
        if placed.get("device") == "auto":
            del placed["device"]  # it is small enough for one
        of_images = {key: checkpoint.pop(key) for key in _OF_IMAGES if key in checkpoint}
        self.tower = Checkpoint(
            tower,
            auto="CLIPVisionModel",
            revision=tower_revision,
            framing=framing,
            torch_weights=True,
            # The repository has a whole CLIP.
            ignored_weights=(r"^text_model\.", r"^logit_scale$", r"_projection\."),
            **placed,
            **of_images,
        )
        self.checkpoint = ClipT5Checkpoint(
            model,
            tower=self.tower,
            processor=tokenizer,
            processor_revision=tokenizer_revision,
            **checkpoint,
        )
        self.name = name or self.checkpoint.name
        self.question = question
        self.answer = answer
        self.system = system
        self.window = max_prompt_tokens
        self.batch_size = batch_size

    def truncated(self, prompts: Sequence[str]) -> np.ndarray:
        """Which prompts are longer than ``max_prompt_tokens``: bool (n,)."""
        return np.array([self._tokenizer.truncate(prompt, self.window)[1] for prompt in prompts], dtype=bool)

    def fields(self) -> dict[str, str]:
        """Settings for the signature: checkpoint, its parts, formula, question, answer and system line."""
        tower = self.tower.fields()
        return {
            **{name: value for name, value in tower.items() if name != "ignored_weights"},
            **self.checkpoint.fields(),
            "tower": tower["model"],
            "tower_revision": tower["revision"],
            "formula": f"exp(mean log P({self.answer}, end))",
            "template": self.question,
            "window": str(self.window),
            **({"system": self.system} if self.system is not None else {}),
        }

    @cached_property
    def _tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer(self.checkpoint.processor.tokenizer)

    @cached_property
    def _head(self) -> list[int]:
        """The ids before the image; they end with the end token."""
        text = "USER: " if self.system is None else f"{self.system} USER: "
        return list(self._tokenizer.tokenizer(text).input_ids)

    @cached_property
    def _answer_ids(self) -> list[int]:
        """The ids of the answer, the end token included."""
        return list(self._tokenizer.tokenizer(self.answer).input_ids)

    def _tail(self, prompt: str) -> list[int]:
        """The ids after the image."""
        prompt, _ = self._tokenizer.truncate(prompt, self.window)
        question = self.question.replace("{prompt}", prompt)
        return [*self._tokenizer.ids(f"\n{question} ASSISTANT: "), *self._tokenizer.special_tokens[1]]

    def _encode(self, images: Sequence[Image]) -> Any:
        model = self.checkpoint.model
        layer = getattr(model.config, "mm_vision_select_layer", -2)
        seen = model.vision_tower.vision_tower(**self.tower.pixels(images), output_hidden_states=True)
        patches = seen.hidden_states[layer]
        if getattr(model.config, "mm_vision_select_feature", "patch") == "patch":
            patches = patches[:, 1:]  # without CLIP's class token
        return model.mm_projector(patches)

    def _score_encoded(self, encoded: Any, prompts: Sequence[str]) -> np.ndarray:
        """The scores of image parts (n, patches, width) with n prompts."""
        import torch

        model, device, tokenizer = self.checkpoint.model, encoded.device, self._tokenizer.tokenizer
        embed = model.get_input_embeddings()
        ids, mask = padded([self._tail(prompt) for prompt in prompts], tokenizer.pad_token_id)
        head = embed(torch.tensor([self._head], device=device)).expand(len(prompts), -1, -1)
        states = torch.cat([head, encoded.to(head.dtype), embed(ids.to(device))], dim=1)
        before = torch.ones((len(prompts), states.shape[1] - mask.shape[1]), dtype=mask.dtype)
        read = [model.config.decoder_start_token_id, *self._answer_ids[:-1]]
        logits = model(
            inputs_embeds=states,
            attention_mask=torch.cat([before, mask], dim=1).to(device),
            decoder_input_ids=torch.tensor([read] * len(prompts), device=device),
        ).logits
        # FlanT5's embedding has more rows than its vocabulary has tokens; the authors' package cuts them off.
        shares = logits[..., : len(tokenizer)].double().log_softmax(dim=-1)
        wanted = torch.tensor(self._answer_ids, device=shares.device).expand(len(prompts), -1)
        return np.asarray(shares.gather(2, wanted[..., None]).mean(dim=(1, 2)).exp().cpu().numpy())


class ClipT5Checkpoint(TextCheckpoint):
    """FlanT5, the projector, and CLIP's vision transformer from the same files or from ``tower``."""

    def __init__(self, model: str, *, tower: Checkpoint, **options: Any) -> None:
        # The published files are those of torch. Older versions saved the embedding under two names.
        defaults = {"auto": "T5ForConditionalGeneration", "torch_weights": True}
        super().__init__(model, **{**defaults, **options}, ignored_weights=(r"^embed_tokens\.weight$",))
        self._tower = tower

    def _loader(self) -> Any:
        return _model_class(self._tower.config("CLIPVisionConfig"))

    def _completed(self, model: Any, missing: Iterable[str]) -> Iterable[str]:
        """The names that are still missing after the vision transformer is taken from its own repository."""
        names = {name for name in missing if name.startswith(_TOWER)}
        if names and names == {name for name in model.state_dict() if name.startswith(_TOWER)}:
            model.vision_tower.vision_tower = self._tower.model
            return set(missing) - names
        return missing


def _model_class(tower: Any) -> Any:
    """FlanT5 with the projector and a vision transformer, under the names of the published weights."""
    import torch
    from transformers import CLIPVisionModel, T5Config, T5ForConditionalGeneration

    class ClipT5Config(T5Config):  # type: ignore[misc]
        model_type = "clip_t5"

    class ClipT5(T5ForConditionalGeneration):  # type: ignore[misc]
        config_class = ClipT5Config
        # transformers 5 ties T5's output to its input, which FlanT5 does not.
        _tied_weights_keys: ClassVar = {
            name: source
            for name, source in T5ForConditionalGeneration._tied_weights_keys.items()
            if name != "lm_head.weight"
        }

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            kind = str(getattr(config, "mm_projector_type", "linear"))
            match = _PROJECTOR.fullmatch(kind)
            if match is None and kind != "linear":
                raise InputError(f"the projector {kind!r} is unknown: linear or mlpNx_gelu")
            layers: list[Any] = [torch.nn.Linear(config.mm_hidden_size, config.d_model)]
            for _ in range(1, int(match[1]) if match else 1):
                layers += [torch.nn.GELU(), torch.nn.Linear(config.d_model, config.d_model)]
            self.mm_projector = torch.nn.Sequential(*layers) if match else layers[0]
            self.vision_tower = torch.nn.Module()
            self.vision_tower.vision_tower = CLIPVisionModel(tower)
            self.post_init()

    return ClipT5
