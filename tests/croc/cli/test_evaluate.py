"""The commands that judge: what they write, and how they answer what cannot be judged."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from score_rows import check_rows, write
from table_files import BAD, GOOD, ROWS

from croc.cli import main


def run(*arguments):
    return CliRunner().invoke(main, [str(one) for one in arguments])


def refused(done):
    """Exit code 2 and one sentence on stderr, nothing else."""
    assert done.exit_code == 2, (done.output, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.output
    return lines[-1]


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_one_sentence_and_exit_code_2(tmp_path, case):
    name, content, fragments = BAD[case]
    file, target = tmp_path / name, tmp_path / "out.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run("evaluate", file, "--json", target)
    message = refused(done)
    assert message.startswith(f"croc: {file}")
    assert len(done.stderr.strip().splitlines()) == 1
    for fragment in fragments:
        assert fragment in message
    assert done.stdout == ""
    assert not target.exists()


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["evaluate"], "TABLE"),
        (["evaluate", "absent.tsv"], "no such file"),
        (["evaluate", "{file}", "--protocol", "simm"], "'simm'"),
        (["evaluate", "{file}", "--metric", "Vqa"], "did you mean 'vqa'"),
        (["evaluate", "{file}", "--by", "colour"], "'colour'"),
        (["evaluate", "{file}", "--by", "check_id"], "'check_id'"),
        (["evaluate", "{file}", "--seed", "-1"], "-1"),
        (["evaluate", "{file}", "--level", "2"], "2"),
        (["evaluate", "{file}", "--json", "{folder}"], "{folder}"),
        (["evaluate", "{file}", "--html", "{file}/below/x.html"], "{file}"),
        (["evaluate", "{empty}"], "no score table in this folder"),
        (["agree", "{file}", "--with", "{file}"], "two metrics"),
        (["correlate", "{file}", "--human", "x"], "'item_id'"),
        (["correlate", "{pairs}", "--human", "humans"], "did you mean 'human'"),
        (["correlate", "{pairs}", "--human", "human", "--cluster", "prompts"], "did you mean 'prompt'"),
        (["correlate", "{pairs}", "--human", "human", "--metric", "prompt"], "expected numbers"),
        (["correlate", "{pairs}", "--human", "human", "--seed", "-4"], "-4"),
        (["correlate", "{pairs}", "--human", "human", "--group", "item"], "each prompt has one row"),
        (["correlate", "{pairs}", "--human", "human", "--group", "prompt"], "'prompt' is not one of"),
        (["correlate", "{pairs}", "--human", "human", "--by", "kind"], "no column 'kind'"),
    ],
)
def test_a_wrong_option_is_said_in_a_sentence(tmp_path, arguments, fragment):
    file = write(tmp_path, "vqa", ROWS)
    (tmp_path / "empty").mkdir()
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("item_id,system,prompt,m,human\n1,s,p,0.5,1\n2,s,q,0.2,2\n3,s,r,0.1,0\n")
    known = {"file": file, "folder": tmp_path, "empty": tmp_path / "empty", "pairs": pairs}
    done = run(*(one.format(**known) for one in arguments))
    assert fragment.format(**known) in refused(done)


def test_every_form_is_written_and_the_verdict_printed(tmp_path):
    rows = [
        one
        for n in range(9)
        for one in check_rows(f"c{n}", [(2, 1)], [(1, 2 - n % 2 * 2)], subset="entity_variation")
    ]
    write(tmp_path / "t", "vqa", rows)
    write(tmp_path / "t", "clip", rows[::-1])
    out = {kind: tmp_path / "out" / f"r.{kind}" for kind in ("json", "html", "latex", "heatmap")}
    options = [item for kind, path in out.items() for item in (f"--{kind}", path)]
    done = run("evaluate", tmp_path / "t", "--resamples", 50, "--permutations", 50, "-v", *options)
    assert done.exit_code == 0, done.output
    assert all(path.stat().st_size for path in out.values())
    content = json.loads(out["json"].read_text())
    assert {one["metric"] for one in content["results"]} == {"vqa", "clip"}
    assert content["signature"] in done.stdout
    for word in ("vqa", "clip", "entity_variation", "Scaled accuracy", "100%"):
        assert word in done.stdout


def test_a_fresh_process_gives_the_same_numbers_and_no_traceback(tmp_path):
    write(tmp_path, "vqa", ROWS)
    command = [sys.executable, "-m", "croc", "evaluate", str(tmp_path), "--json"]
    for name in ("a.json", "b.json"):
        done = subprocess.run([*command, str(tmp_path / name)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    (tmp_path / "broken.parquet").write_bytes(GOOD[:-100])
    done = subprocess.run([*command, str(tmp_path / "c.json")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("croc: ")
    assert done.stderr.count("\n") == 1


def test_missing_scores_are_shown_as_coverage(tmp_path):
    rows = [dict(one) for one in ROWS]
    rows[0] |= {"prompt_score": None, "error": "no answer"}
    write(tmp_path, "vqa", rows)
    done = run("evaluate", tmp_path, "--resamples", 50, "--permutations", 50)
    assert done.exit_code == 0
    # 20 scores: text directions read 6 and 4, the image directions 5 each; the hole is read twice.
    assert "90%" in done.stdout
    assert "no answer: 1 row)" in done.stdout


def test_agreement_of_two_benchmarks(tmp_path):
    for folder in ("syn", "hum"):
        for metric, wins in (("a", 9), ("b", 5), ("c", 1)):
            rows = [
                one
                for n in range(10)
                for one in check_rows(
                    f"c{n}",
                    *(([(2, 1)], [(1, 2)]) if n < wins else ([(1, 2)], [(2, 1)])),
                    subset="entity_variation",
                )
            ]
            write(tmp_path / folder, metric, rows)
    done = run(
        "agree", tmp_path / "syn", "--with", tmp_path / "hum", "--resamples", 100, "--permutations", 0, "-v"
    )
    assert done.exit_code == 0, done.output
    assert "Rankings of 3 metrics: Kendall tau-b 1.00" in done.stdout
    assert "protocol:syn" in done.stdout


def test_correlations_are_printed_and_written(tmp_path):
    pairs = tmp_path / "pairs.csv"
    lines = [f"{n},s,p{n // 2},{n},{-n},{n * n}" for n in range(12)]
    pairs.write_text("\n".join(["item_id,system,prompt,up,down,human", *lines]) + "\n")
    target = tmp_path / "c.json"
    done = run(
        "correlate", pairs, "--human", "human", "--group", "none", "--json", target, "--resamples", 100, "-v"
    )
    assert done.exit_code == 0, done.output
    found = {(one["metric"], one["kind"]): one["value"] for one in json.loads(target.read_text())["results"]}
    assert found["up", "kendall"] == pytest.approx(1)
    assert found["down", "spearman"] == pytest.approx(-1)
    assert "cluster:prompt|clusters:6" in done.stdout


def rated(n=24):
    """Lines of a pair table of four images a prompt: one metric follows the ratings, the other does not."""
    return [
        f"i{k},{'abcd'[k % 4]},p{k // 4},{'xy'[k % 8 // 4]},{k % 5},{k * 7 % 11},{k % 5}" for k in range(n)
    ]


def test_the_grouping_stands_in_the_output_and_every_option_in_the_json(tmp_path):
    pairs, target = tmp_path / "pairs.csv", tmp_path / "c.json"
    header = "item_id,system,prompt,kind,good,noise,human"
    pairs.write_text("\n".join([header, *rated(), "i24,a,p6,x,,3,2", "i25,b,p6,x,1,4,"]) + "\n")
    common = ("correlate", pairs, "--human", "human", "--json", target)
    common += ("--resamples", 50, "--permutations", 50)
    done = run(*common)
    assert done.exit_code == 0, done.output
    assert "Coefficients compare only images of one prompt" in done.stdout
    assert "Missing scores are left out: good 1." in done.stdout
    assert "1 item without a rating in 'human' left out." in done.stdout
    assert "index of a data frame: 'kind'" in done.stderr
    options = ("--group", "system", "--average", "fisher", "--missing", "worst", "--by", "kind")
    done = run(*common, *options, "--test", "perm-both", "--metric", "noise", "--metric", "good")
    assert done.exit_code == 0, done.output
    content = json.loads(target.read_text())
    for part in ("group:system", "group_mean:fisher", "missing:worst", "test:perm-both50", "cluster:prompt"):
        assert part in content["signature"].split("|")
    assert {(one["by"], one["by_value"]) for one in content["results"]} == {
        (None, None),
        ("kind", "x"),
        ("kind", "y"),
    }
    assert "Correlation with human, kind y" in done.stdout
    assert "Missing scores count as the lowest score of the metric: good 1." in done.stdout


def test_the_row_index_of_pandas_is_no_metric(tmp_path):
    import pandas as pd

    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"item_id": [f"i{i}" for i in range(50)], "rating": rng.integers(1, 6, 50)})
    frame["mine"] = frame.rating + rng.normal(size=50)
    frame = frame[frame.index % 4 != 1]
    frame.to_parquet(tmp_path / "pairs.parquet")  # as __index_level_0__
    frame.to_csv(tmp_path / "pairs.csv")  # without a name
    pd.read_csv(tmp_path / "pairs.csv").to_csv(tmp_path / "again.csv", index=False)  # as Unnamed: 0
    for name, index in (
        ("pairs.parquet", "'__index_level_0__'"),
        ("pairs.csv", "''"),
        ("again.csv", "'Unnamed: 0'"),
    ):
        target = tmp_path / "c.json"
        options = ("--resamples", 20, "--permutations", 20, "--json", target)
        done = run("correlate", tmp_path / name, "--human", "rating", *options)
        assert done.exit_code == 0, done.output
        assert {one["metric"] for one in json.loads(target.read_text())["results"]} == {"mine"}
        assert f"index of a data frame: {index}" in done.stderr
        assert index not in done.stdout


def test_a_metric_with_decimal_commas_is_refused_by_name(tmp_path):
    pairs = tmp_path / "pairs.tsv"
    lines = [f"i{n}\t{n % 5}\t{n / 7:.3f}\t" + f"{n / 9:.3f}".replace(".", ",") for n in range(40)]
    pairs.write_text("\n".join(["item_id\trating\tmine\ttheirs", *lines]) + "\n")
    message = refused(run("correlate", pairs, "--human", "rating"))
    assert "'theirs', row 1: '0,000'" in message and "write decimals with a point" in message
    done = run("correlate", pairs, "--human", "rating", "--metric", "mine", "--resamples", 20)
    assert done.exit_code == 0, done.output


def test_a_metric_without_one_number_is_named(tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("\n".join(["item_id,m,h", *(f"i{n},nan,{n}" for n in range(1, 10))]) + "\n")
    done = run("correlate", pairs, "--human", "h", "--resamples", 50)
    assert done.exit_code == 0, done.output
    assert "Metrics without a finite score have no result: 'm'." in done.stdout
    assert "'m': there is no rating" in refused(run("correlate", pairs, "--human", "m"))


def test_one_side_of_a_published_category_is_half_a_table(tmp_path):
    name = "action_prompt_img_scores.tsv"
    header = "id\tprompt\tcontrast\tprompt_paths\tM___orig_text___orig_img\tM___contrast_text___orig_img"
    (tmp_path / name).write_text(f"{header}\naction_1\ta\tb\ta___b___m___0.png\t1\t0\n")
    message = refused(run("evaluate", tmp_path / name))
    assert name in message and "the contrast images of 'action'" in message
