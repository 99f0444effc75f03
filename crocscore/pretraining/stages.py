"""The three stages of the pretraining: their models and losses."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.storage.files import read_json
from crocscore.pretraining import architectures
from crocscore.pretraining.batches import BatchSampler
from crocscore.pretraining.config import PretrainingConfig
from crocscore.pretraining.grounding import NameFinder
from crocscore.pretraining.heads import GroundingHeads, SceneHeads
from crocscore.pretraining.scene_arrays import IGNORE, SceneArrays

if TYPE_CHECKING:
    import torch

TOWER, VLM, DUAL = "tower", "vlm", "dual-encoder"
STAGES = (TOWER, VLM, DUAL)


def pair_loss(margins: torch.Tensor) -> torch.Tensor:
    """Loss of margins that alternate true, false: each answer by itself, and that the true one is higher."""
    from torch.nn import functional as F

    true, false = margins[0::2], margins[1::2]
    single = (F.softplus(-true).mean() + F.softplus(false).mean()) / 2
    loss: torch.Tensor = single + 0.5 * F.softplus(false - true).mean()
    return loss


@dataclass
class TextOutput:
    """What a model makes of the claims of a batch.

    Attributes:
        margins: (prompts,): true and false prompts alternate.
        answer_logits: (prompts, vocabulary), of a vision-language model.
        losses: further losses by name, of a vision-language model in training.
    """

    margins: torch.Tensor
    answer_logits: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] = field(default_factory=dict)


class Stage:
    """One stage: its model, the heads on it, and its loss.

    Args:
        name: ``tower``, ``vlm`` or ``dual-encoder``.
        scenes: what it is trained on.
        tokenizer: the tokenizer.
        start: folder of a trained tower, or of a model to continue with; None starts with random weights.
        config: how it is trained.

    Raises:
        InputError: the start holds neither a tower nor a model.
    """

    def __init__(
        self,
        name: str,
        scenes: SceneArrays,
        tokenizer: Any,
        start: Path | None,
        config: PretrainingConfig,
    ) -> None:
        import torch

        torch.manual_seed(config.seed)
        self.name, self.tokenizer, self.config = name, tokenizer, config
        self.answer = tokenizer.convert_tokens_to_ids("<answer>")
        self.yes, self.no = (tokenizer.convert_tokens_to_ids(answer) for answer in architectures.ANSWERS)
        self.continued = start is not None and (start / "config.json").is_file()
        dual = name == DUAL
        if start is not None and self.continued:
            dual = dual or "dual" in _model_type(start)
        build = architectures.build_dual_encoder if dual else architectures.build_vlm
        model, self.processor = build(tokenizer)
        if start is not None and self.continued:
            _continue_with(model, start, tokenizer, scenes.vocabulary.names)
        self.model = model
        self.tower = model.vision_model if dual else model.model.vision_model
        self.heads = SceneHeads(self.tower.config.hidden_sizes[-1], scenes)
        if start is not None:
            self._load_tower(start)
        self.bias = torch.nn.Parameter(torch.tensor(-2.0))
        if name == VLM:
            self.grounding = GroundingHeads(model.config.text_config.hidden_size, scenes)
            self.name_finder = NameFinder(tokenizer, scenes.vocabulary, self.answer)

        def first_ids(names: list[str]) -> torch.Tensor:
            texts = [f" {name.replace('_', ' ')}" for name in names]
            return torch.tensor([ids[0] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]])

        self.kind_ids = first_ids(scenes.vocabulary.kinds)
        self.colour_ids = first_ids(scenes.vocabulary.thing["colour"])
        self.colour_column = list(scenes.vocabulary.thing).index("colour")
        self.model.train()

    def _load_tower(self, start: Path) -> None:
        from safetensors.torch import load_file

        if not (start / "tower.safetensors").is_file():
            if not self.continued:
                raise InputError(f"{start} contains neither tower.safetensors nor a model")
            return  # a published model: its tower is loaded with it, the heads start with random weights
        stored = load_file(start / "tower.safetensors")
        self.tower.load_state_dict(
            {k.removeprefix("tower."): v for k, v in stored.items() if k.startswith("tower.")}
        )
        # Heads for more values than the stored ones are wider, and start with random weights.
        own = self.heads.layers.state_dict()
        heads = {k.removeprefix("heads."): v for k, v in stored.items() if k.startswith("heads.")}
        fitting = {k: v for k, v in heads.items() if k in own and own[k].shape == v.shape}
        self.heads.layers.load_state_dict(own | fitting)

    def copy_tower(self, folder: Path) -> None:
        """Copy the tower of a trained vision-language model, and nothing else of it."""
        from transformers import DeepseekVLForConditionalGeneration

        expected, kind = "deepseek_vl", _model_type(folder)
        if kind != expected:
            raise InputError(f"{folder}: expected a small vision-language model ({expected}), not a {kind}")
        trained = DeepseekVLForConditionalGeneration.from_pretrained(folder)
        self.tower.load_state_dict(trained.model.vision_model.state_dict())

    def parameters(self) -> dict[str, Any]:
        """Everything that is trained, by name."""
        if self.name == TOWER:
            parts = {"tower": self.tower, "heads": self.heads.layers}
        else:
            parts = {"model": self.model, "heads": self.heads.layers}
            if self.config.tower_rate_share == 0:
                self.tower.requires_grad_(False)
                del parts["heads"]
        trained = {
            f"{name}.{k}": v
            for name, part in parts.items()
            for k, v in part.named_parameters()
            if v.requires_grad
        }
        if self.name == VLM and self.config.grounding_weight:
            trained |= {f"grounding.{k}": v for k, v in self.grounding.layers.named_parameters()}
        return trained | ({"bias": self.bias} if self.name == DUAL else {})

    def sampler(self, scenes: SceneArrays, rows: NDArray[np.int64]) -> BatchSampler:
        """Batches of some scenes, with the question that the scorer will ask."""
        start, _, end = architectures.QUESTION.partition(" {prompt}")
        before, after = (self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (start, end))
        return BatchSampler(scenes, rows, self.config, before, [*after, self.answer])

    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        """The output of the tower: (images, 1 + patches, width)."""
        states: torch.Tensor = self.tower(pixel_values=pixels).last_hidden_state
        return states

    def read_claims(self, states: torch.Tensor, batch: dict[str, Any], sampler: BatchSampler) -> TextOutput:
        """Margins of all claims of a batch, and the losses that come with them."""
        if self.name == DUAL:
            return TextOutput(self._similarities(states, batch))
        import torch

        model = self.model.model
        image_states = model.aligner(states)
        count = image_states.shape[1]
        packed = sampler.pack(batch["claims"], self.model.config.image_token_id, count)
        embedded = model.get_input_embeddings()(packed["ids"])
        output = model.language_model(
            inputs_embeds=torch.cat([image_states, embedded[:, count:]], dim=1),
            attention_mask=packed["mask"],
            position_ids=packed["positions"],
            use_cache=False,
            output_hidden_states=self.model.training,
        )
        text_states, places = output.last_hidden_state, packed["answer_places"]
        logits = self.model.lm_head(text_states[places[:, 0], places[:, 1]])
        losses = {}
        if self.model.training:
            losses["caption"] = self._caption_loss(text_states, packed["next_ids"])
            losses["patch_words"] = self._patch_word_loss(image_states[:, 1:], batch)
            if self.config.grounding_weight:
                # Before the last layer, which then compares things with each other and with the prompt.
                losses["grounding"] = self._grounding_loss(output.hidden_states[-2], packed["ids"], batch)
        return TextOutput(logits[:, self.yes] - logits[:, self.no], logits, losses)

    def _caption_loss(self, states: torch.Tensor, next_ids: torch.Tensor) -> torch.Tensor:
        """Loss of describing the image: each word of the true prompts, from the words before it."""
        from torch.nn import functional as F

        known = next_ids != IGNORE
        return F.cross_entropy(self.model.lm_head(states[known]), next_ids[known])

    def _patch_word_loss(self, patches: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        """Loss of naming patches: the language model's words for a patch of a red dog are "red" and "dog"."""
        from torch.nn import functional as F

        things = batch["thing_of_patch"]
        covered = things >= 0
        states = F.rms_norm(patches[covered], patches.shape[-1:])
        logits = self.model.lm_head(states)
        loss = F.cross_entropy(logits, self.kind_ids[batch["kind"][things[covered]]])
        colours = batch["labels"][things[covered], self.colour_column]
        if (colours == IGNORE).all():  # colours are left out of the training
            return 0.25 * loss
        return 0.25 * (loss + F.cross_entropy(logits, self.colour_ids[colours]))

    def _grounding_loss(self, states: torch.Tensor, ids: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        """Loss of what names mean: at "dog" in a prompt, where the dog is and which properties it has."""
        targets = self.name_finder.targets(ids, batch)
        if not len(targets["image"]):
            return states.sum() * 0
        named = states[targets["image"], targets["place"]]
        return self.grounding.loss(named, targets["box"], targets["labels"])

    def _similarities(self, states: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        """Scaled cosines of images and prompts, shifted by the bias."""
        import torch
        from torch.nn import functional as F

        end, pad = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        texts = [[*ids, end] for pairs in batch["claims"] for pair in pairs for ids in pair]
        width = max(map(len, texts))
        ids = torch.tensor([[*text, *[pad] * (width - len(text))] for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
        text = self.model.text_model(input_ids=ids, attention_mask=mask).pooler_output
        text = F.normalize(self.model.text_projection(text), dim=-1)
        image = F.normalize(self.model.visual_projection(states[:, 0]), dim=-1)
        owner = torch.tensor([i for i, pairs in enumerate(batch["claims"]) for _ in range(2 * len(pairs))])
        margins: torch.Tensor = self.model.logit_scale.exp() * (image[owner] * text).sum(-1) + self.bias
        return margins

    def loss(self, batch: dict[str, Any], sampler: BatchSampler) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss of a batch, and its parts by name."""
        import torch

        config = self.config
        if "close_up_pixels" in batch:
            loss = self.heads.close_up_loss(self.encode_images(batch["close_up_pixels"]), batch)
            return loss, {"close_ups": float(loss.detach())}
        with torch.set_grad_enabled(config.tower_rate_share > 0 or self.name == TOWER):
            states = self.encode_images(batch["pixels"])
            annotation = self.heads.loss(states, batch)
        parts = {"annotation": float(annotation.detach())}
        if self.name == TOWER:
            return annotation, parts
        output = self.read_claims(states, batch, sampler)
        pairs = pair_loss(output.margins)
        total = pairs + config.annotation_weight * annotation
        if "close_ups" in batch:
            close_ups = batch["close_ups"]
            loss = self.heads.close_up_loss(self.encode_images(close_ups["close_up_pixels"]), close_ups)
            total = total + config.annotation_weight * loss
            parts["close_ups"] = float(loss.detach())
        if output.answer_logits is not None:
            # All other tokens are wrong; without this, the logits of both answers could drift together.
            every, answers = output.answer_logits, output.answer_logits[:, [self.yes, self.no]]
            total = total + 0.1 * (every.logsumexp(-1) - answers.logsumexp(-1)).mean()
            total = total + config.caption_weight * (output.losses["caption"] + output.losses["patch_words"])
            if "grounding" in output.losses:
                total = total + config.grounding_weight * output.losses["grounding"]
            parts |= {name: float(loss.detach()) for name, loss in output.losses.items()}
        parts["pairs"] = float(pairs.detach())
        parts["pair_accuracy"] = float((output.margins[0::2] > output.margins[1::2]).float().mean())
        return total, parts

    def save(self, out: Path) -> None:
        """Write the model as the scorers load it, and the tower with its heads."""
        import torch
        from safetensors.torch import save_file

        out.mkdir(parents=True, exist_ok=True)
        stored = {f"tower.{k}": v.contiguous() for k, v in self.tower.state_dict().items()}
        stored |= {f"heads.{k}": v.contiguous() for k, v in self.heads.layers.state_dict().items()}
        save_file({k: v for k, v in stored.items() if v.dtype.is_floating_point}, out / "tower.safetensors")
        if self.name != TOWER or self.continued:
            # Half the size; the scorers and the fine-tuning read it as fp32.
            copy.deepcopy(self.model).to(torch.float16).save_pretrained(out)
            self.processor.save_pretrained(out)

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW with weight decay on matrices alone, and a smaller rate for the tower and its heads."""
        import torch

        groups: dict[tuple[float, float], list[Any]] = defaultdict(list)
        for name, value in self.parameters().items():
            of_tower = "vision" in name or name.startswith("heads.")
            share = self.config.tower_rate_share if of_tower and self.name != TOWER else 1.0
            groups[share, self.config.weight_decay if value.ndim >= 2 else 0.0].append(value)
        return torch.optim.AdamW(
            [
                {"params": values, "weight_decay": decay, "rate_share": share}
                for (share, decay), values in groups.items()
            ],
            lr=self.config.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )


def _continue_with(model: Any, start: Path, tokenizer: Any, spellings: Mapping[str, Sequence[str]]) -> None:
    """Copy the weights of a trained model; its embeddings get rows for the words that its tokenizer lacks."""
    import torch
    from transformers import PreTrainedTokenizerFast

    stored = type(model).from_pretrained(start, dtype=torch.float32).state_dict()
    own = PreTrainedTokenizerFast.from_pretrained(start)
    vocabulary, extended = own.get_vocab(), tokenizer.get_vocab()
    if any(extended.get(token) != number for token, number in vocabulary.items()):
        raise InputError(
            f"{start} has another vocabulary than the scenes were read with: remove their arrays"
        )
    for name, value in model.state_dict().items():
        before = stored[name]
        if before.shape != value.shape and len(before) == len(own) and len(value) == len(tokenizer):
            stored[name] = architectures.initial_rows(before, own, tokenizer, spellings)
    model.load_state_dict(stored)


class _Config(TypedDict):
    model_type: str


def _model_type(folder: Path) -> str:
    return read_json(folder / "config.json", "no config.json in it", _Config)["model_type"]
