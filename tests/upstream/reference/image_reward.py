"""ImageReward by its own package; the tokenizer is a stand-in for BERT's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import upstream_inputs as inputs
from PIL import Image
from transformers import BertTokenizer

from reference.imports import without_init
from reference.lavis import MED, write_vocabulary
from reference.record import save

# The package's head is made for states of 768 numbers; a head of its vision transformer has 64.
WIDTH, VISION = 768, 128


def record(out: Path) -> None:
    """Write the folder ``image-reward``, with the files of the repository on the Hub."""
    folder = out / "image-reward"
    words = write_vocabulary(folder / "tokenizer")
    without_init("ImageReward", "ImageReward.models")
    import ImageReward.models.BLIP.blip as blip
    import ImageReward.models.BLIP.blip_pretrain as pretrain

    def tokenizer() -> BertTokenizer:
        made = BertTokenizer(str(folder / "tokenizer" / "vocab.txt"))
        made.add_special_tokens({"bos_token": "[DEC]"})
        made.add_special_tokens({"additional_special_tokens": ["[ENC]"]})
        made.enc_token_id = made.convert_tokens_to_ids("[ENC]")
        return made

    def vision(*_):
        made = blip.VisionTransformer(img_size=224, patch_size=16, embed_dim=VISION, depth=2, num_heads=2)
        return made, VISION

    pretrain.init_tokenizer, pretrain.create_vit = tokenizer, vision
    sizes = dict(hidden_size=WIDTH, num_attention_heads=12, vocab_size=words + 2, encoder_width=VISION)
    config = folder / "med_config.json"
    config.write_text(json.dumps({**MED, **sizes}), "utf-8")
    from ImageReward.ImageReward import ImageReward

    model = inputs.randomise(ImageReward(str(config)), seed=17)
    torch.save(model.state_dict(), folder / "ImageReward.pt")
    # A crop that begins at half a pixel: 224 of 299.
    odd = inputs.images()[0].resize((299, 224), Image.Resampling.BICUBIC)
    pictures = inputs.images()
    with torch.no_grad():
        scores = [[model.score(prompt, image) for prompt in inputs.PROMPTS] for image in pictures]
        pixels = [model.preprocess(image).numpy() for image in [*pictures, odd]]
    save(folder, None, {"score": np.array(scores), "pixels": np.stack(pixels)})
