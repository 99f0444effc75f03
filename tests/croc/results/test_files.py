"""Results files follow from their tables, and a leaderboard of them says what a report of the tables says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from score_rows import check_rows, write

from croc.cli import main
from croc.errors import InputError
from croc.rendering import fragments as pages
from croc.rendering.page import page as html_page
from croc.results.files import make_result, read_result, write_result
from croc.results.leaderboard import leaderboard
from croc.results.verification import verify_result
from croc.tables.signature import Signature
from croc.verdict.evaluation import evaluate
from croc.verdict.report import Settings

QUICK = Settings(resamples=300, flips=500)
SKILL = {"good": 2.0, "fair": 1.0, "weak": 0.9, "guess": 0.0}


def rows(skill: float, seed: int, protocol: str) -> list[dict[str, Any]]:
    """60 concepts, two text models, three images a side; ``skill`` moves matching scores up."""
    rng = np.random.default_rng(seed)
    found = []
    for concept in range(60):
        for number, model in enumerate("ab"):
            sides = [
                [tuple(rng.normal(size=2) + skill * np.array(way)) for _ in range(3)]
                for way in ((1, 0), (0, 1))
            ]
            found += check_rows(
                f"check {concept}-{number}",
                *sides,
                concept_id=f"concept {concept:02d}",
                category=("negation", "counting", None)[concept % 3],
                property=f"property {concept % 5}",
                subset="property_variation" if protocol == "syn" else None,
                text_model=model,
            )
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four metrics on two benchmarks: a score table and a result for each."""
    folder = tmp_path_factory.mktemp("results")
    for b, protocol in enumerate(("syn", "hum")):
        (folder / protocol).mkdir()
        for m, (name, skill) in enumerate(SKILL.items()):
            scored = rows(skill, 10 * b + m, protocol)
            if name == "weak":
                scored[7] |= {"prompt_score": None, "error": "refused"}
            extra = {"trained_on": "croc/train@1"} if name == "good" else {}
            table = write(
                folder / protocol,
                name,
                scored,
                protocol,
                dataset=f"croc/{protocol}",
                dataset_revision="v1",
                baseline=name == "guess",
                extra=extra,
            )
            write_result(make_result(table, settings=QUICK), table.with_suffix(".json"))
    return folder


def test_a_result_holds_what_the_report_says(results: Path) -> None:
    told = read_result(results / "syn" / "fair.json")
    report = evaluate(
        [results / "syn" / "fair.parquet"],
        settings=Settings(by=("subset", "category", "property"), resamples=300, flips=500),
    )
    assert told.report == report
    assert told.signature == report.signatures["fair"]
    assert {s.group for s in told.report.scores} == {None, "subset", "category", "property"}
    assert (told.report.checks, told.report.concepts) == (120, 60)
    assert told.failures and all(failure.failed for failure in told.failures)


def test_what_was_written_is_what_is_read(results: Path, tmp_path: Path) -> None:
    told = read_result(results / "hum" / "weak.json")
    assert read_result(write_result(told, tmp_path / "again.json")) == told


@pytest.mark.parametrize("name", SKILL)
@pytest.mark.parametrize("protocol", ["syn", "hum"])
def test_a_result_follows_from_its_table(results: Path, protocol: str, name: str) -> None:
    assert verify_result(results / protocol / f"{name}.json") == []


def rename(told: Any, name: str) -> None:
    """Give the metric of a result another name, in all its places."""
    report = told["report"]
    for record in (*report["scores"], *report["results"]):
        record["metric"] = name
    report["findings"] = []
    report["signatures"] = {name: report["signatures"]["fair"]}
    report["missing_scores"] = {name: {}}


def edit_mean(told: Any) -> None:
    told["report"]["scores"][0]["scaled"] = 0.99


def changed(results: Path, tmp_path: Path, change: Any) -> Path:
    told = json.loads((results / "syn" / "fair.json").read_text("utf-8"))
    change(told)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(told), "utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda told: told["report"]["scores"][0].update(scaled=0.99), "report.scores[0].scaled"),
        (
            lambda told: told["report"]["scores"][0].update(ci_low=0.7, ci_high=0.71),
            "report.scores[0].ci_low",
        ),
        (lambda told: told["report"]["results"][5].update(accuracy=1.0), "report.results[5].accuracy"),
        (lambda told: told["sums"][3]["sums"].__setitem__(0, 2.0), "sums[3].sums[0]"),
        (lambda told: told["sums"].pop(), "sums: "),
        (
            lambda told: told["report"]["missing_scores"]["fair"].update(refused=0),
            "report.missing_scores.fair.refused",
        ),
        (lambda told: told["report"]["dataset"].update(revision="v2"), "report.dataset.revision"),
        (lambda told: told["table"].update(sha256="0" * 64), "table: "),
        (lambda told: told["report"]["settings"].update(seed=1), "report.signature"),
        (lambda told: told["report"]["scores"][0].update(baseline=True), "report.scores[0].baseline"),
        (
            lambda told: told["report"].update(
                signature=told["report"]["signature"].replace("mode:default", "mode:x")
            ),
            "report.signature",
        ),
    ],
)
def test_an_edited_result_is_refused(results: Path, tmp_path: Path, change: Any, where: str) -> None:
    path = changed(results, tmp_path, change)
    found = verify_result(path, results / "syn" / "fair.parquet")
    assert any(one.startswith(where) for one in found), found


def test_long_texts_are_shown_where_they_differ(results: Path, tmp_path: Path) -> None:
    path = changed(
        results,
        tmp_path,
        lambda told: told["report"].update(
            signature=told["report"]["signature"].replace("concepts:60", "concepts:59")
        ),
    )
    (found,) = verify_result(path, results / "syn" / "fair.parquet")
    assert "concepts:59" in found and "concepts:60" in found and len(found) < 250


def test_a_result_on_a_part_of_the_checks_is_marked_in_the_leaderboard(results: Path, tmp_path: Path) -> None:
    part = [row for row in rows(1.0, 1, "syn") if row["concept_id"] < "concept 30"]
    table = write(tmp_path, "part", part, "syn", dataset="croc/syn", dataset_revision="v1")
    made = make_result(table, settings=QUICK)
    board = leaderboard([made, results / "syn" / "good.json"], resamples=300, flips=500)
    counted = {row["metric"]: (row["checks"], row["all_checks"]) for row in board.benchmarks[0].rows()}
    assert counted == {"part": (60, 120), "good": (120, 120)}
    page = pages.ranking(board.benchmarks[0])
    assert page.count("60 of 120 checks") == 1


def test_a_mark_cannot_be_taken_off(results: Path, tmp_path: Path) -> None:
    told = read_result(results / "syn" / "good.json")
    assert told.trained_on_croc
    path = write_result(replace(told, trained_on_croc=False), tmp_path / "good.json")
    assert any("trained_on_croc" in one for one in verify_result(path, results / "syn" / "good.parquet"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told.update(extra=1), "extra"),
        (lambda told: told["report"]["scores"][0].update(scaled=2), "report.scores.0.scaled"),
        (lambda told: told.update(url="javascript:alert(1)"), "url"),
        (lambda told: told["table"].update(file="../../etc/passwd.parquet"), "table.file"),
        (lambda told: told.update(format=1), "format"),
        (lambda told: rename(told, "x" * 101), "the metric's name has 101 characters"),
        (lambda told: told["sums"][0].update(sums=[float("nan")] * 12), "sums.0.sums"),
    ],
)
def test_a_file_of_another_form_is_named_with_its_place(
    results: Path, tmp_path: Path, change: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_result(changed(results, tmp_path, change))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_what_is_no_results_file_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match="not a results file"):
        read_result(tmp_path / "x.json")


def test_a_text_table_makes_no_result(tmp_path: Path) -> None:
    header = "check_id,image_side,image_index,prompt_score,contrast_score\n"
    (tmp_path / "t.csv").write_text(header + "a,original,0,1,2\n", "utf-8")
    with pytest.raises(InputError, match="Parquet"):
        make_result(tmp_path / "t.csv", protocol="syn")


def test_the_leaderboard_says_what_a_report_of_all_tables_says(results: Path) -> None:
    board = leaderboard([results], resamples=300, flips=500)
    assert [each.name for each in board.benchmarks] == ["syn: croc/syn", "hum: croc/hum"]
    for each in board.benchmarks:
        tables = sorted((results / each.report.protocol).glob("*.parquet"))
        settings = Settings(by=("category",), resamples=300, flips=500)
        report = evaluate(tables, settings=settings)
        ours, theirs = each.report, report
        assert ours.metrics == theirs.metrics
        assert {s.metric: s.rank for s in ours.scores if not s.group} == {
            s.metric: s.rank for s in theirs.scores if not s.group
        }
        assert len(ours.comparisons) == len(theirs.comparisons) > 6
        for a, b in zip(ours.comparisons, theirs.comparisons, strict=True):
            assert (a.better, a.worse, a.group_value) == (b.better, b.worse, b.group_value)
            assert (a.difference, a.p, a.p_adjusted) == pytest.approx((b.difference, b.p, b.p_adjusted))
            assert a.minimum_detectable_difference == pytest.approx(b.minimum_detectable_difference, rel=1e-4)
        assert {f.text for f in ours.findings} == {f.text for f in theirs.findings}
    (pair,) = board.agreements
    expected = {one.group_value for one in pair.agreements}
    assert expected == {None, "counting", "negation", "(none)"}
    assert all(-1 <= (one.tau or 0) <= 1 for one in pair.agreements)


def test_the_agreement_is_that_of_the_reports(results: Path) -> None:
    settings = Settings(by=("category",), resamples=300, flips=0)
    syn, hum = (
        evaluate(sorted((results / name).glob("*.parquet")), settings=settings) for name in ("syn", "hum")
    )
    board = leaderboard([results], resamples=300, flips=0)
    mine = {one.group_value: (one.tau, one.ci_low, one.ci_high) for one in board.agreements[0].agreements}
    reports = syn.agreement(hum) + syn.agreement(hum, "category")
    assert mine == {one.group_value: (one.tau, one.ci_low, one.ci_high) for one in reports}


def test_the_rows_are_the_numbers_of_the_files(results: Path) -> None:
    board = leaderboard([results], resamples=300, flips=500)
    first = board.benchmarks[0].rows()[0]
    told = read_result(results / "syn" / "good.json")
    assert (first["metric"], first["rank"], first["scaled"]) == ("good", 1, told.report.score("good").scaled)
    assert first["trained_on_croc"] and not first["baseline"]
    assert {"forward_text", "counting", "negation"} <= set(first)
    beside = board.side_by_side()
    assert beside[0]["metric"] == "good"
    hum = read_result(results / "hum" / "good.json")
    assert beside[0]["hum: croc/hum"].scaled == hum.report.score("good").scaled
    assert "good" in html_page(board.benchmarks[0].report)


def test_what_cannot_be_used_is_named_and_the_rest_is_shown(results: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{}", "utf-8")
    edited = changed(results, tmp_path, edit_mean)
    fair = results / "syn" / "fair.json"
    board = leaderboard([fair, results / "hum", tmp_path, fair], resamples=50, flips=50)
    assert len(board.problems) == 3
    assert any("broken.json" in one for one in board.problems)
    assert any(str(edited) in one and "sums" in one for one in board.problems)
    assert any("already" in one for one in board.problems)
    assert [len(each.files) for each in board.benchmarks] == [1, 4]
    assert board.agreements == ()  # one shared metric ranks nothing


def test_another_revision_is_another_benchmark(results: Path) -> None:
    told = read_result(results / "syn" / "fair.json")
    edited = replace(told.report, dataset=replace(told.report.dataset, revision="v2"))
    signature = Signature.parse(
        str(told.report.signature).replace("|dataset_revision:v1", "|dataset_revision:v2")
    )
    other = replace(told, report=replace(edited, signature=signature))
    assert len(leaderboard([told, other], resamples=20, flips=20).benchmarks) == 2
    board = leaderboard([replace(told, report=edited)], resamples=20, flips=20)
    assert "'fair' is on croc/syn@v2, and its signature has croc/syn@v1" in board.problems[0]


def test_the_commands_make_check_and_show_results(results: Path, tmp_path: Path) -> None:
    run = CliRunner()
    table = results / "syn" / "weak.parquet"
    made = run.invoke(
        main, ["results", "create", str(table), "--out", str(tmp_path), "--url", "https://example.org/weak"]
    )
    assert made.exit_code == 0, made.output
    checked = run.invoke(main, ["results", "verify", str(tmp_path / "weak.json"), "--table", str(table)])
    assert checked.exit_code == 0 and "verified" in checked.output
    folder = run.invoke(main, ["results", "verify", str(results / "hum")])
    files = list((results / "hum").glob("*.json"))
    assert folder.exit_code == 0 and folder.output.count(": numbers verified") == len(files) > 1
    (tmp_path / "hollow").mkdir()
    hollow = run.invoke(main, ["results", "verify", str(tmp_path / "hollow")])
    assert hollow.exit_code == 2 and "no results file" in hollow.output
    alone = run.invoke(main, ["results", "verify", str(tmp_path / "weak.json")])
    assert alone.exit_code == 2 and "weak.parquet does not exist" in alone.output
    edited = changed(results, tmp_path, lambda told: told["report"]["results"][0].update(n=7))
    wrong = run.invoke(
        main, ["results", "verify", str(edited), "--table", str(results / "syn" / "fair.parquet")]
    )
    assert wrong.exit_code == 2 and "report.results[0].n: is 7, but the table gives 120" in wrong.output
    page = tmp_path / "board.html"
    shown = run.invoke(main, ["leaderboard", str(results), "--html", str(page)])
    assert shown.exit_code == 0, shown.output
    assert "Trained on CROC checks, as their authors state: good" in shown.output
    assert "Kendall tau-b" in shown.output and "croc/hum" in page.read_text("utf-8")
