"""Predictions from planted results: joins, unknown properties, the choice of metric, the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from score_rows import check_rows, table, write

from croc.cli import main
from croc.errors import InputError
from croc.results.files import make_result, write_result
from croc.trust.accuracies import Accuracies, accuracies_of, read_accuracies
from croc.trust.prediction import predict
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import Settings

CHECKS = 40


def rows(accuracy: dict[tuple[str, str | None], float], checks: int = CHECKS) -> list[dict[str, object]]:
    """Checks of each (property, category), of which the given share is right in both image directions."""
    found: list[dict[str, object]] = []
    for (name, category), share in accuracy.items():
        for number in range(checks):
            right, wrong = (1.0, 0.0) if number < share * checks else (0.0, 1.0)
            more = {"property": name, "category": category, "subset": "property_variation"}
            check = f"{name} {number}"
            found += check_rows(check, [(right, wrong)], [(wrong, right)], **more)
    return found


GOOD_AT_COLOUR = {
    ("colour", None): 1.0,
    ("negation", "negation"): 0.5,
    ("above_below", "spatial_relation"): 0.9,
}
GOOD_AT_NEGATION = {("colour", None): 0.6, ("negation", "negation"): 0.95}


def planted() -> Accuracies:
    tables = [
        table("painter", rows(GOOD_AT_COLOUR)),
        table("logician", rows({**GOOD_AT_NEGATION, ("above_below", "spatial_relation"): 0.7})),
    ]
    settings = Settings(by=("property", "category"), resamples=0, flips=0)
    return accuracies_of(evaluate_tables(tables, settings))


def test_the_chance_is_the_accuracy_drawn_to_that_of_all_checks() -> None:
    found = planted().find("painter", "negation")
    assert found is not None
    assert (found.value, found.checks, found.group) == (0.5, CHECKS, "property")
    assert found.low < 0.5 < found.high
    assert found.overall == pytest.approx((1.0 + 0.5 + 0.9) / 3)
    assert found.chance == pytest.approx((0.5 * 40 + 0.8 * 4) / 44)


def test_each_prompt_gets_the_metric_that_is_better_on_its_properties() -> None:
    report = predict(["a red cup", "a dog without a collar"], planted())
    assert [prompt.best for prompt in report.prompts] == ["painter", "logician"]
    assert report.taken("painter") == [1]
    assert report.taken("logician") == [2]
    assert not report.for_people


def test_the_chance_is_that_of_the_weakest_property() -> None:
    accuracies = planted()
    [prompt] = predict(["a red cup without a handle"], accuracies, ["painter"]).prompts
    [prediction] = prompt.predictions
    chances = {one.property: one.chance for one in prediction.properties if one.chance is not None}
    assert set(chances) == {"negation", "colour"}
    assert prediction.weakest == "negation"
    assert prediction.chance == chances["negation"] == pytest.approx(23.2 / 44)
    assert (prediction.low or 1) < 0.5 < (prediction.high or 0)
    assert prediction.unknown == ("thing_parts",)


def test_a_property_without_results_is_unknown_and_never_a_number() -> None:
    report = predict(["a sign that says 'OPEN'", "zzz"], planted())
    for prompt in report.prompts:
        assert prompt.best is None
        assert prompt.ask_people
        for prediction in prompt.predictions:
            assert prediction.chance is prediction.low is prediction.high is prediction.weakest is None
            assert all(one.chance is None and one.checks == 0 for one in prediction.properties)
    assert report.prompts[0].predictions[0].unknown == ("written_text",)


def test_a_property_without_results_takes_those_of_its_category() -> None:
    accuracies = planted()
    found = accuracies.find("painter", "left_right")
    assert found is not None
    assert (found.group, found.value) == ("category", pytest.approx(0.9))
    assert accuracies.find("painter", "size") is None  # has no category


def test_a_metric_with_fewer_results_is_not_taken_for_them() -> None:
    tables = [table("all", rows(GOOD_AT_COLOUR)), table("easy", rows({("colour", None): 1.0}))]
    settings = Settings(by=("property", "category"), resamples=0, flips=0)
    accuracies = accuracies_of(evaluate_tables(tables, settings))
    [prompt] = predict(["a red cup and no spoon"], accuracies).prompts
    chances = {one.metric: one.chance or 0.0 for one in prompt.predictions}
    assert chances["easy"] > chances["all"]
    assert prompt.best == "all"


def test_prompts_for_people_are_unknown_ones_first_then_the_least_certain() -> None:
    prompts = ["a red cup", "a cup without a spoon", "zzz", "a red cup, no spoon"]
    report = predict(prompts, planted(), ["painter"], least=0.9)
    assert [one.number for one in report.for_people] == [3, 2, 4]


def test_results_files_reports_and_tables_give_the_same_accuracies(tmp_path: Path) -> None:
    scores = tmp_path / "scores"
    scores.mkdir()
    file = write(scores, "painter", rows(GOOD_AT_COLOUR))
    write_result(make_result(file), tmp_path / "results" / "painter.json")
    runner = CliRunner()
    report = tmp_path / "report.json"
    arguments = ["evaluate", str(file), "--by", "property", "--by", "category", "--json", str(report)]
    assert runner.invoke(main, arguments).exit_code == 0
    found = []
    for source in (scores, tmp_path / "results", report):
        accuracy = read_accuracies([source]).find("painter", "negation")
        assert accuracy is not None
        found.append((accuracy.value, accuracy.low, accuracy.high, accuracy.checks))
    assert found[0] == found[1] == found[2]


def test_results_of_more_checks_count(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    for folder, accuracy, checks in ((few, 1.0, 10), (many, 0.5, 40)):
        folder.mkdir()
        write(folder, "painter", rows({("colour", None): accuracy}, checks))
    for order in ([few, many], [many, few]):
        found = read_accuracies(order).find("painter", "colour")
        assert found is not None
        assert (found.value, found.checks) == (0.5, 40)


def test_the_command_writes_the_numbers_that_it_shows(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.txt", tmp_path / "trust.json"
    prompts.write_text("a red cup\n\na sign that says 'OPEN'\n")
    write(tmp_path, "painter", rows(GOOD_AT_COLOUR))
    arguments = ["--results", str(tmp_path / "painter.parquet"), "--json", str(out)]
    run = CliRunner().invoke(main, ["trust", str(prompts), "--scorer", "painter", *arguments])
    assert run.exit_code == 0, run.output
    content = json.loads(out.read_text())
    first, second = (prompt["predictions"][0] for prompt in content["prompts"])
    assert first["chance"] == pytest.approx((40 + 0.8 * 4) / 44)
    assert second["chance"] is None
    lines = run.output.splitlines()
    assert "0.98" in next(line for line in lines if "a red cup" in line).split()
    assert next(line for line in lines if "OPEN" in line).split()[-3:] == [
        "unknown",
        "unknown",
        "written_text",
    ]
    assert any(line.startswith("take painter: 1 prompt (1)") for line in lines)


def test_the_sample_results_are_the_default(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt\na dog without a collar\n")
    run = CliRunner().invoke(main, ["trust", str(prompts), "--scorer", "crocscore-tiny", "crocscore-dual"])
    assert run.exit_code == 0, run.output
    assert "negation" in run.output
    assert "crocscore-dual" in run.output
    assert "images like those of the checks: croc/syn" in run.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["prompts.txt", "--scorer", "nobody"], "nobody: no results by property or category; there are"),
        (["prompts.txt", "--results", "absent"], "absent: no such file or folder"),
        (["prompts.txt", "--results", "empty"], "empty: no results files (.json) and no score tables"),
        (["nothing.txt"], "nothing.txt: no prompt in it"),
        (["absent.txt"], "absent.txt: no such file"),
        (["prompts.txt", "--results", "other.json"], "other.json: not a"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a red cup\n")
    Path("nothing.txt").write_text("\n")
    Path("other.json").write_text('{"results": 3}')
    Path("empty").mkdir()
    run = CliRunner().invoke(main, ["trust", *arguments])
    assert run.exit_code != 0
    assert expected in run.output
    assert "Traceback" not in run.output


def test_results_without_properties_are_refused() -> None:
    with pytest.raises(InputError, match="no results by property or category"):
        read_accuracies([Path(__file__).parents[3] / "croc" / "sample" / "results" / "hum" / "random.json"])
