"""transformers as a writer: a tiny random model that really generates; vLLM as far as its calls go."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from croc.errors import InputError
from croc.jobs.parts import Abort
from croc_syn.writing import PromptRequest, WriterResponse
from croc_syn.writing.local import TransformersWriter
from croc_syn.writing.offline import VllmWriter
from croc_syn.writing.responses import SCHEMA
from croc_syn.writing.settings import Local, Sampling, TextModel, Vllm, text_model

SHORT = Sampling(max_tokens=16)
CPU = Local(dtype="float32", device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights, and a tokenizer of bytes with a chat template."""
    import tiny_models as tiny
    import torch
    import transformers as tf

    tokenizer = tiny.chat_tokenizer(("<|user|>", "<|assistant|>"))
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = tf.LlamaForCausalLM(
        tf.LlamaConfig(
            **shape, vocab_size=len(tokenizer), initializer_range=0.3, eos_token_id=1, pad_token_id=0
        )
    )
    # A model's own settings, which a preset's take the place of.
    model.generation_config.repetition_penalty = 5.0
    out = tmp_path_factory.mktemp("llama")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def requests(count: int) -> list[PromptRequest]:
    return [PromptRequest(({"role": "user", "content": "word " * (n + 1)},), n, SCHEMA) for n in range(count)]


def respond(
    folder: Path, asked: list[PromptRequest], sampling: Sampling = SHORT, settings: Local = CPU
) -> list[WriterResponse]:
    found: dict[int, WriterResponse] = {}
    writer = TransformersWriter(text_model(str(folder)), sampling, settings)
    writer.write(asked, lambda number, response: found.setdefault(number, response) and None)
    return [found[number] for number in range(len(asked))]


def test_answers_in_a_batch_are_those_one_by_one(folder: Path) -> None:
    """Prompts of different lengths, filled up on the left: neither neighbours nor filling change any."""
    together = respond(folder, requests(5))
    alone = respond(folder, requests(5), settings=CPU.model_copy(update={"batch_size": 1}))
    assert together == alone
    assert len({response.text for response in together}) == 5
    assert [response.input_tokens for response in together] == [5 * (n + 1) + 2 for n in range(5)]


def test_the_seed_alone_decides_what_is_drawn(folder: Path) -> None:
    first, second, other = (
        PromptRequest(({"role": "user", "content": "hello"},), seed) for seed in (1, 1, 2)
    )
    found = respond(folder, [first, second, other])
    assert found[0].text == found[1].text != found[2].text


def test_without_temperature_the_likeliest_is_taken(folder: Path) -> None:
    """Against the library's own greedy search, without the penalty that the model's settings ask for."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    greedy = Sampling(temperature=0, presence_penalty=0, max_tokens=16)
    (response,) = respond(folder, requests(1), greedy)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    given = tokenizer("<|user|>word <|assistant|>", return_tensors="pt", add_special_tokens=False)
    ids = given["input_ids"]
    with torch.inference_mode():
        for _ in range(16):
            ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
            if ids[0, -1] == 1:
                break
    own = [token for token in ids[0, given["input_ids"].shape[1] :].tolist() if token != 1]
    assert response.text == tokenizer.decode(own, skip_special_tokens=True)


def test_an_answer_ends_at_its_end_or_is_cut_off(folder: Path) -> None:
    found = respond(folder, requests(8), Sampling(temperature=1.5, top_p=1, top_k=None, max_tokens=60))
    assert {response.finish for response in found} <= {"stop", "length"}
    assert all(response.output_tokens == 60 for response in found if response.finish == "length")
    assert all(response.output_tokens <= 60 for response in found)


def test_a_presence_penalty_lowers_what_the_answer_has_once(folder: Path) -> None:
    """One token back and forth: its score minus 2, however often it is there; the prompt does not count."""
    import torch

    from croc_syn.writing.local import _processors

    chain = _processors(Sampling(temperature=0, presence_penalty=2), [0], start=2)
    scores = chain(torch.tensor([[3, 4, 1, 1, 2]]), torch.ones(1, 5))
    assert scores.tolist() == [[1, -1, -1, 1, 1]]


def test_the_draw_follows_the_scores(folder: Path) -> None:
    import torch

    from croc_syn.writing.local import _processors

    chain = _processors(Sampling(temperature=1, presence_penalty=0, top_p=1, top_k=2), range(2000), start=1)
    scores = torch.tensor([0.6, 0.3, 0.1]).log().repeat(2000, 1)
    drawn = chain(torch.zeros(2000, 1, dtype=torch.long), scores).argmax(-1)
    # Of the two likeliest two thirds and one third: four standard errors are 0.042.
    assert abs((drawn == 0).float().mean() - 2 / 3) < 0.042
    assert not (drawn == 2).any()


def test_what_is_asked_again_joins_a_later_batch(folder: Path) -> None:
    received: list[int] = []

    def follow_up(number: int, response: WriterResponse) -> PromptRequest | None:
        received.append(number)
        return (
            PromptRequest(({"role": "user", "content": "again"},), 9) if received.count(number) < 3 else None
        )

    TransformersWriter(text_model(str(folder)), SHORT, CPU).write(requests(3), follow_up)
    assert sorted(received) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(folder: Path, monkeypatch: Any) -> None:
    sizes: list[int] = []
    whole = TransformersWriter._respond

    def batch(self: TransformersWriter, asked: list[PromptRequest]) -> list[WriterResponse]:
        sizes.append(len(asked))
        if len(asked) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return whole(self, asked)

    monkeypatch.setattr(TransformersWriter, "_respond", batch)
    assert len(respond(folder, requests(4))) == 4
    assert sizes == [4, 2, 2]
    monkeypatch.setattr(
        TransformersWriter, "_respond", lambda self, asked: (_ for _ in ()).throw(MemoryError())
    )
    with pytest.raises(Abort, match="out of memory with a single prompt"):
        respond(folder, requests(4))


@pytest.mark.parametrize("model", ["org/nowhere", f"org/nowhere@{'b' * 40}"])
def test_an_unknown_model_or_revision_is_named(model: str) -> None:
    with pytest.raises(Abort, match=r"text model org/nowhere at .*: cannot be loaded"):
        TransformersWriter(text_model(model)).write(requests(1), lambda number, response: None)


def test_a_model_that_takes_no_instructions_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    plain = tmp_path / "plain"
    shutil.copytree(folder, plain, ignore=shutil.ignore_patterns("*.jinja"))
    with pytest.raises(Abort, match="has no chat template, so it takes no instructions"):
        TransformersWriter(text_model(str(plain)), SHORT, CPU).write(
            requests(1), lambda number, response: None
        )


# ---- vLLM, which is not installed here: a stand-in with its names sees what it would be asked ----


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    calls = SimpleNamespace(model=None, chats=[])

    class Llm:
        def __init__(self, **options: Any) -> None:
            calls.model = options

        def chat(self, messages: list[Any], sampling_params: list[Any], use_tqdm: bool) -> list[Any]:
            calls.chats.append((messages, sampling_params))
            answer = SimpleNamespace(text="{}", finish_reason="stop", token_ids=[1, 2])
            return [SimpleNamespace(outputs=[answer], prompt_token_ids=[1]) for _ in messages]

    module, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    module.LLM, module.SamplingParams = Llm, lambda **options: options  # type: ignore[attr-defined]
    module.__spec__ = SimpleNamespace()  # type: ignore[assignment]
    params.StructuredOutputsParams = lambda **options: options  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", params)
    return calls


def test_vllm_is_asked_for_everything_at_once(vllm: SimpleNamespace) -> None:
    model = TextModel(name="m", model="org/m", revision="a" * 40)
    received: list[int] = []

    def follow_up(number: int, response: WriterResponse) -> PromptRequest | None:
        received.append(number)
        return requests(3)[number] if received.count(number) == 1 and number == 1 else None

    VllmWriter(model, SHORT, Vllm(gpus=2)).write(requests(3), follow_up)
    assert [len(messages) for messages, _ in vllm.chats] == [3, 1]
    assert vllm.model["revision"] == "a" * 40 and vllm.model["tensor_parallel_size"] == 2
    params = vllm.chats[0][1][2]
    assert params["seed"] == 2 and params["top_k"] == 50 and params["max_tokens"] == 16
    assert params["structured_outputs"] == {"json": SCHEMA}


def test_vllm_holds_a_model_that_reasons_to_no_form(vllm: SimpleNamespace) -> None:
    VllmWriter(TextModel(name="m", model="org/m", reasons=True)).write(
        requests(1), lambda number, response: None
    )
    assert vllm.chats[0][1][0]["structured_outputs"] is None


def test_vllm_that_is_not_installed_is_said() -> None:
    with pytest.raises(InputError, match="vLLM is not installed"):
        VllmWriter(TextModel(name="m", model="org/m")).write(requests(1), lambda number, response: None)
