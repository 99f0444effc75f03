"""Questions about prompts by a language model: a real server on loopback that answers by a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import llm_server as llm
import pytest
from click.testing import CliRunner

from builders.syn import build_exact
from croc.cli import main
from croc.scorers.question_files import Question, read_questions
from croc_syn.writing.questions import MOST, read_list
from croc_syn.writing.responses import UnusableResponse

GOOD = {
    "questions": [
        {"id": 1, "question": "Is there a dog?", "parents": []},
        {"id": 2, "question": "Is the dog  red?", "parents": [1]},
    ]
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", llm.KEY)
    running = llm.Server(lambda body, nth: llm.completion(json.dumps(GOOD)))
    yield running
    running.close()


def preset(folder: Path, url: str, **text: Any) -> Path:
    """A preset file with the server; JSON is YAML."""
    model = {"name": "writer", "model": "served", "revision": None}
    settings = {"models": [model], "endpoint": {"base_url": url, "retries": 0}, **text}
    file = folder / "preset.yaml"
    file.write_text(json.dumps({"text": settings}))
    return file


def croc(*words: Any):
    return CliRunner().invoke(main, [str(word) for word in words])


def prompts(folder: Path, *lines: str) -> Path:
    file = folder / "prompts.txt"
    file.write_text("\n".join(lines))
    return file


def test_questions_are_written_per_prompt_and_scorers_read_them(server, tmp_path):
    out = tmp_path / "q.jsonl"
    source = prompts(tmp_path, "a red dog", "a red dog", "a blue dog")
    done = croc("questions", source, "--preset", preset(tmp_path, server.url), "--out", out)
    assert done.exit_code == 0, done.output
    assert "4 questions about 2 prompts, 0 had theirs before, 200 + 40 tokens" in done.output
    expected = (Question("1", "Is there a dog?"), Question("2", "Is the dog red?", parents=("1",)))
    assert read_questions(out) == {"a red dog": expected, "a blue dog": expected}
    texts = sorted(llm.question(body) for body in server.requests)
    assert len(texts) == 2 and "a blue dog" in texts[0] and "a red dog" in texts[1]
    # The same command asks about nothing again.
    assert (
        "0 questions about 0 prompts, 2 had theirs before"
        in croc("questions", source, "--preset", preset(tmp_path, server.url), "--out", out).output
    )
    assert len(server.requests) == 2


def test_an_interrupted_run_is_resumed_and_a_line_that_was_cut_off_is_written_again(server, tmp_path):
    out = tmp_path / "q.jsonl"
    line = json.dumps({"prompt": "a red dog", "questions": GOOD["questions"]})
    out.write_text(line + "\n" + line.replace("red", "blue")[:40])
    source = prompts(tmp_path, "a red dog", "a blue dog")
    done = croc("questions", source, "--preset", preset(tmp_path, server.url), "--out", out)
    assert "2 questions about 1 prompt, 1 had theirs before" in done.output
    assert len(read_questions(out)) == 2 and len(server.requests) == 1


def test_an_unusable_response_is_asked_for_again_and_then_counted(server, tmp_path):
    def script(body: dict[str, Any], nth: int) -> llm.Reply:
        text = llm.question(body)
        if "a red dog" in text and "could not be used" not in text:
            return llm.completion('{"questions": [{"id": 1, "question": "A dog", "parents": []}]}')
        if "a cat" in text:
            return llm.completion("I cannot help with that.")
        return llm.completion(json.dumps(GOOD))

    server.script = script
    out = tmp_path / "q.jsonl"
    source = prompts(tmp_path, "a red dog", "a cat")
    done = croc("questions", source, "--preset", preset(tmp_path, server.url, attempts=2), "--out", out)
    assert done.exit_code == 0, done.output
    assert "1 prompt without questions: the model declined" in done.output
    assert list(read_questions(out)) == ["a red dog"]
    assert any("does not end with a question mark" in llm.question(body) for body in server.requests)
    assert len(server.requests) == 4


def test_the_prompts_of_a_dataset_are_both_of_each_check(server, tmp_path):
    build_exact(tmp_path / "syn", checks=3, images=1, size=32, audit_checks=0, progress=False)
    out = tmp_path / "q.jsonl"
    done = croc("questions", tmp_path / "syn", "--preset", preset(tmp_path, server.url), "--out", out)
    assert done.exit_code == 0, done.output
    assert "questions about 6 prompts" in done.output


def test_a_preset_without_a_language_model_and_another_file_are_one_sentence(tmp_path):
    source = prompts(tmp_path, "a dog")
    done = croc("questions", source, "--preset", "exact", "--out", tmp_path / "q.jsonl")
    assert done.exit_code == 2 and "has no language model: name one with --text-model" in done.output
    done = croc("questions", source, "--out", tmp_path / "q.json")
    assert done.exit_code == 2 and "written as .jsonl" in done.output
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    done = croc("questions", source, "--out", tmp_path / "other.jsonl")
    assert done.exit_code == 2 and "line 1 is not a prompt with its questions" in done.output


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "list of 1 to"),
        ([{"id": n, "question": f"{n}?", "parents": []} for n in range(MOST + 1)], "list of 1 to"),
        ([{"id": "1", "question": "A?", "parents": []}], "needs an id"),
        ([{"id": 1, "question": "A", "parents": []}], "question mark"),
        ([{"id": 1, "question": "A?", "parents": [1]}], "not a question before it"),
        (
            [{"id": 1, "question": "A?", "parents": []}, {"id": 2, "question": "a?", "parents": []}],
            "occurs twice",
        ),
    ],
)
def test_a_list_that_cannot_be_used_says_why(rows, reason):
    with pytest.raises(UnusableResponse, match=reason):
        read_list({"questions": rows})
