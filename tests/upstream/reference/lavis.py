"""BLIP-ITM, BLIP2-ITM and BLIP-VQA by LAVIS; the tokenizer is a stand-in for BERT's."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import upstream_inputs as inputs
from transformers import BertTokenizer

from reference.imports import unused, without_init
from reference.record import save

BLIP_SIDE, BLIP2_SIDE, VQA_SIDE = 384, 224, 480
MED = dict(
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=96,
    max_position_embeddings=64,
    type_vocab_size=2,
    hidden_act="gelu",
    layer_norm_eps=1e-12,
    pad_token_id=0,
    add_type_embeddings=False,
    add_cross_attention=True,
    encoder_width=48,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
# What the noun phrases of a prompt may look like; the published chunker needs a model that PyPI lacks.
PHRASES = ("a red ball", "Two dogs (brown)", 'The "BLACK" Cat', "3 trees: tall ones")


def record(out: Path) -> None:
    """Write the folders ``bert_tokenizer``, ``blip-itm``, ``blip2-itm`` and ``blip-vqa``."""
    words = write_vocabulary(out / "bert_tokenizer")
    _import_lavis(out / "bert_tokenizer")
    _blip_itm(out / "blip-itm", words + 2)
    _blip2_itm(out / "blip2-itm", words + 1)
    _blip_vqa(out / "blip-vqa", words + 2)


def write_vocabulary(folder: Path) -> int:
    """A WordPiece vocabulary of BERT's form: letters, digits, punctuation and a few words."""
    characters = string.ascii_lowercase + string.digits
    words = ["yes", "no", "red", "ball", "cat", "dogs", "table"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *characters]
    tokens += [f"##{character}" for character in characters]
    tokens += list(string.punctuation)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens), "utf-8")
    return len(tokens)


def _import_lavis(vocabulary: Path) -> None:
    """Import LAVIS's modules, with its tokenizers built from the vocabulary instead of a download."""
    packages = ("lavis", "lavis.models", "lavis.models.blip_models", "lavis.models.blip2_models")
    without_init(*packages, "lavis.processors")
    unused("decord", "cv2")
    import lavis.models
    import lavis.processors
    from lavis.models.base_model import BaseModel
    from lavis.processors.base_processor import BaseProcessor

    lavis.models.BaseModel = BaseModel
    lavis.processors.BaseProcessor = BaseProcessor
    from lavis.models.blip2_models.blip2 import Blip2Base
    from lavis.models.blip_models.blip import BlipBase

    def tokenizer(blip2: bool) -> BertTokenizer:
        made = BertTokenizer(str(vocabulary / "vocab.txt"))
        made.add_special_tokens({"bos_token": "[DEC]"})
        if not blip2:
            made.add_special_tokens({"additional_special_tokens": ["[ENC]"]})
            made.enc_token_id = made.convert_tokens_to_ids("[ENC]")
        return made

    Blip2Base.init_tokenizer = classmethod(lambda cls: tokenizer(True))
    BlipBase.init_tokenizer = classmethod(lambda cls: tokenizer(False))


def _probabilities(model, side: int, caption: Callable[[str], str]) -> np.ndarray:
    """P(match) of every image with every prompt."""
    from lavis.processors.blip_processors import BlipImageEvalProcessor

    prepare = BlipImageEvalProcessor(side)
    rows = []
    with torch.no_grad():
        for image in inputs.images():
            pixels = prepare(image)[None]
            samples = [{"image": pixels, "text_input": [caption(prompt)]} for prompt in inputs.PROMPTS]
            logits = torch.cat([model(sample, match_head="itm") for sample in samples])
            rows.append(logits.double().softmax(dim=-1)[:, 1])
    return torch.stack(rows).numpy()


def _pixels(side: int) -> torch.Tensor:
    from lavis.processors.blip_processors import BlipImageEvalProcessor

    prepare = BlipImageEvalProcessor(side)
    return torch.stack([prepare(image) for image in inputs.images()])


def _matching(folder: Path, model, side: int) -> None:
    from lavis.processors.blip_processors import BlipCaptionProcessor

    caption = BlipCaptionProcessor()
    arrays = {
        "raw": _probabilities(model, side, lambda prompt: prompt),
        "caption": _probabilities(model, side, caption),
        "pixels": _pixels(side),
        "captions": np.array([caption(prompt) for prompt in inputs.PROMPTS]),
    }
    save(folder, model, arrays)


def _vision(side: int):
    from lavis.models.vit import VisionTransformerEncoder

    made = VisionTransformerEncoder(img_size=side, patch_size=16, embed_dim=48, depth=2, num_heads=4)
    made.vision_width = 48
    return made


def _med_config(folder: Path, vocabulary: int):
    from lavis.models.med import BertConfig

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "med_config.json"
    file.write_text(json.dumps({**MED, "vocab_size": vocabulary}), "utf-8")
    return BertConfig.from_json_file(file)


def _blip_itm(folder: Path, vocabulary: int) -> None:
    from lavis.models.blip_models.blip_image_text_matching import BlipITM
    from lavis.models.med import XBertEncoder

    text = XBertEncoder(config=_med_config(folder, vocabulary), add_pooling_layer=False)
    _matching(folder, inputs.randomise(BlipITM(_vision(BLIP_SIDE), text), seed=3), BLIP_SIDE)


def _blip2_itm(folder: Path, vocabulary: int) -> None:
    from lavis.models.blip2_models import blip2
    from lavis.models.blip2_models.blip2_image_text_matching import Blip2ITM
    from lavis.models.eva_vit import VisionTransformer

    def vision_encoder(cls, *_):
        made = VisionTransformer(
            img_size=BLIP2_SIDE,
            patch_size=14,
            use_mean_pooling=False,
            embed_dim=48,
            depth=2,
            num_heads=4,
            mlp_ratio=2,
            qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        )
        return made, blip2.LayerNorm(made.num_features)

    def qformer(cls, queries, width, cross_attention_freq=2):
        settings = {key: value for key, value in MED.items() if key != "add_type_embeddings"}
        config = blip2.BertConfig(**{**settings, "vocab_size": vocabulary, "encoder_width": width})
        config.cross_attention_freq, config.query_length = cross_attention_freq, queries
        return blip2.BertLMHeadModel(config), torch.nn.Parameter(torch.zeros(1, queries, 48))

    blip2.Blip2Base.init_vision_encoder = classmethod(vision_encoder)
    blip2.Blip2Base.init_Qformer = classmethod(qformer)
    _matching(folder, inputs.randomise(Blip2ITM(num_query_token=8), seed=4), BLIP2_SIDE)


def _blip_vqa(folder: Path, vocabulary: int) -> None:
    """P(yes) / (P(yes) + P(no)) of LAVIS's BLIP-VQA, as in T2I-CompBench's code (commit 1b70949)."""
    from lavis.models.blip_models.blip_vqa import BlipVQA
    from lavis.models.med import XBertEncoder, XBertLMHeadDecoder
    from lavis.models.vit import interpolate_pos_embed
    from lavis.processors.blip_processors import BlipQuestionProcessor

    config = _med_config(folder, vocabulary)

    def build(side: int) -> BlipVQA:
        text = XBertEncoder(config=config, add_pooling_layer=False)
        return BlipVQA(_vision(side), text, XBertLMHeadDecoder(config=config))

    # The published weights are of 384 pixels; they are read into a model of 480.
    published = inputs.randomise(build(BLIP_SIDE), seed=9)
    model = build(VQA_SIDE)
    state = dict(published.state_dict())
    name = "visual_encoder.pos_embed"
    state[name] = interpolate_pos_embed(state[name], model.visual_encoder)
    model.load_state_dict(state)
    model.eval()
    question = BlipQuestionProcessor()
    pixels = _pixels(VQA_SIDE)
    yes, no = model.tokenizer.convert_tokens_to_ids(["yes", "no"])
    rows = []
    with torch.no_grad():
        for image in pixels:
            answers = []
            for phrase in PHRASES:
                samples = {"image": image[None], "text_input": [question(f"{phrase}?")]}
                states, _ = model.forward_encoder(samples)
                start = torch.tensor([[model.tokenizer.bos_token_id]])
                logits = model.text_decoder(
                    start,
                    encoder_hidden_states=states.last_hidden_state,
                    encoder_attention_mask=samples["tokenized_text"].attention_mask,
                    return_dict=True,
                    reduction="none",
                ).logits[0, 0]
                shares = logits.double().softmax(dim=-1)
                answers.append((shares[yes] / (shares[yes] + shares[no])).item())
            rows.append(answers)
    arrays = {
        "answer": np.array(rows),
        "pixels": pixels,
        "phrases": np.array(PHRASES),
        "questions": np.array([question(f"{phrase}?") for phrase in PHRASES]),
    }
    save(folder, published, arrays)
