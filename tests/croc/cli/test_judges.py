"""Commands that need scores refuse pairwise judges in one sentence, before they make anything."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from planted_judges import Planted, rows

from croc.cli import main
from croc.errors import InputError
from croc.scoring.run import ScoringSettings, score_dataset

JUDGE = "pairwise-gpt-4o"


def last_line(words, tmp_path) -> str:
    done = CliRunner().invoke(main, [str(word).replace("OUT", str(tmp_path / "out")) for word in words])
    assert done.exit_code == 2, (done.output, done.exception)
    assert not (tmp_path / "out").exists()
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [
        ["probe", JUDGE, "--out", "OUT"],
        ["audit-reward", JUDGE, "--out", "OUT"],
        ["invariance", JUDGE, "--out", "OUT"],
        ["score-images", "images", "--scorer", JUDGE, "--out", "OUT.csv"],
        ["external", "score", "winoground", "--scorer", JUDGE, "--out", "OUT"],
    ],
)
def test_a_command_that_needs_scores_refuses_a_judge_by_name(words, tmp_path):
    assert last_line(words, tmp_path) == (
        f"croc: {JUDGE} is a pairwise judge, which compares and gives no scores: only 'croc score' runs it, "
        "and 'croc evaluate' reads its answers"
    )


def test_a_command_that_reads_scores_refuses_the_table_of_a_judge(tmp_path):
    (file,) = score_dataset(rows(5), [Planted(1, 0)], tmp_path, ScoringSettings(progress=False))
    assert last_line(["evaluate", file, "--protocol", "graded"], tmp_path) == (
        f"croc: {file}: planted is a pairwise judge, whose table has comparisons in place of the scores that "
        "are needed here; 'croc evaluate' reads it for checks with four directions"
    )


def test_graded_checks_are_refused_before_a_question_is_asked(tmp_path):
    judge = Planted(1, 0)
    with pytest.raises(InputError, match=r"planted is a pairwise judge, .* graded checks compare scores"):
        score_dataset(rows(5), [judge], tmp_path, ScoringSettings(progress=False, protocol="graded"))
    assert not judge.asked
