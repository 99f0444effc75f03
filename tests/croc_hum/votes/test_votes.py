"""Tables of votes: what is read, what is refused and how, and when votes decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from croc.errors import InputError
from croc_hum.agreement import views as agreement_views
from croc_hum.agreement.agreement import AgreementReport
from croc_hum.agreement.label_noise import LabelNoise
from croc_hum.agreement.vote_matrix import Settings
from croc_hum.schema import VOTE_NAMES, votes_schema
from croc_hum.votes.votes import (
    ADJUDICATOR_UNSURE,
    DISPUTED,
    NOT_SHOWN,
    TOO_FEW_VOTES,
    ExcludedAnnotator,
    Rule,
    add_vote_verdicts,
    check_votes,
    dawid_skene,
    decide,
    exclude_inattentive,
    read_votes,
)


def votes(answers: str, task: str = "shows", item: str = "i", **more: Any) -> list[dict[str, Any]]:
    """One vote per letter: y, n, u."""
    answers_by_letter = {"y": "yes", "n": "no", "u": "unsure"}
    return [
        {"item_id": item, "annotator": f"a{n}", "task": task, "answer": answers_by_letter[letter], **more}
        for n, letter in enumerate(answers)
    ]


def ruling(answer: str, item: str = "i") -> dict[str, Any]:
    return {
        "item_id": item,
        "annotator": "adjudicator",
        "task": "shows",
        "answer": answer,
        "role": "adjudicator",
    }


def decision(rows: list[dict[str, Any]], rule: Rule | None = None) -> tuple[str | None, str | None]:
    return (
        decide(check_votes(pl.DataFrame(rows, infer_schema_length=None)), rule)
        .select("verdict", "why")
        .row(0)
    )


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("yyy", ("yes", None)),
        ("yyn", ("yes", None)),  # two of three are two thirds
        ("ynn", ("no", NOT_SHOWN)),
        ("yyun", (None, DISPUTED)),  # two of four: unsure is a vote
        ("yy", (None, TOO_FEW_VOTES)),
        ("yynn", (None, DISPUTED)),
        ("uuu", (None, DISPUTED)),
    ],
)
def test_the_default_rule(answers: str, expected: tuple[str | None, str | None]) -> None:
    assert decision(votes(answers)) == expected


def test_an_adjudicator_settles_a_tie_and_their_last_word_counts() -> None:
    assert decision([*votes("yynn"), ruling("yes")]) == ("yes", None)
    assert decision([*votes("yynn"), ruling("unsure")]) == (None, ADJUDICATOR_UNSURE)
    early, late = (
        {**ruling(answer), "voted_at": when}
        for answer, when in (("no", "2026-01-01T00:00:00"), ("yes", "2026-01-02T00:00:00"))
    )
    assert decision([*votes("yynn", voted_at=None), late, early]) == ("yes", None)


@pytest.mark.parametrize(
    ("answers", "expected"), [("455", "yes"), ("112", "no"), ("333", None), ("334", None)]
)
def test_ratings_of_four_and_five_say_yes(answers: str, expected: str | None) -> None:
    rows = [
        {"item_id": "i", "annotator": f"a{n}", "task": "rating", "answer": a} for n, a in enumerate(answers)
    ]
    assert decision(rows)[0] == expected


def test_attention_checks_and_taken_back_votes_decide_nothing() -> None:
    rows = [*votes("yyy"), *votes("nnn", item="check", attention=True)]
    decided = decide(check_votes(pl.DataFrame(rows, infer_schema_length=None)))
    assert decided["item_id"].to_list() == ["i"]
    back = [*votes("yyy", undone=False), {**votes("n")[0], "annotator": "a0", "undone": True}]
    assert decision(back) == ("yes", None)


def test_dawid_skene_weighs_the_careful_above_the_careless() -> None:
    # Two annotators who always agree with each other, and three who answer at random: on the last item the
    # three outvote the two, and are not believed.
    careful = ["yes", "no"] * 15
    blind = [["yes", "yes", "no", "no"], ["yes", "no", "no", "yes"], ["no", "no", "yes", "yes"]]
    rows = []
    for number, answer in enumerate([*careful, "yes"]):
        item_votes = {"c1": answer, "c2": answer}
        item_votes |= {f"b{k}": of[number % 4] if number < 30 else "no" for k, of in enumerate(blind)}
        rows += [
            {"item_id": f"i{number:02}", "annotator": w, "task": "shows", "answer": a}
            for w, a in item_votes.items()
        ]
    frame = check_votes(pl.DataFrame(rows))
    last = pl.col("item_id") == "i30"
    assert decide(frame, Rule(min_share=0.6)).filter(last)["verdict"].to_list() == ["no"]
    assert decide(frame, Rule(min_share=0.9, method="dawid-skene")).filter(last)["verdict"].to_list() == [
        "yes"
    ]
    errors = dawid_skene(add_vote_verdicts(frame)).errors
    assert max(errors["c1"]) < 0.05 and min(errors["b0"]) > 0.3


def test_a_csv_reads_like_the_export(tmp_path: Path) -> None:
    file = tmp_path / "votes.csv"
    file.write_text(
        "item_id,annotator,task,answer,reason,duration_s,attention,voted_at,image_index\n"
        'i1,a1,shows,yes,"=HYPERLINK(""x"") 🐊 <b>",2.5,false,2026-01-02T03:04:05,3\n'
        "i1,a2,shows,no,,,,,\n",
        "utf-8",
    )
    frame = read_votes(file)
    assert frame.columns == list(VOTE_NAMES)
    assert frame["reason"].to_list()[0] == '=HYPERLINK("x") 🐊 <b>'  # free text stays what it is
    assert frame["duration_s"].to_list() == [2.5, None]
    assert frame["image_index"].to_list() == [3, None]
    assert str(frame["voted_at"][0]) == "2026-01-02 03:04:05+00:00"
    assert frame["concept_id"].to_list() == ["i1", "i1"]


GOOD = "item_id,annotator,task,answer\ni1,a1,shows,yes\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item,annotator,task,answer\ni1,a1,shows,yes\n", "missing column 'item_id'"),
        (
            "item_id,annotator,task,anwser\ni1,a1,shows,yes\n",
            "column 'answer'; did you mean 'anwser'",
        ),
        (GOOD + "i2,a1,shows,maybe\n", "row 2: answer of shows must be one of yes, no, unsure, not 'maybe'"),
        (GOOD + "i2,a1,rating,6\n", "row 2: answer of rating must be one of 1, 2, 3, 4, 5, not '6'"),
        (GOOD + "i2,a1,guess,yes\n", "row 2: task must be one of shows, rating, preference, not 'guess'"),
        (GOOD + "i1,a1,shows,no\n", "annotator 'a1' has two votes on item 'i1'"),
        (GOOD + "i2,=cmd|'/c calc'!A1,shows,yes\n", "row 2: annotator must not begin like a formula"),
        (GOOD + "@i,a1,shows,yes\n", "row 2: item_id must not begin like a formula"),
        (GOOD + "i2,,shows,yes\n", "row 2: annotator must not be empty"),
        ("item_id,annotator,task,answer,role\ni1,a1,shows,yes,king\n", "role must be one of annotator"),
        ("item_id,annotator,task,answer,duration_s\ni1,a1,shows,yes,long\n", "'long' is not a number"),
        (
            "item_id,annotator,task,answer,voted_at\ni1,a1,shows,yes,noon\n",
            "column 'voted_at': expected Datetime",
        ),
        ("item_id,annotator,task,answer,undone\ni1,a1,shows,yes,perhaps\n", "undone must be true or false"),
        ("item_id,annotator,task,answer,undone\ni1,a1,shows,yes,true\n", "there are no votes"),
        ("item_id,annotator,task,answer\n", "the table has no rows"),
    ],
)
def test_a_wrong_file_is_one_clear_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "votes.csv"
    file.write_text(text, "utf-8")
    with pytest.raises(InputError) as error:
        read_votes(file)
    assert message in str(error.value) and str(file) in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_no_parquet_or_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "votes.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"votes\.parquet: cannot be read as a Parquet file"):
        read_votes(tmp_path / "votes.parquet")
    with pytest.raises(InputError, match="no such file"):
        read_votes(tmp_path / "none.csv")


def test_the_columns_are_typed_as_the_export_is() -> None:
    frame = check_votes(pl.DataFrame(votes("y")))
    assert frame.to_arrow().schema.names == votes_schema().names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_votes": 0}, "must be at least 1"),
        ({"min_share": 0.5}, "above 0.5"),
        ({"method": "median"}, "the method must be one of"),
    ],
)
def test_a_rule_that_decides_nothing_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Rule(**settings)


# ---- Attention checks ----


def votes_with_attention_checks() -> pl.DataFrame:
    """a0 … a2 vote correctly on images 0 … 4; a3 always votes yes and passes 1 of 4 attention checks."""
    rows = [
        {"item_id": f"i{at}", "annotator": f"a{who}", "task": "shows", "category": "counting",
         "answer": "yes" if who == 3 or at < 4 else "no"}
        for at in range(5) for who in range(4)
    ]  # fmt: skip
    rows += [
        {"item_id": f"check{at}", "annotator": f"a{who}", "task": "shows", "attention": True,
         "expected": "yes" if at == 0 else "no", "answer": "yes" if at == 0 or who == 3 else "no"}
        for at in range(4) for who in (1, 2, 3)
    ]  # fmt: skip
    return check_votes(pl.DataFrame(rows))


def test_annotators_who_miss_attention_checks_are_excluded_and_named() -> None:
    frame = votes_with_attention_checks()
    assert exclude_inattentive(frame, Rule())[1] == ()
    heard, out = exclude_inattentive(frame, Rule(min_attention=0.75))
    assert out == (ExcludedAnnotator("a3", 1, 4),)
    # a0 saw no attention check and stays.
    assert set(heard["annotator"]) == {"a0", "a1", "a2"}
    assert exclude_inattentive(frame, Rule(min_attention=0.25))[1] == (), "a quarter is a quarter"
    before, after = decide(frame, Rule()), decide(heard, Rule())
    assert before["votes"].to_list() == [4] * 5 and after["votes"].to_list() == [3] * 5
    assert before["share"][4] == 0.75 and after["share"][4] == 1.0


def test_reports_name_excluded_annotators_and_count_without_them() -> None:
    rule = Rule(min_attention=0.75)
    plain, strict = (
        AgreementReport.of(votes_with_attention_checks(), r, Settings(resamples=0)) for r in (Rule(), rule)
    )
    alphas = [next(a.alpha.value for a in report.alphas if a.category is None) for report in (plain, strict)]
    # Without a3 all agree.
    assert alphas[1] == pytest.approx(1.0) and alphas[0] < 0.85
    assert {row.annotator: row.attention for row in plain.annotators}["a3"] == (1, 4)
    assert "a3" not in {row.annotator for row in strict.annotators}
    assert not any("excluded" in line for line in agreement_views.summarize(plain))
    assert agreement_views.summarize(strict)[0] == (
        "1 annotator is excluded: a3 (1 of 4 attention checks passed)"
    )
    assert strict.signature.get("rule") == "majority,3,0.667,attention0.75"
    assert plain.signature.get("rule") == "majority,3,0.667"
    sample = {"task": "shows", "population": {"": 5}, "source": {}}
    noise = LabelNoise.of(votes_with_attention_checks(), sample, rule)
    assert (noise.votes, noise.annotators, noise.left_out) == (15, 3, 1)
    assert any("1 annotator is excluded" in line for line in noise.lines())
    assert "less than 75% of their attention checks are excluded" in noise.rule


def test_without_counted_votes_there_is_no_report() -> None:
    alone = votes_with_attention_checks().filter(pl.col("annotator") == "a3")
    with pytest.raises(InputError, match="nor do the votes of excluded annotators"):
        AgreementReport.of(alone, Rule(min_attention=1.0))
