"""VQAScore and the yes/no margin over vision-language models, against the plain way of calling each model."""

from __future__ import annotations

import functools
import json
import math
import warnings

import numpy as np
import pytest
import tiny_models as tiny
import tiny_vision_language
import torch
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from croc.errors import CrocError, InputError
from croc.scorers import Scorer, vision_language
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.vqa import VqaScore
from croc.scorers.yes_no import QUESTION, YesNo

PROMPTS = ["a red dog", "two blue cats on the old table", "a green vase", 'a sign that says "no"']
# Of different sizes, so that models with dynamic resolution get prefixes of different lengths.
IMAGES = [tiny.picture(seed, size) for seed, size in enumerate([(40, 32), (64, 30), (33, 70), (50, 50)])]
MODELS = {**tiny.VISION_LANGUAGE, **tiny_vision_language.MODELS}
EVERY = {
    **MODELS,
    "instructblip": tiny.instructblip,
    "instructblip_t5": lambda: tiny.instructblip(encoder_decoder=True),
}
# Agreement of different ways to compute the same logits in fp32, of logits whose spread is about 1.
SAME = dict(abs=1e-4)


@pytest.fixture(scope="module")
def models():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: build() for name, build in EVERY.items()}


def plain_logits(model, processor, image, text) -> torch.Tensor:
    """What a user of transformers writes: chat template, processor, one forward, last position."""
    if hasattr(processor, "qformer_tokenizer"):
        inputs = processor(images=image, text=text, return_tensors="pt")
        if not model.config.use_decoder_only_language_model:
            inputs["decoder_input_ids"] = torch.tensor([[model.config.text_config.decoder_start_token_id]])
    else:
        turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
        rendered = processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        starts_with_bos = bool(processor.tokenizer.bos_token) and rendered.startswith(
            processor.tokenizer.bos_token
        )
        inputs = processor(
            text=[rendered], images=[[image]], return_tensors="pt", add_special_tokens=not starts_with_bos
        )
    with torch.no_grad():
        return model(**inputs).logits[0, -1]


def answer_ids(name, processor) -> tuple[int, int]:
    """Behind "ASSISTANT:" an answer has a space before it, behind a line break or a control token none."""
    gap = "Ġ" if name in ("llava", "smolvlm") else ""
    return tuple(processor.tokenizer.convert_tokens_to_ids(f"{gap}{word}") for word in ("Yes", "No"))


@pytest.mark.parametrize("name", EVERY)
def test_vqascore_is_the_probability_of_yes(models, name):
    model, processor = models[name]
    scorer = VqaScore(model, processor=processor)
    assert isinstance(scorer, Scorer)
    scores = scorer.score(IMAGES, PROMPTS)
    assert scores.dtype == np.float64
    yes, _ = answer_ids(name, processor)
    for image, prompt, score in zip(IMAGES, PROMPTS, scores, strict=True):
        # Lin et al. 2024: P("Yes" | image, 'Does this figure show "{text}"? Please answer yes or no.')
        logits = plain_logits(
            model, processor, image, f'Does this figure show "{prompt}"? Please answer yes or no.'
        )
        assert score == pytest.approx(math.exp(logits[yes]) / sum(map(math.exp, logits.tolist())), abs=1e-5)
    assert np.ptp(scores) > 1e-6


@pytest.mark.parametrize("name", EVERY)
def test_the_margin_is_the_difference_of_two_logits(models, name):
    model, processor = models[name]
    yes, no = answer_ids(name, processor)
    logits = [
        plain_logits(model, processor, i, QUESTION.replace("{prompt}", p))
        for i, p in zip(IMAGES, PROMPTS, strict=True)
    ]
    margin = np.array([float(row[yes] - row[no]) for row in logits])
    assert YesNo(model, processor=processor).score(IMAGES, PROMPTS) == pytest.approx(margin, **SAME)
    shares = torch.stack(logits).double().softmax(-1)
    published = YesNo(model, processor=processor, paper=True).score(IMAGES, PROMPTS)
    assert published == pytest.approx((shares[:, yes] - shares[:, no]).numpy(), abs=1e-5)
    probability = YesNo(model, processor=processor, probability=True).score(IMAGES, PROMPTS)
    two = shares[:, yes] / (shares[:, yes] + shares[:, no])
    assert probability == pytest.approx(two.numpy(), abs=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_batch_1_equals_batch_n(models, name):
    model, processor = models[name]
    one = YesNo(model, processor=processor, batch_size=1).score(IMAGES, PROMPTS)
    many = YesNo(model, processor=processor, batch_size=4).score(IMAGES, PROMPTS)
    assert one == pytest.approx(many, **SAME)
    assert np.ptp(one) > 1e-3


@pytest.mark.parametrize("name", EVERY)
def test_a_prefix_computed_once_gives_what_the_plain_forward_gives(models, name):
    model, processor = models[name]
    scorer = YesNo(model, processor=processor)
    for image in IMAGES:
        plain = scorer.score([image] * 4, PROMPTS)
        assert scorer.score_prompts(image, PROMPTS) == pytest.approx(plain, **SAME)


@pytest.mark.parametrize("name", MODELS)
def test_prefixes_of_several_images_share_a_pass_and_do_not_mix(models, name):
    model, processor = models[name]
    # Suffixes in more than one batch, so that the cache is copied; images of one and of different lengths.
    scorer = YesNo(model, processor=processor, batch_size=3)
    images = [*IMAGES[:2], tiny.picture(7, IMAGES[0].size), tiny.picture(8, IMAGES[0].size)]
    asked = [PROMPTS[:2], PROMPTS[1:], PROMPTS[2:3], PROMPTS]
    found = scorer.score_images_prompts(images, asked)
    for image, prompts, scores in zip(images, asked, found, strict=True):
        assert scores == pytest.approx(scorer.score([image] * len(prompts), prompts), **SAME)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_images_of_one_length_and_different_grids_keep_their_own_positions(models, name):
    model, processor = models[name]
    scorer = YesNo(model, processor=processor)
    # 4 × 4 and 2 × 8 cells of 16 pixels: as many tokens, but the text goes on at other positions behind them.
    images = [tiny.picture(1, (64, 64)), tiny.picture(2, (128, 32))]
    _, (first, second) = scorer._read_images(images)
    assert len(first) == len(second)
    found = scorer.score_images_prompts(images, [PROMPTS, PROMPTS])
    deltas = model.model.rope_deltas.flatten().tolist()
    assert deltas[0] != deltas[-1]
    for image, scores in zip(images, found, strict=True):
        assert scores == pytest.approx(scorer.score([image] * 4, PROMPTS), **SAME)


def test_phi4_multimodal_scores_the_plain_way_and_behind_a_prefix():
    model, processor = tiny.phi4_multimodal()
    scorer = YesNo(model, processor=processor)
    yes, no = answer_ids("phi4_multimodal", processor)
    found = scorer.score_images_prompts(IMAGES[:2], [PROMPTS[:2], PROMPTS[2:3]])
    for image, prompts, scores in zip(IMAGES, (PROMPTS[:2], PROMPTS[2:3]), found, strict=False):
        plain = [plain_logits(model, processor, image, QUESTION.replace("{prompt}", p)) for p in prompts]
        margins = [float(logits[yes] - logits[no]) for logits in plain]
        assert scores == pytest.approx(margins, **SAME)
        assert scorer.score([image] * len(prompts), prompts) == pytest.approx(margins, **SAME)


@pytest.mark.parametrize("name", MODELS)
def test_the_image_is_seen_once_for_all_prompts(models, name):
    model, processor = models[name]
    seen = []
    towers = (part for part in model.modules() if isinstance(part, PreTrainedModel))
    tower = next(part for part in towers if "Vision" in type(part).__name__)
    handle = tower.register_forward_hook(lambda *_: seen.append(1))
    YesNo(model, processor=processor).score_prompts(IMAGES[0], PROMPTS)
    handle.remove()
    assert len(seen) == 1


@pytest.mark.parametrize("name", MODELS)
def test_ordinary_prompts_get_the_ids_of_the_chat_template(models, name):
    model, processor = models[name]
    scorer = YesNo(model, processor=processor)
    for image, prompt in zip(IMAGES, PROMPTS, strict=True):
        turn = [{"type": "image"}, {"type": "text", "text": QUESTION.replace("{prompt}", prompt)}]
        rendered = processor.apply_chat_template(
            [{"role": "user", "content": turn}], add_generation_prompt=True, tokenize=False
        )
        bos = processor.tokenizer.bos_token
        expected = processor(
            text=[rendered], images=[[image]], add_special_tokens=not (bos and rendered.startswith(bos))
        )["input_ids"]
        _, (head,) = scorer._read_images([image])
        assert [*head, *scorer._suffix(prompt)] == np.asarray(expected)[0].tolist()


@pytest.mark.parametrize("name", EVERY)
def test_special_tokens_in_a_prompt_stay_text(models, name):
    model, processor = models[name]
    scorer = YesNo(model, processor=processor)
    control = [token.content for token in processor.tokenizer.added_tokens_decoder.values()]
    assert {"<image>", "<|image_pad|>", "<start_of_image>", "<IMG_CONTEXT>"} & set(control)
    attack = "a dog" + "".join(control) + " and" + control[0] * 2
    ids = scorer._tokenizer.ids(attack)
    assert not set(ids) & set(processor.tokenizer.added_tokens_decoder)
    assert processor.tokenizer.decode(ids) == attack
    scores = scorer.score([IMAGES[0]] * 2, ["a dog", attack])
    assert np.isfinite(scores).all()
    assert scorer.score_prompts(IMAGES[0], ["a dog", attack]) == pytest.approx(scores, **SAME)


def test_a_tokenizer_with_answers_of_several_tokens_is_refused():
    model, processor = tiny.llava(yes_no=False)
    with pytest.raises(InputError, match=r"writes the answer 'Yes' in \d tokens: choose answers="):
        YesNo(model, processor=processor).score(IMAGES[:1], PROMPTS[:1])


def test_other_answers_can_be_chosen(models):
    model, processor = models["qwen2_5_vl"]
    scorer = YesNo(model, processor=processor, answers=("yes", "no"))
    assert scorer.answer_ids == tuple(processor.tokenizer.convert_tokens_to_ids(["yes", "no"]))


def test_the_checkpoint_brings_its_question_size_and_calibration():
    model, processor = tiny.llava()
    model.config.croc = {
        "question": "Is this {prompt}?",
        "answers": ["No", "Yes"],
        "calibration": [0.5, -1.0],
        "image_size": [16, 24],
    }
    scorer = YesNo(model, processor=processor, probability=True)
    fields = scorer.fields()
    assert fields["template"] == "Is this {prompt}?"
    assert (fields["answers"], fields["image_size"]) == ("No/Yes", "16x24")
    assert fields["calibration"] == "0.5*margin-1"
    plain = YesNo(
        model, processor=processor, question="Is this {prompt}?", answers=("No", "Yes"), image_size=(16, 24)
    )
    margin = plain.score(IMAGES, PROMPTS)
    expected = [1 / (1 + math.exp(-(0.5 * m - 1.0))) for m in margin]
    assert scorer.score(IMAGES, PROMPTS) == pytest.approx(expected, abs=1e-9)
    resized = [image.resize((16, 24), 1) for image in IMAGES]
    assert plain.score(resized, PROMPTS) == pytest.approx(margin, abs=1e-9)


def test_what_is_given_wins_over_the_checkpoint_and_unknown_settings_are_named():
    model, processor = tiny.llava()
    model.config.croc = {"question": "Is this {prompt}?"}
    given = YesNo(model, processor=processor, question="Really {prompt}?")
    assert given.fields()["template"] == "Really {prompt}?"
    model.config.croc = {"questoin": "Is this {prompt}?"}
    with pytest.raises(InputError, match="unknown croc settings: questoin; known are answers, calibration"):
        YesNo(model, processor=processor).fields()


def test_a_saved_checkpoint_scores_like_the_model_it_was_saved_from(tmp_path):
    model, processor = tiny.llava()
    model.config.croc = {"question": "Is this {prompt}?", "calibration": [2.0, 0.5]}
    tiny.save(model, processor, tmp_path)
    loaded = YesNo(str(tmp_path), device="cpu")
    expected = YesNo(model, processor=processor).score(IMAGES, PROMPTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert loaded.score(IMAGES, PROMPTS) == pytest.approx(expected, abs=1e-6)
    fields = loaded.fields()
    assert fields["model"] == tmp_path.name, "a path would differ between machines"
    assert fields["revision"].startswith("local:")
    assert fields["template"] == "Is this {prompt}?"
    with (tmp_path / "generation_config.json").open("a") as file:
        file.write(" ")
    assert YesNo(str(tmp_path)).fields()["revision"] != fields["revision"]


@pytest.mark.parametrize(
    ("name", "layout"), [("qwen2_5_vl", "old"), ("qwen2_5_vl", "new"), ("smolvlm", "new")]
)
def test_a_processor_with_a_video_part_loads_without_torchvision(models, name, layout, tmp_path):
    model, processor = models[name]
    tiny.save(model, processor, tmp_path)
    if layout == "old":
        # As in checkpoints of 2025: no processor_config.json, the class named beside the image settings.
        settings = json.loads((tmp_path / "processor_config.json").read_text())
        images = settings["image_processor"] | {"processor_class": settings["processor_class"]}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(images))
        (tmp_path / "processor_config.json").unlink()
    loaded = YesNo(str(tmp_path), device="cpu")
    expected = YesNo(model, processor=processor).score(IMAGES, PROMPTS)
    assert loaded.score(IMAGES, PROMPTS) == pytest.approx(expected, **SAME)


def test_long_prompts_are_cut_visibly():
    model, processor = tiny.llava()
    scorer = YesNo(model, processor=processor, max_prompt_tokens=10)
    # A byte is a token here.
    assert scorer.truncated(["a red dog.", "a red dog. "]).tolist() == [False, True]
    a, b = scorer.score(IMAGES[:1] * 2, ["a red dog.", "a red dog. And a hundred thousand more."])
    assert a == pytest.approx(b, abs=1e-6)
    assert scorer.fields()["window"] == "10"


def test_a_hundred_thousand_characters_are_scored():
    model, processor = tiny.llava()
    scorer = YesNo(model, processor=processor)
    long = "שלום <image> " * 8000
    assert scorer.truncated([long]).tolist() == [True]
    assert np.isfinite(scorer.score(IMAGES[:1], [long])).all()


def test_an_empty_prompt_and_an_impossible_image_are_refused_for_their_pairs_alone(models):
    model, processor = models["qwen2_5_vl"]
    scorer = YesNo(model, processor=processor)
    # Qwen's image processor rejects an aspect ratio over 200.
    images = [IMAGES[0], IMAGES[1], tiny.picture(3, (900, 2)), IMAGES[2]]
    with pytest.raises(UnscoredPairs) as refused:
        scorer.score(images, ["a dog", "  ", "a cat", "a vase"])
    assert refused.value.reasons[1] == "the prompt is empty"
    assert refused.value.reasons[2].startswith("the image processor cannot process 900×2 pixels: ")
    expected = scorer.score([IMAGES[0], IMAGES[2]], ["a dog", "a vase"])
    assert refused.value.scores[[0, 3]] == pytest.approx(expected, **SAME)
    assert np.isnan(refused.value.scores[[1, 2]]).all()
    with pytest.raises(UnscoredPairs) as refused:
        scorer.score_prompts(IMAGES[0], ["a dog", ""])
    assert list(refused.value.reasons) == [1]
    assert refused.value.scores[0] == pytest.approx(expected[0], **SAME)


@pytest.mark.parametrize("name", EVERY)
def test_the_whole_answer_is_read_with_its_end(models, name):
    model, processor = models[name]
    scorer = VqaScore(model, processor=processor, with_end=True, batch_size=3)
    scores = scorer.score(IMAGES, PROMPTS)
    yes, _ = answer_ids(name, processor)
    end = processor.tokenizer.eos_token_id
    for image, prompt, score in zip(IMAGES, PROMPTS, scores, strict=True):
        text = scorer.settings.question.replace("{prompt}", prompt)
        first, second = plain_answer_logits(model, processor, image, text, yes)
        mean = (first.log_softmax(-1)[yes] + second.log_softmax(-1)[end]) / 2
        assert score == pytest.approx(math.exp(mean), rel=1e-4)
    assert scorer.score_prompts(IMAGES[1], PROMPTS) == pytest.approx(
        scorer.score([IMAGES[1]] * 4, PROMPTS), rel=1e-4
    )
    assert scorer.fields()["formula"] == "exp(mean log P(Yes, end))"


def plain_answer_logits(model, processor, image, text, token) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits before and behind the token of an answer, in one plain forward pass."""
    if hasattr(processor, "qformer_tokenizer"):
        inputs = processor(images=image, text=text, return_tensors="pt")
        if not model.config.use_decoder_only_language_model:
            start = model.config.text_config.decoder_start_token_id
            inputs["decoder_input_ids"] = torch.tensor([[start, token]])
            with torch.no_grad():
                logits = model(**inputs).logits[0].double()
            return logits[0], logits[1]
    else:
        turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
        rendered = processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        bos = processor.tokenizer.bos_token
        inputs = processor(
            text=[rendered],
            images=[[image]],
            return_tensors="pt",
            add_special_tokens=not (bos and rendered.startswith(bos)),
        )
    for key, fill in (
        ("input_ids", token),
        ("attention_mask", 1),
        ("token_type_ids", 0),
        ("mm_token_type_ids", 0),
    ):
        if key in inputs:
            inputs[key] = torch.cat([inputs[key], torch.tensor([[fill]])], dim=1)
    with torch.no_grad():
        logits = model(**inputs).logits[0].double()
    return logits[-2], logits[-1]


def test_a_repetition_penalty_is_that_of_generate(models):
    from transformers import RepetitionPenaltyLogitsProcessor

    model, processor = models["qwen2_5_vl"]
    scorer = VqaScore(model, processor=processor, repetition_penalty=1.5)
    plain = VqaScore(model, processor=processor)
    _, (head,) = scorer._read_images(IMAGES[:1])
    for prompt, score in zip(PROMPTS, scorer.score([IMAGES[0]] * 4, PROMPTS), strict=True):
        read = torch.tensor([[*head, *scorer._suffix(prompt)]])
        logits = RepetitionPenaltyLogitsProcessor(1.5)(read, plain.logits(IMAGES[:1], [prompt]).clone())
        assert score == pytest.approx(float(logits.double().softmax(-1)[0, scorer.answer_ids[0]]), rel=1e-5)
    assert scorer.score_prompts(IMAGES[0], PROMPTS) == pytest.approx(
        scorer.score([IMAGES[0]] * 4, PROMPTS), rel=1e-4
    )
    assert np.abs(scorer.score(IMAGES, PROMPTS) - plain.score(IMAGES, PROMPTS)).max() > 1e-5
    assert scorer.fields()["repetition_penalty"] == "1.5"
    with pytest.raises(InputError, match="repetition_penalty must be positive, not 0"):
        VqaScore(model, processor=processor, repetition_penalty=0)


def test_a_system_line_stands_before_the_question(models):
    model, processor = models["qwen2_5_vl"]
    scorer = VqaScore(model, processor=processor, system="You are strict.")
    head = scorer._layout.head
    assert head.index("You are strict.") < head.index("<|image_pad|>")
    assert scorer.fields()["system"] == "You are strict."
    assert "system" not in VqaScore(model, processor=processor).fields()


def test_a_chat_template_that_takes_texts_gets_a_text():
    model, processor = tiny.llava()
    expected = YesNo(model, processor=processor).score(IMAGES, PROMPTS)
    # As Phi-4-multimodal's own: the content is added to a string.
    processor.chat_template = (
        "{% for m in messages %}{{ m['role'].upper() + ': ' }}"
        "{{ m['content'].replace('<image>', '<image>\\n') + ' ' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    )
    assert YesNo(model, processor=processor).score(IMAGES, PROMPTS) == pytest.approx(expected, **SAME)
    processor.chat_template = "{{ messages[0]['content'] + 1 }}"
    with pytest.raises(
        InputError, match="takes neither a list of image and text nor one text: can only conc"
    ):
        YesNo(model, processor=processor).score(IMAGES, PROMPTS)


def test_a_model_that_accelerate_spreads_scores_the_same(tmp_path):
    model, processor = tiny.llava()
    folder = tiny.save(model, processor, tmp_path)
    spread = YesNo(str(folder), device="auto")
    assert spread.score(IMAGES, PROMPTS) == pytest.approx(
        YesNo(model, processor=processor).score(IMAGES, PROMPTS), **SAME
    )
    # Indices on the CPU fit tensors on every device; an index on one GPU does not fit a tensor on another.
    kept = []
    forward = spread.checkpoint.model.forward
    spread.checkpoint.model.forward = functools.wraps(forward)(
        lambda **given: kept.append(given.get("logits_to_keep")) or forward(**given)
    )
    spread.score_prompts(IMAGES[0], PROMPTS)
    assert all(isinstance(k, int) or k.device.type == "cpu" for k in kept)


class Placed(torch.Tensor):
    """A tensor that says that it is on a GPU and, like one there, does not mix with those of another."""

    place: str

    @staticmethod
    def on(place: str, data: torch.Tensor) -> Placed:
        tensor = data.as_subclass(Placed)
        tensor.place = place
        return tensor

    @property
    def device(self) -> torch.device:
        return torch.device(self.place)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        given = [tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Placed)]
        devices = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.device)]
        if function is torch.Tensor.to and devices:
            return Placed.on(str(devices[0]), args[0].as_subclass(torch.Tensor).clone())
        if len(places := {tensor.place for tensor in given}) > 1:
            raise RuntimeError(f"tensors on {' and '.join(sorted(places))}")
        result = super().__torch_function__(function, types, args, kwargs or {})
        for tensor in tree_leaves(result):
            if isinstance(tensor, Placed):
                tensor.place = given[0].place
        return result


def test_states_on_the_last_gpu_and_logits_on_the_first_do_not_mix(monkeypatch):
    model, processor = tiny.llava()
    expected = YesNo(model, processor=processor, dtype="bfloat16").score(IMAGES, PROMPTS)
    model, processor = tiny.llava()
    scorer = YesNo(model, processor=processor, dtype="bfloat16")
    head = scorer.checkpoint.model.get_output_embeddings()
    # As accelerate has it with device_map="auto": the head computes where the last layers are, and the logits
    # go back to the first GPU.
    head.register_forward_pre_hook(lambda _, given: (Placed.on("cuda:1", given[0]),))
    forward = scorer.checkpoint.model.forward

    def spread(**given):
        out = forward(**given)
        out.logits = Placed.on("cuda:0", out.logits.as_subclass(torch.Tensor))
        return out

    scorer.checkpoint.model.forward = functools.wraps(forward)(spread)
    rows = vision_language._rows_of
    monkeypatch.setattr(vision_language, "_rows_of", lambda *given: Placed.on("cuda:1", rows(*given)))
    assert scorer.score(IMAGES, PROMPTS) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(RuntimeError, match="tensors on cuda:0 and cuda:1"):
        Placed.on("cuda:0", torch.ones(2)) + Placed.on("cuda:1", torch.ones(2))


def test_the_head_of_a_model_is_found_where_accelerate_offloads_it():
    from accelerate import cpu_offload

    model, processor = tiny.llava()
    expected = YesNo(model, processor=processor, dtype="bfloat16").score(IMAGES, PROMPTS)
    model, processor = tiny.llava()
    model = model.to(torch.bfloat16)
    cpu_offload(model.lm_head, execution_device="cpu")
    assert model.lm_head.weight.is_meta
    scorer = YesNo(model, processor=processor, device="auto")
    scorer.checkpoint.model = model.eval()
    assert scorer.score(IMAGES, PROMPTS) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("build", [tiny.llava, lambda: tiny.instructblip(encoder_decoder=True)])
def test_bf16_stays_inside_the_model(build):
    model, processor = build()
    scorer = YesNo(model, processor=processor, dtype="bfloat16")
    states = []
    head = scorer.checkpoint.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, given: states.append(given[0]))
    logits = scorer.logits(IMAGES[:1], PROMPTS[:1])
    hook.remove()
    assert next(scorer.checkpoint.model.parameters()).dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    assert scorer.fields()["dtype"] == "bfloat16"
    # The margin of the answers is that of the last state with the head's rows, in fp32.
    yes, no = scorer.answer_ids
    rows = head.weight.detach().float()
    expected = float(states[0][0, -1].float() @ (rows[yes] - rows[no]))
    margin = scorer.score(IMAGES[:1], PROMPTS[:1])[0]
    assert margin == pytest.approx(expected, abs=1e-5)
    assert scorer.score_prompts(IMAGES[0], PROMPTS[:1])[0] == pytest.approx(expected, abs=0.1)
    rounded = float(logits[0, yes].bfloat16() - logits[0, no].bfloat16())
    assert margin != rounded, "a margin on the grid of bf16 would tie with its neighbours"


def test_logits_that_are_capped_after_the_head_stay_the_models_own():
    model, processor = tiny.llava()
    model.config.text_config.final_logit_softcapping = 30.0
    scorer = YesNo(model, processor=processor, dtype="bfloat16")
    logits = scorer.logits(IMAGES[:1], PROMPTS[:1])
    assert torch.equal(logits, logits.bfloat16().float())


def test_options_that_cannot_be_are_named():
    model, processor = tiny.llava()
    with pytest.raises(InputError, match=r"must contain \{prompt\} once"):
        VqaScore(model, processor=processor, question="Is it?")
    with pytest.raises(InputError, match="choose one"):
        YesNo(model, processor=processor, paper=True, probability=True)
    with pytest.raises(InputError, match="needs its processor"):
        YesNo(model)
    with pytest.raises(InputError, match="not a commit of 40"):
        YesNo("org/model", revision="main")
    with pytest.raises(InputError, match="transformers has no class AutoModelForVibes"):
        _ = YesNo("org/model", revision="0" * 40, auto="AutoModelForVibes").checkpoint.model
    with pytest.raises(InputError, match="dtype 'fp8' is unknown"):
        YesNo(model, processor=processor, dtype="fp8")


def test_a_model_without_a_revision_warns_and_what_cannot_load_is_one_sentence():
    with pytest.warns(UserWarning, match="loaded without a revision"), pytest.raises(CrocError) as error:
        _ = YesNo("nobody/no-such-model").checkpoint.model
    assert str(error.value).startswith("nobody/no-such-model is not in the cache of this machine")
    assert "\n" not in str(error.value)
    assert YesNo("nobody/no-such-model").checkpoint.pinned == "unpinned"
