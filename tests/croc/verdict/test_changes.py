"""Two versions of a metric: signs, significance, and the exit code."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from reports import noisy
from score_rows import write

from croc.cli import main
from croc.errors import InputError
from croc.verdict.changes import compare_versions
from croc.verdict.report import Settings
from croc.verdict.statistics import adjust

CATEGORIES = ["action", "counting"]
QUICK = Settings(by=("category",), flips=999)


@pytest.fixture
def tables(tmp_path):
    """The new version is as good on action and knows nothing of counting."""
    old = write(tmp_path / "old", "mine", noisy(0, 80, match=2.0, category=CATEGORIES))
    new = write(tmp_path / "new", "mine", noisy(1, 80, match=2.0, category=CATEGORIES, weak="counting"))
    return old, new


def test_the_new_version_is_worse_where_it_lost_its_signal_and_nowhere_else(tables):
    found = compare_versions(*tables, QUICK)
    of = {change.group_value: change for change in found.changes}
    assert list(of) == [None, "action", "counting"]
    assert of["counting"].worse
    assert of["counting"].ci_high < 0
    assert not (of["action"].worse or of["action"].better)
    assert of["action"].ci_low < of["action"].difference < of["action"].ci_high
    for change in found.changes:
        assert change.difference == pytest.approx(change.new - change.old)
    assert [change.group_value for change in found.worse] == [None, "counting"]


def test_exchanging_the_versions_changes_signs_alone(tables):
    forward, backward = compare_versions(*tables, QUICK), compare_versions(*tables[::-1], QUICK)
    for one, other in zip(forward.changes, backward.changes, strict=True):
        assert one.difference == pytest.approx(-other.difference)
        assert (one.ci_low, one.ci_high) == (pytest.approx(-other.ci_high), pytest.approx(-other.ci_low))
        assert one.p == other.p
        assert one.worse is other.better


def test_the_command_fails_only_if_asked_and_only_if_worse(tables, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(main, ["diff", *map(str, arguments), "--permutations", "999"])

    old, new = tables
    assert run(old, new).exit_code == 0
    assert run(old, old, "--fail-if-worse").exit_code == 0
    assert run(new, old, "--fail-if-worse").exit_code == 0
    done = run(old, new, "--by", "category", "--fail-if-worse", "--json", tmp_path / "diff.json")
    assert done.exit_code == 1
    assert "category counting" in done.stdout
    rows = json.loads((tmp_path / "diff.json").read_text())["changes"]
    assert [row["group_value"] for row in rows] == [None, "action", "counting"]


def test_the_correction_of_a_comparison_is_an_option_and_shown(tables, tmp_path):
    arguments = ["--by", "category", "--permutations", "999", "--correction", "by"]
    done = CliRunner().invoke(
        main, ["diff", *map(str, tables), *arguments, "--json", str(tmp_path / "d.json")]
    )
    content = json.loads((tmp_path / "d.json").read_text())
    by_category = [change for change in content["changes"] if change["group"] == "category"]
    expected = adjust([change["p"] for change in by_category], "by")
    assert [change["p_adjusted"] for change in by_category] == pytest.approx(expected)
    assert "p (FDR)" in done.stdout and "false discovery rate (Benjamini–Yekutieli)" in done.stdout
    assert "correction:by" in content["old"] and content["correction"] == "by"


def test_a_table_of_several_metrics_needs_a_name(tmp_path, tables):
    both = tmp_path / "both"
    write(both, "a", noisy(0))
    write(both, "b", noisy(1))
    with pytest.raises(InputError, match=r"holds 2 metrics \(a, b\); name one"):
        compare_versions(both, tables[1], QUICK)
    assert compare_versions(both, both, QUICK, metric="a").changes[0].difference == 0


def test_versions_on_other_checks_are_refused(tmp_path, tables):
    rows = [{**row, "check_id": "x" + row["check_id"]} for row in noisy(0)]
    with pytest.raises(InputError, match="no check in common"):
        compare_versions(tables[0], write(tmp_path / "other", "mine", rows), QUICK)
