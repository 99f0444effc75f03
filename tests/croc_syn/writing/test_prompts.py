"""Specs → prompt pairs: as a preset says, by language models or in controlled English."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llm_server as llm
import polars as pl
import pytest
import text_encoders
from click.testing import CliRunner

from croc.checks.schema import check_id
from croc.cli import main
from croc.errors import CrocError, InputError
from croc.jobs.runner import PartsFailed, read_manifest
from croc_syn import presets, world
from croc_syn.writing import yields
from croc_syn.writing.instructions import render_instruction
from croc_syn.writing.prompts import first_instructions, make_prompts

SMALL = {
    "specs.checks": 12,
    "text.models": ["talker"],
    "text.rules.encoders": [],
    "text.checks_per_part": 4,
    "text.endpoint.retries": 1,
    "images.models": [],
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[llm.Server]:
    monkeypatch.setenv("OPENAI_API_KEY", llm.KEY)
    found = llm.Server()
    yield found
    found.close()


def preset(server: llm.Server, **changes: Any) -> presets.Preset:
    talker = {"name": "talker", "model": "org/talker", "revision": "a" * 40}
    given = {**SMALL, "text.models": [talker], "text.endpoint.base_url": server.url}
    return presets.load("paper", given | {key.replace("__", "."): value for key, value in changes.items()})


def rows(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(file) for file in read_manifest(folder).files()])


def croc(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


# ---- By language models ----


def test_every_check_gets_a_pair_with_where_it_comes_from(server: llm.Server, tmp_path: Path) -> None:
    made = make_prompts(preset(server), tmp_path, progress=False)
    found = rows(tmp_path)
    assert len(found) == 12 and found["error"].null_count() == 12
    assert made.counts["checks"] == 12 and made.counts["tries"] == 0
    assert set(found["text_model"]) == {f"org/talker@{'a' * 40}"}
    assert set(found["style"]) == {"general"} and set(found["language"]) == {"en"}
    # "fox" → "cat", "sits" → "stands".
    assert set(found["edits"]) == {2}
    row = found.row(0, named=True)
    assert row["check_id"] == check_id(
        row["concept_id"],
        row["prompt"],
        row["contrast_prompt"],
        row["text_model"],
        None,
        row["generation"],
        "general",
    )
    assert not (tmp_path / "answers").exists()


def test_each_model_writes_for_each_image_model_by_its_guide(server: llm.Server, tmp_path: Path) -> None:
    chosen = preset(
        server,
        specs__checks=2,
        text__models=[{"name": "a", "model": "org/a"}, {"name": "b", "model": "org/b"}],
        images__models=["flux.1-schnell", "sd3.5-large-turbo"],
    )
    make_prompts(chosen, tmp_path, progress=False)
    found = rows(tmp_path)
    assert set(found.select("text_model", "image_model", "style").iter_rows()) == {
        (f"org/{model}@unpinned", target, style)
        for model in "ab"
        for target, style in (("flux.1-schnell", "flux"), ("sd3.5-large-turbo", "stable-diffusion"))
    }
    told = {llm.question(body) for body in server.requests}
    assert any("FLUX.1-SCHNELL" in each and "on the telephone" in each for each in told)
    assert any("SD3.5-LARGE-TURBO" in each and "divided by commas" in each for each in told)


def test_two_styles_with_equal_words_are_two_checks(server: llm.Server, tmp_path: Path) -> None:
    same = llm.pair({"messages": [{"content": '{"property": "x"}'}]})
    server.script = lambda body, nth: llm.completion(
        json.dumps(same | {"property": llm.asked_property(body)})
    )
    make_prompts(preset(server, specs__checks=2, text__styles=["flux", "general"]), tmp_path, progress=False)
    found = rows(tmp_path)
    assert found["prompt"].n_unique() == 1 and len(found) == 4
    assert found["check_id"].n_unique() == 4


BAD = [
    (lambda body: llm.completion("I'm sorry, but I can't help with that."), "declined"),
    (lambda body: llm.completion("<think>hm", finish="length"), "cut off"),
    (lambda body: llm.completion("Here you go!"), "no JSON"),
    (lambda body: llm.completion('{"first": "a", "second": "b"}'), "wrong keys"),
    (
        lambda body: llm.completion(json.dumps(llm.pair(body, contrast_prompt=llm.pair(body)["prompt"]))),
        "prompts agree",
    ),
    (lambda body: llm.completion(json.dumps(llm.pair(body, property="tail length"))), "property"),
    (
        lambda body: llm.completion(json.dumps(llm.pair(body, prompt="The same fox by the same gate."))),
        "meta talk",
    ),
    (lambda body: llm.completion(json.dumps(llm.pair(body, prompt="<b>A fox</b> by the gate."))), "markup"),
]


@pytest.mark.parametrize(("reply", "kind"), BAD, ids=[kind for _, kind in BAD])
def test_an_answer_that_cannot_be_used_is_asked_for_again_with_the_reason(
    server: llm.Server, tmp_path: Path, reply: Any, kind: str
) -> None:
    def script(body: dict[str, Any], nth: int) -> llm.Reply:
        return llm.good(body, nth) if "could not be used" in llm.question(body) else reply(body)

    server.script = script
    properties = {"specs__subsets": ["property_variation"]}
    made = make_prompts(preset(server, specs__checks=3, **properties), tmp_path, progress=False)
    found = rows(tmp_path)
    assert found["error"].null_count() == 3 and found["tries"].to_list() == [2] * 3
    assert found["refused_kinds"].to_list() == [[kind]] * 3
    assert made.counts["tries"] == 3
    assert len({body["seed"] for body in server.requests}) == 6
    again = [llm.question(body) for body in server.requests if "could not be used" in llm.question(body)]
    assert all(
        found["refused"][0][0] in each or found["refused"][1][0] in each or found["refused"][2][0] in each
        for each in again
    )


def test_a_check_without_a_useful_answer_stays_with_its_reasons(server: llm.Server, tmp_path: Path) -> None:
    server.script = lambda body, nth: llm.completion("No.")
    made = make_prompts(preset(server, specs__checks=3, text__attempts=2), tmp_path, progress=False)
    found = rows(tmp_path)
    assert made.counts["failed"] == 3 and made.counts["checks"] == 0
    assert found["error"].to_list() == ["no JSON object in the answer: No."] * 3
    assert found["answer"].to_list() == ["No."] * 3 and found["tries"].to_list() == [2] * 3
    assert found["check_id"].null_count() == 3
    assert made.parts[0]["counts"]["refused"] == {"no JSON": 6}


def test_reasoning_and_fences_are_no_hindrance(server: llm.Server, tmp_path: Path) -> None:
    def script(body: dict[str, Any], nth: int) -> llm.Reply:
        text = f"```json\n{json.dumps(llm.pair(body))}\n```\nEnjoy!"
        return (
            llm.completion(f"<think>{{draft}}</think>\n{text}")
            if nth
            else llm.completion(text, reasoning="{hm}")
        )

    server.script = script
    assert make_prompts(preset(server), tmp_path, progress=False).counts["checks"] == 12
    assert set(rows(tmp_path)["reasoning"]) == {"{hm}"}


def test_prompts_too_long_for_clip_are_refused_where_that_is_asked_for(
    server: llm.Server, tmp_path: Path
) -> None:
    encoder = {"name": "clip", "tokenizer": str(text_encoders.word_tokenizer(tmp_path / "clip")), "limit": 12}
    chosen = preset(server, specs__checks=2, text__rules={"encoders": [encoder], "clip": True})
    make_prompts(chosen, tmp_path / "strict", progress=False)
    reason = "tokens for clip, which reads at most 12"
    assert set(rows(tmp_path / "strict")["error"].str.extract(f"({reason})")) == {reason}
    assert "At most 50 words a prompt" in llm.question(server.requests[0])
    chosen = preset(server, specs__checks=2, text__rules={"encoders": [encoder]})
    make_prompts(chosen, tmp_path / "open", progress=False)
    (count,) = rows(tmp_path / "open")["tokens"][0].to_list()
    # As in models of two encoders, the first one may see the beginning alone; the count is there.
    assert count["encoder"] == "clip" and count["prompt"] > count["limit"] == 12


def test_a_key_that_expires_stops_at_once_and_what_was_done_stays(server: llm.Server, tmp_path: Path) -> None:
    def script(body: dict[str, Any], nth: int) -> llm.Reply:
        return llm.failed(401, "key expired") if len(server.requests) > 5 else llm.good(body, nth)

    server.script = script
    chosen = preset(server, text__endpoint={"base_url": server.url, "concurrency": 1, "retries": 1})
    with pytest.raises(
        CrocError, match=r"stopped at part .*does not accept the key in OPENAI_API_KEY.*key expired"
    ):
        make_prompts(chosen, tmp_path, progress=False)
    # One more may be on its way when the answer comes.
    assert 6 <= len(server.requests) <= 7
    server.script, before = llm.good, len(server.requests)
    assert make_prompts(chosen, tmp_path, progress=False).counts["checks"] == 12
    # The five answers that came are not asked, nor paid, again.
    assert len(server.requests) - before == 7


def test_a_service_that_is_down_fails_its_parts_and_they_are_tried_again(
    server: llm.Server, tmp_path: Path
) -> None:
    first = sorted(first_instructions(preset(server), 12))[:3]
    server.script = lambda body, nth: (
        llm.failed(503, "overloaded") if llm.question(body) not in first else llm.good(body, nth)
    )
    with pytest.raises(PartsFailed, match=r"no response to 9 of 12 requests: .*overloaded"):
        make_prompts(preset(server, text__checks_per_part=12), tmp_path, progress=False)
    server.script = llm.good
    assert (
        make_prompts(preset(server, text__checks_per_part=12), tmp_path, progress=False).counts["checks"]
        == 12
    )


def test_a_run_gives_the_same_files_whatever_the_order_and_the_workers(
    server: llm.Server, tmp_path: Path
) -> None:
    one = make_prompts(preset(server), tmp_path / "one", progress=False)
    two = make_prompts(preset(server, text__endpoint__concurrency=1), tmp_path / "two", progress=False)
    assert one.sha256 == two.sha256
    other = make_prompts(preset(server, seed=1), tmp_path / "other", progress=False)
    assert other.sha256 != one.sha256


def test_other_settings_are_other_work(server: llm.Server, tmp_path: Path) -> None:
    make_prompts(preset(server), tmp_path, progress=False)
    with pytest.raises(InputError, match=r"contains other work.*temperature"):
        make_prompts(preset(server, text__sampling__temperature=1.0), tmp_path, progress=False)


_RUN = """
import sys
from croc_syn import presets
from croc_syn.writing.prompts import make_prompts
changes = __import__("json").loads(sys.argv[1])
make_prompts(presets.load("paper", changes), sys.argv[2], progress=False)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_asks_for_nothing_twice(server: llm.Server, tmp_path: Path) -> None:
    talker = {"name": "talker", "model": "org/talker"}
    changes = {**SMALL, "text.models": [talker], "text.endpoint.base_url": server.url, "specs.checks": 24}
    # Without the cache, which would answer what the first run has asked.
    changes |= {"text.endpoint.concurrency": 2, "text.endpoint.cache": False}
    words = [sys.executable, "-c", _RUN, json.dumps(changes)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    whole = make_prompts(presets.load("paper", changes), tmp_path / "whole", progress=False)
    asked = len(server.requests)
    kills = 0
    for stop_at in (3, 9, 14, 20):
        process = subprocess.Popen([*words, str(tmp_path / "killed")], env=environment)
        while len(server.requests) - asked < stop_at and process.poll() is None:
            server.wait(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    subprocess.run([*words, str(tmp_path / "killed")], env=environment, check=True)
    assert kills >= 3
    assert read_manifest(tmp_path / "killed").sha256 == whole.sha256
    # What was under way at a kill, two at most, was asked again.
    assert len(server.requests) - asked <= 24 + 2 * kills


# ---- In controlled English ----


def test_the_exact_preset_needs_no_model(tmp_path: Path) -> None:
    made = make_prompts(presets.load("exact", {"specs.checks": 6}), tmp_path, progress=False)
    found = rows(tmp_path)
    assert made.counts["checks"] == 6 and found["error"].null_count() == 6
    assert set(found["text_model"].str.head(6)) == {"exact@"}


def test_the_first_check_of_a_spec_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = world.make_pair

    def counted(*words: Any, **options: Any) -> Any:
        made.append(options["seed"])
        return real(*words, **options)

    monkeypatch.setattr(world, "make_pair", counted)
    preset = presets.load("exact", {"specs.properties": ["colour"], "specs.checks": 5})
    make_prompts(preset, tmp_path, progress=False)
    assert len(made) == len(set(made)) == rows(tmp_path)["tries"].sum()


# ---- Yields ----


def test_yields_count_by_subset_property_and_model(server: llm.Server, tmp_path: Path) -> None:
    def script(body: dict[str, Any], nth: int) -> llm.Reply:
        return llm.completion("No.") if "shot size" in llm.question(body) else llm.good(body, nth)

    server.script = script
    wanted = {"specs__properties": ["shot_size", "count"], "specs__subsets": ["property_variation"]}
    made = make_prompts(preset(server, specs__checks=8, **wanted), tmp_path, progress=False)
    found = yields.read(made)
    table = yields.yields(found)
    assert table.select("property", "asked", "kept", "share", "answers").rows() == [
        ("count", 4, 4, 1.0, 1.0),
        ("shot_size", 4, 0, 0.0, 3.0),
    ]
    assert yields.refusals(found).rows() == [(f"org/talker@{'a' * 40}", "no JSON", 12)]
    files = yields.write(found, tmp_path)
    assert [file.name for file in files] == ["yield.csv", "refusals.csv"]
    assert pl.read_csv(files[0])["kept"].to_list() == [4, 0]


# ---- Bad input ----


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text.modles": []}, "modles"),
        ({"text.sampling.temprature": 1}, "temprature"),
        ({"text.sampling.temperature": -1}, "text.sampling.temperature"),
        ({"text.models": ["qwq-23b"]}, "did you mean 'qwq-32b'?"),
        ({"text.models": ["org/name@main"]}, "40 hexadecimal digits"),
        ({"text.models": ["qwq-32b", "qwq-32b"]}, "must be different from each other"),
        ({"text.rules.encoders": ["clap"]}, "encoder 'clap' is not known"),
        ({"text.language": "english"}, "text.language"),
        ({"specs.properties": ["colr"]}, "did you mean 'colour'?"),
        (
            {"text.styles": ["fluxx"]},
            "unknown guide 'fluxx'; known guides are flux, general, stable-diffusion",
        ),
        ({"text.templates": "nowhere"}, "nowhere: not a folder; expected a folder of templates"),
        ({"specs.subsets": ["entity_placment"]}, "entity_placment"),
    ],
)
def test_a_preset_that_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as refused:
        make_prompts(presets.load("paper", {"text.rules.encoders": [], **changes}), tmp_path / "x")
    assert words in str(refused.value)
    assert not (tmp_path / "x").exists()


def test_vllm_says_where_it_is_missing(tmp_path: Path) -> None:
    chosen = presets.load("paper", {"text.backend": "vllm", "specs.checks": 2})
    with pytest.raises(InputError, match=r"vLLM is not installed.*backend endpoint"):
        make_prompts(chosen, tmp_path)


def test_names_from_outside_are_in_no_path(server: llm.Server, tmp_path: Path) -> None:
    names = [{"name": "../../etc/passwd", "model": "a/../../b"}]
    made = make_prompts(preset(server, specs__checks=2, text__models=names), tmp_path / "x", progress=False)
    assert {file.parent for file in made.files()} == {tmp_path / "x" / "parts"}
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_template_of_ones_own_takes_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "guides").mkdir()
    (tmp_path / "guides" / "haiku.j2").write_text("{#- encoders: clip -#}\n- Seventeen syllables.")
    said = {"property": {"name": "colour", "definition": "d", "how": "h", "examples": []}, "topic": None}
    told = render_instruction("property_variation", said, guide="haiku", folder=tmp_path)
    assert "Seventeen syllables" in told
    other = tmp_path / "other"
    other.mkdir()
    (other / "property_variation.j2").write_text("{{ ''.__class__.__mro__ }}")
    with pytest.raises(InputError, match=r"template property_variation\.j2: .*unsafe"):
        render_instruction("property_variation", said, guide="flux", folder=other)


# ---- The command ----


def test_the_command_shows_what_came_of_it(server: llm.Server, tmp_path: Path) -> None:
    server.script = lambda body, nth: (
        llm.completion("No.") if "FLUX" in llm.question(body) else llm.good(body, nth)
    )
    words = ["prompts", "paper", "--checks", 4, "--text-model", "org/talker", "--out", tmp_path / "p"]
    words += ["--set", f"text.endpoint.base_url={server.url}", "--set", "text.rules.encoders=[]"]
    result = croc(*words)
    assert result.exit_code == 0, result.output
    assert "4 of 8 pairs usable, 8 responses requested again" in result.output
    assert "no JSON" in result.output and "yield.csv" in result.output
    assert "2 of 2 parts" in croc("status", tmp_path / "p").output
    before = len(server.requests)
    assert croc(*words).exit_code == 0
    assert len(server.requests) == before


def test_the_command_shows_instructions_and_asks_nobody() -> None:
    shown = croc("prompts", "paper", "--property", "count", "--show", 2).output
    assert shown.count("ANSWER") == 2 and '"property": "' in shown
    assert "controlled English" in croc("prompts", "exact", "--show", 1).output


def test_the_command_refuses_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for words, said in (
        (("paper", "--out", tmp_path / "x"), "OPENAI_API_KEY is not set"),
        (("papre", "--out", tmp_path / "x"), "did you mean 'paper'?"),
        (("paper",), "give --out FOLDER"),
        (("exact", "--property", "colr", "--out", tmp_path / "x"), "did you mean 'colour'?"),
    ):
        result = croc("prompts", *words)
        assert result.exit_code == 2 and said in result.output, result.output
    assert not (tmp_path / "x").exists()
