"""VQAScore by t2v_metrics: Qwen2.5-VL with its tokenizer; InstructBLIP and LLaVA 1.5 with stand-ins."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
import upstream_inputs as inputs
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPVisionConfig, CLIPVisionModel

from reference import vocabularies
from reference.imports import unused, without_init
from reference.record import save

VQA = "t2v_metrics.models.vqascore_models"
# The questions of t2v_metrics 3.1 where the wheel has those of 3.0.
QWEN_QUESTION = 'Does this figure show "{}"? Please answer Yes or No.'
QWEN_TEMPLATE = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in c %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def record(out: Path) -> None:
    """Write the folders ``qwen2.5-vl``, ``instructblip-t5``, ``llava-1.5`` and ``clip-flant5``."""
    lavis = f"{VQA}.lavis"
    without_init("t2v_metrics", "t2v_metrics.models", VQA, lavis, f"{lavis}.models", f"{lavis}.processors")
    without_init(f"{lavis}.models.blip2_models")
    unused("cv2", "decord")
    # It loads published weights; the parts are built here.
    sys.modules[f"{lavis}.models"].load_model = None
    _qwen(out / "qwen2.5-vl")
    _instructblip(out / "instructblip-t5", out / "bert_tokenizer")
    _llava(out / "llava-1.5")
    _clip_flant5(out / "clip-flant5")


def _files(folder: Path) -> tuple[list[str], list[str]]:
    """The images as files: the path of the image and the prompt of every pair."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(inputs.images()):
        image.save(folder / f"{number}.png")
    paths = [str(folder / f"{number}.png") for number in range(len(inputs.SIZES))]
    return [path for path in paths for _ in inputs.PROMPTS], list(inputs.PROMPTS) * len(paths)


def _qwen(folder: Path) -> None:
    from t2v_metrics.models.vqascore_models.qwen2vl_model import Qwen2VLModel
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
    )

    tokenizer = vocabularies.qwen()
    ids = dict(zip(vocabularies.QWEN_CONTROL, range(151643, 151657), strict=True))
    config = Qwen2_5_VLConfig(
        vocab_size=151936,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        rope_scaling={"type": "mrope", "mrope_section": [2, 3, 3]},
        vision_config=dict(
            depth=2,
            hidden_size=32,
            intermediate_size=64,
            num_heads=2,
            out_hidden_size=32,
            patch_size=14,
            window_size=112,
            fullatt_block_indexes=[1],
        ),
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    model = inputs.randomise(Qwen2_5_VLForConditionalGeneration(config), seed=11)
    # As in the generation settings of the published model.
    model.generation_config.repetition_penalty = 1.05
    model.generation_config.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    images = Qwen2VLImageProcessor(min_pixels=3136, max_pixels=12845056)
    processor = Qwen2_5_VLProcessor(images, tokenizer, chat_template=QWEN_TEMPLATE)
    metric = SimpleNamespace(model=model, processor=processor, device="cpu", model_info={})
    metric.load_images = partial(Qwen2VLModel.load_images, metric)
    paths, prompts = _files(folder / "images")
    score = partial(Qwen2VLModel.forward, metric, paths, prompts, question_template=QWEN_QUESTION)
    # " No" is in the question, so that the penalty of what was read changes the probability.
    _favour(model.lm_head, [tokenizer.encode("Yes")[0], tokenizer.encode(" No")[0]], score)
    scores = {"in_fp32": score()}
    # torch's softmax over 151,936 numbers in float32 on a CPU is off by up to 5e-4.
    exact = partial(torch.softmax, dtype=torch.float64)
    with patch("torch.nn.functional.softmax", lambda logits, dim, dtype=None: exact(logits, dim)):
        scores["score"] = score()
        model.generation_config.repetition_penalty = 1.0
        scores["without_penalty"] = score()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    save(folder, None, {name: value.reshape(-1, len(inputs.PROMPTS)) for name, value in scores.items()})


def _favour(head: torch.nn.Linear, tokens: list[int], score) -> None:
    """Let the logits of tokens stand out of the vocabulary, so that their probability is neither 0 nor 1."""
    states = []
    hook = head.register_forward_hook(lambda _, given, __: states.append(given[0][:, -1].detach()))
    score()
    hook.remove()
    mean = torch.cat(states).mean(dim=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        head.weight.mul_(0.2)
        middle = torch.tensor(float(len(head.weight))).log()
        for token in tokens:
            noise = 0.3 * torch.randn(mean.shape, generator=generator)
            head.weight[token] = middle * mean / mean.dot(mean) + noise


def _instructblip(folder: Path, vocabulary: Path) -> None:
    """InstructBLIP with FlanT5: LAVIS's modules in t2v_metrics, put together as ``Blip2T5Instruct`` does."""
    from t2v_metrics.models.vqascore_models.instructblip_model import InstructBLIPModel
    from t2v_metrics.models.vqascore_models.lavis.models.blip2_models.Qformer import (
        BertConfig,
        BertLMHeadModel,
    )
    from t2v_metrics.models.vqascore_models.lavis.models.eva_vit import VisionTransformer
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode
    from transformers import BertTokenizer, T5Config, T5ForConditionalGeneration

    questions = BertTokenizer(str(vocabulary / "vocab.txt"), truncation_side="left")
    answers = vocabularies.t5()
    vision = VisionTransformer(
        img_size=224,
        patch_size=14,
        use_mean_pooling=False,
        embed_dim=48,
        depth=2,
        num_heads=4,
        mlp_ratio=2,
        qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )
    config = BertConfig(
        vocab_size=len(questions),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config.encoder_width, config.add_cross_attention = 48, True
    config.cross_attention_freq, config.query_length = 2, 8
    # One more row than tokens: the other side has a token for the image.
    text = T5Config(
        vocab_size=len(answers) + 1,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
    )
    # As LAVIS sets it: the configuration of a gated GELU says gelu_new.
    text.dense_act_fn = "gelu"
    language = T5ForConditionalGeneration(text)
    model = torch.nn.Module()
    model.visual_encoder, model.ln_vision = vision, torch.nn.LayerNorm(48)
    model.Qformer = BertLMHeadModel(config)
    model.Qformer.cls = None
    model.query_tokens = torch.nn.Parameter(torch.zeros(1, 8, 48))
    model.t5_model, model.t5_proj = language, torch.nn.Linear(48, 32)
    inputs.randomise(model, seed=12)
    model.tokenizer, model.t5_tokenizer, model.t5_output_tokenizer = questions, answers, answers
    model.max_txt_len, model.max_output_txt_len = 128, 256
    metric = SimpleNamespace(model=model, device="cpu")
    metric.image_loader = lambda path: inputs.images()[int(Path(path).stem)]
    metric.image_preprocess = transforms.Compose(
        [
            transforms.Resize(224, interpolation=InterpolationMode.BICUBIC),
            transforms.CenterCrop((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    metric.load_images = partial(InstructBLIPModel.load_images, metric)
    paths = [f"{number}.png" for number in range(len(inputs.SIZES))]
    with torch.no_grad():
        rows = [
            InstructBLIPModel.forward(metric, [path] * len(inputs.PROMPTS), list(inputs.PROMPTS))
            for path in paths
        ]
    answers.save_pretrained(folder / "t5_tokenizer")
    save(folder, model, {"score": torch.stack(rows), "pixels": metric.load_images(paths)})


def _llava(folder: Path) -> None:
    from t2v_metrics.constants import SYSTEM_MSG
    from t2v_metrics.models.vqascore_models.llava.model import LlavaLlamaForCausalLM
    from t2v_metrics.models.vqascore_models.llava.model.language_model.llava_llama import LlavaConfig
    from t2v_metrics.models.vqascore_models.llava_model import LLaVAModel, default_question_template

    texts = [default_question_template.format(prompt) for prompt in inputs.PROMPTS]
    tokenizer = vocabularies.llama(folder / "tokenizer", [SYSTEM_MSG, "USER: ASSISTANT: ", *texts])
    tokenizer.pad_token = tokenizer.unk_token
    tower = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=112,
            patch_size=28,
        )
    )
    inputs.randomise(tower, seed=13).save_pretrained(folder / "tower")
    images = CLIPImageProcessor(size={"shortest_edge": 112}, crop_size={"height": 112, "width": 112})
    images.save_pretrained(folder / "tower")
    # Two more rows than tokens: the other side has a token for the image and one for padding.
    config = LlavaConfig(
        vocab_size=len(tokenizer) + 2,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        mm_vision_tower=str(folder / "tower"),
        mm_projector_type="mlp2x_gelu",
        mm_hidden_size=32,
        mm_vision_select_layer=-2,
        mm_vision_select_feature="patch",
        tune_mm_mlp_adapter=False,
        use_mm_proj=True,
    )
    model = LlavaLlamaForCausalLM(config)
    inputs.randomise(model, seed=14)
    model.get_vision_tower().load_model()
    model.eval()
    metric = SimpleNamespace(
        model=model,
        tokenizer=tokenizer,
        image_processor=images,
        image_aspect_ratio="pad",
        conversational_style="chat",
        device="cpu",
        image_loader=lambda path: inputs.images()[int(Path(path).stem)],
    )
    metric.load_images = partial(LLaVAModel.load_images, metric)
    paths = [f"{number}.png" for number in range(len(inputs.SIZES))]
    with torch.no_grad():
        rows = [
            LLaVAModel.forward(metric, [path] * len(inputs.PROMPTS), list(inputs.PROMPTS)) for path in paths
        ]
    save(folder, model, {"score": torch.stack(rows), "pixels": metric.load_images(paths)})


def _clip_flant5(folder: Path) -> None:
    """Two folders as on the Hub: ``model`` with FlanT5 and the projector, and ``tower`` with CLIP."""
    from t2v_metrics.models.vqascore_models.clip_t5.model.language_model.clip_t5 import (
        CLIPT5Config,
        CLIPT5ForConditionalGeneration,
    )
    from t2v_metrics.models.vqascore_models.clip_t5_model import CLIPT5Model

    shape = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
    clip = CLIPModel(
        CLIPConfig(text_config=shape, vision_config=dict(**shape, image_size=112, patch_size=28))
    )
    inputs.randomise(clip, seed=15).save_pretrained(folder / "tower", safe_serialization=False)
    images = CLIPImageProcessor(size={"shortest_edge": 112}, crop_size={"height": 112, "width": 112})
    images.save_pretrained(folder / "tower")
    tokenizer = vocabularies.t5()
    tokenizer.save_pretrained(folder / "tokenizer")
    config = CLIPT5Config(
        vocab_size=len(tokenizer) + 5,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        mm_vision_tower=str(folder / "tower"),
        mm_projector_type="mlp2x_gelu",
        mm_hidden_size=32,
        mm_vision_select_layer=-2,
        mm_vision_select_feature="patch",
    )
    model = inputs.randomise(CLIPT5ForConditionalGeneration(config), seed=16)
    model.save_pretrained(folder / "model", safe_serialization=False)
    # From here on as the package's load_pretrained_model: more rows than tokens, and the tower of CLIP.
    model = CLIPT5ForConditionalGeneration.from_pretrained(folder / "model")
    model.resize_token_embeddings(len(tokenizer))
    if not model.get_vision_tower().is_loaded:
        model.get_vision_tower().load_model()
    model.eval()
    metric = SimpleNamespace(
        model=model,
        tokenizer=tokenizer,
        image_processor=model.get_vision_tower().image_processor,
        image_aspect_ratio="pad",
        device="cpu",
        image_loader=lambda path: inputs.images()[int(Path(path).stem)],
    )
    metric.load_images = partial(CLIPT5Model.load_images, metric)
    paths = [f"{number}.png" for number in range(len(inputs.SIZES))]
    scores = {}
    for name, style in (("score", "t5_chat"), ("without_system", "t5_chat_no_system")):
        metric.conversational_style = style
        rows = [
            CLIPT5Model.forward(metric, [path] * len(inputs.PROMPTS), list(inputs.PROMPTS)) for path in paths
        ]
        scores[name] = torch.stack(rows)
    save(folder, None, {**scores, "pixels": metric.load_images(paths)})
