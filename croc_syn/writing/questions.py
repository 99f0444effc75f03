"""Prompts → questions about them by a language model, for the scorers of question lists.

As in DSG (Cho et al. 2024, arXiv 2310.18235), a prompt becomes atomic questions that "yes" answers, and a
question names the questions without which it makes no sense. DSG asks in three steps with examples; here one
instruction asks for all, in this program's words.

The file has a JSON line per prompt, ``{"prompt", "text_model", "questions": [{"id", "question",
"parents"}]}``, written as soon as a response is there. A prompt without a usable response is not in the file;
the next run asks about it again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.jobs.paid_calls import Expected, tokens_of
from croc.scorers.question_files import prompt_key
from croc_syn.cost import ANSWERED
from croc_syn.writing import PromptRequest, Writer, WriterResponse
from croc_syn.writing.responses import WRONG_KEYS, UnusableResponse, read_object
from croc_syn.writing.settings import Text, TextModel
from croc_syn.writing.stage import make_writer

logger = logging.getLogger(__name__)

MOST = 40
"""More questions than that about one prompt are refused."""

INSTRUCTION = """\
An image was generated from a text. Write the questions with which one can check that the image shows all
of the text and nothing that contradicts it.

TEXT
{prompt}

RULES
1. One question per fact of the text: that each thing is there, each of its properties, each number, each
   action, each relation between things, the style and the setting if the text states them.
2. "Yes" is the right answer to every question, and a person who sees the image but not the text can
   answer it.
3. Ask only about what the text states. Do not repeat a question in other words.
4. If a question makes sense only when another one is answered by "yes", name that one as its parent. The
   question about a property of a thing has the question about the thing as its parent; one about a
   relation has those about both things. Questions about things come first and have no parents.
5. For what the text says is absent, ask whether it is absent.

ANSWER
One JSON object and nothing after it:
{{"questions": [{{"id": 1, "question": "Is there a dog?", "parents": []}},
 {{"id": 2, "question": "Is the dog red?", "parents": [1]}}]}}"""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "questions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer"},
                    "question": {"type": "string"},
                    "parents": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["id", "question", "parents"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["questions"],
    "additionalProperties": False,
}


@dataclass
class Written:
    """What a run wrote.

    Attributes:
        prompts: number of prompts with new questions.
        questions: number of new questions.
        kept: number of prompts that the file had questions of before.
        failed: per prompt without a usable response, the last reason.
        tokens: input and output tokens.
    """

    prompts: int = 0
    questions: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    tokens: tuple[int, int] = (0, 0)


def write_questions(
    prompts: Iterable[str],
    out: Path,
    model: TextModel,
    text: Text,
    *,
    seed: int = 0,
    writer: Writer | None = None,
    log: Callable[[str], None] = logger.info,
) -> Written:
    """Ask a language model for the questions of each prompt that the file has none of.

    Args:
        prompts: the prompts; equal ones are asked about once.
        out: the file (``.jsonl``); lines are added to it.
        model: the language model.
        text: how it is asked; ``attempts`` is the number of responses before a prompt is given up.
        seed: of the sampling.
        writer: the model, ready to respond; None makes it.
        log: called with an estimate for a model behind a service.

    Raises:
        InputError: the file is not one of questions.
        Abort: no request can be answered.
    """
    if out.suffix != ".jsonl":
        raise InputError(f"{out}: the file with questions is written as .jsonl")
    known = _known(out)
    unique = {prompt_key(prompt): prompt for prompt in prompts}
    asked = [_Asked(prompt, model, text.attempts, seed) for key, prompt in unique.items() if key not in known]
    result = Written(kept=len(unique) - len(asked))
    if not asked:
        return result
    requests = [one.request() for one in asked]
    if writer is None:
        writer = make_writer(model, text)
        if (model.backend or text.backend) == "endpoint":
            log(_estimate(requests, model, text))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:

        def follow_up(number: int, response: WriterResponse) -> PromptRequest | None:
            one = asked[number]
            following = one.receive(response)
            result.tokens = (
                result.tokens[0] + response.input_tokens,
                result.tokens[1] + response.output_tokens,
            )
            if one.questions:
                _append(file, one, model)
                result.prompts += 1
                result.questions += len(one.questions)
            elif following is None:
                result.failed[one.prompt] = one.reason
            return following

        writer.write(requests, follow_up)
    return result


def _estimate(requests: Sequence[PromptRequest], model: TextModel, text: Text) -> str:
    tokens = sum(tokens_of(request.messages[-1]["content"]) for request in requests)
    remark = f"up to {text.attempts} attempts where responses are refused"
    answered = len(requests) * ANSWERED[model.reasons]
    return Expected(model.name, len(requests), tokens, answered, remark=remark).text(text.endpoint)


def _known(out: Path) -> set[str]:
    """The prompts that the file has questions of; a line that was cut off is removed from it."""
    if not out.exists():
        return set()
    data = out.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        # The run was stopped while it wrote; the prompt is asked about again.
        with out.open("r+b") as file:
            file.truncate(len(whole))
    found = set()
    for number, line in enumerate(whole.decode("utf-8").splitlines(), 1):
        try:
            found.add(prompt_key(json.loads(line)["prompt"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{out}, line {number} is not a prompt with its questions") from None
    return found


def _append(file: IO[str], one: _Asked, model: TextModel) -> None:
    line = {"prompt": one.prompt, "text_model": model.pinned_name(), "questions": one.questions}
    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    file.flush()


@dataclass
class _Asked:
    """One prompt while its questions are written."""

    prompt: str
    model: TextModel
    attempts: int
    seed: int
    attempt: int = 0
    reason: str = ""
    questions: list[dict[str, Any]] = field(default_factory=list)

    def request(self) -> PromptRequest:
        """The request, with what was wrong with the response before."""
        content = INSTRUCTION.format(prompt=self.prompt)
        if self.reason:
            content += f"\n\nAn earlier answer of yours could not be used: {self.reason}. Avoid this."
        place = (self.model.name, self.prompt, self.attempt)
        seed = int(stable_hash("questions", self.seed, *place, length=8), 16) % 2**31
        return PromptRequest(({"role": "user", "content": content},), seed, SCHEMA)

    def receive(self, response: WriterResponse) -> PromptRequest | None:
        """Take a response; the next request, or None when this prompt is finished."""
        self.attempt += 1
        if response.error is not None:
            self.reason = response.error
            return None
        try:
            self.questions = read_list(read_object(response, reasons=self.model.reasons))
        except UnusableResponse as error:
            self.reason = str(error)
            return self.request() if self.attempt < self.attempts else None
        return None


def read_list(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The questions of a response.

    Raises:
        UnusableResponse: they are no list of questions, or a parent is not a question before.
    """
    rows = content.get("questions")
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST:
        raise UnusableResponse(WRONG_KEYS, f"questions must be a list of 1 to {MOST} questions")
    found: list[dict[str, Any]] = []
    for row in rows:
        found.append(_row(row, [one["id"] for one in found], [one["question"].lower() for one in found]))
    return found


def _row(row: Any, earlier: Sequence[int], texts: Sequence[str]) -> dict[str, Any]:
    if (
        not isinstance(row, dict)
        or type(row.get("id")) is not int
        or not isinstance(row.get("question"), str)
    ):
        raise UnusableResponse(WRONG_KEYS, "each question needs an id (a number) and a question (a text)")
    text = " ".join(row["question"].split())
    parents = row.get("parents", [])
    if not text.endswith("?"):
        raise UnusableResponse(WRONG_KEYS, f"question {row['id']} does not end with a question mark")
    if row["id"] in earlier or text.lower() in texts:
        raise UnusableResponse(WRONG_KEYS, f"question {row['id']} occurs twice")
    if not isinstance(parents, list) or not all(parent in earlier for parent in parents):
        raise UnusableResponse(WRONG_KEYS, f"a parent of question {row['id']} is not a question before it")
    return {"id": row["id"], "question": text, "parents": list(dict.fromkeys(parents))}
