"""The human benchmark end to end, offline: pairs → candidates → votes → agreement → release → evaluation.

Five annotators are simulated. They vote through the real store, know the truth from the oracle (the exact
world draws a fifth of the images wrong and says which), and err at known rates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from builders.candidates import attention_checks, of_build, of_pairs
from builders.verify import verify
from croc.checks.decoding import decode as decode_image
from croc.cli import main
from croc.errors import InputError
from croc.scoring.run import ScoringSettings, score_dataset
from croc.verdict.evaluation import evaluate
from croc_hum.agreement.agreement import AgreementReport
from croc_hum.agreement.label_noise import LabelNoise, read_sample
from croc_hum.agreement.rankings import rank_by_annotator
from croc_hum.agreement.vote_matrix import Settings
from croc_hum.candidates.prompts import load
from croc_hum.schema import read_items
from croc_hum.votes.store import Settings as StoreSettings
from croc_hum.votes.store import Store
from croc_hum.votes.votes import Rule, decide, read_votes
from croc_syn import world
from croc_syn.painting.settings import Images

RATES = ((0.05, 0.10), (0.10, 0.05), (0.15, 0.20), (0.02, 0.02), (0.25, 0.10))
"""Per annotator: probability of "no" where the image shows its prompt, and of "yes" where it does not."""

NOISE = 0.2

QUIET = ScoringSettings(progress=False)


class Oracle:
    """A scorer that knows the scene of every candidate: it is right about an image that shows its prompt."""

    name = "oracle"

    def __init__(self, items: Path) -> None:
        files = [item["image"] for item in read_items(items)]
        self.scenes = {decode_image(data).tobytes(): world.read_scene(data) for data in files}

    def score(self, images: Any, prompts: Any) -> np.ndarray:
        scenes = [self.scenes[image.tobytes()] for image in images]
        return np.array([float(world.satisfies(*pair)) for pair in zip(scenes, prompts, strict=True)])

    def fields(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True)
class Campaign:
    root: Path
    truth: dict[str, str]
    order: list[str]

    @property
    def items(self) -> Path:
        return self.root / "candidates"

    @property
    def file(self) -> Path:
        return self.root / "votes.parquet"

    @property
    def votes(self) -> pl.DataFrame:
        return read_votes(self.file)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    root = tmp_path_factory.mktemp("campaign")
    settings = Images(count=2, size=48, noise=NOISE)
    of_pairs(load(), root / "candidates", settings, attention=6, progress=False)
    rng = np.random.default_rng(7)
    order = []
    clock = iter(range(1_800_000_000, 1_900_000_000, 2))  # the time advances by two seconds per call
    with Store(root / "votes.sqlite", StoreSettings(overlap=5), clock=lambda: float(next(clock))) as store:
        store._db.execute("PRAGMA synchronous = OFF")  # faster; this test needs no durability
        store.add_items(read_items(root / "candidates"))
        truth = {item["item_id"]: item["expected"] for item in store.items()}
        # The order of items depends on the random pseudonym; the answers do not.
        draws = {name: rng.random(len(RATES)) for name in sorted(truth)}
        for number, (false_no, false_yes) in enumerate(RATES):
            annotator = store.add_annotator()
            order.append(annotator.name)
            while (offer := store.offer_item(annotator.code)) is not None:
                right = truth[offer.item["item_id"]]
                wrong = draws[offer.item["item_id"]][number] < (false_no if right == "yes" else false_yes)
                store.vote(
                    annotator.code, offer.offer_id, {"yes": "no", "no": "yes"}[right] if wrong else right
                )
        store.export(root / "votes.parquet")
    yield Campaign(root, truth, order)


@pytest.fixture(scope="module")
def release(campaign: Campaign) -> Path:
    out = campaign.root / "hum"
    done = CliRunner().invoke(
        main, ["hum", "release", str(campaign.file), "--items", str(campaign.items), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def report(campaign: Campaign) -> AgreementReport:
    return AgreementReport.of(campaign.votes, settings=Settings(resamples=200))


def test_the_error_rates_of_the_annotators_are_recovered(campaign: Campaign, report: AgreementReport) -> None:
    errors = {annotator.annotator: annotator.errors for annotator in report.annotators}
    estimated = np.array([errors[name] for name in campaign.order], float)
    # About 230 images show their prompt and 55 do not: three errors of a rate of 0.2 are 0.08 and 0.16.
    assert np.abs(estimated[:, 0] - np.array(RATES)[:, 0]).max() < 0.08
    assert np.abs(estimated[:, 1] - np.array(RATES)[:, 1]).max() < 0.16
    kinds = np.argsort(estimated[:, 0])
    assert (kinds[0], kinds[-1]) == (3, 4)


def test_agreement_counts_items_votes_and_hours(campaign: Campaign, report: AgreementReport) -> None:
    total = next(group for group in report.groups if group.category is None)
    assert (total.items, total.votes) == (284, 5 * 284)
    assert total.kept + total.discarded + total.undecided == total.items
    assert total.hours == pytest.approx(
        5 * 284 * 2 / 3600, rel=0.01
    )  # two seconds a vote, by the store's clock
    assert len(report.pairs) == 10
    assert sum(row.attention[1] for row in report.annotators) == 5 * 6
    (alpha,) = [row for row in report.alphas if row.category is None]
    assert alpha.alpha.low is not None and alpha.alpha.low < alpha.alpha.value < alpha.alpha.high


def test_the_label_noise_is_recovered(campaign: Campaign) -> None:
    noise = LabelNoise.of(campaign.votes, read_sample(campaign.items))
    drawn_wrong = np.mean(
        [campaign.truth[name] == "no" for name in campaign.truth if name in set(campaign.votes["item_id"])]
    )
    assert noise.low is not None and noise.low < NOISE < noise.high
    assert noise.share == pytest.approx(drawn_wrong, abs=0.06)
    assert sum(row.images + row.undecided for row in noise.properties) == 284


def test_the_release_loads_and_its_card_states_the_rule(campaign: Campaign, release: Path) -> None:
    from datasets import load_dataset

    assert verify(release) == []
    rows = load_dataset(str(release), split="test")
    decided = decide(campaign.votes)
    kept = int((decided["verdict"] == "yes").sum())
    assert sum(len(row["images"]) + len(row["contrast_images"]) for row in rows) == kept
    built = json.loads((release / "build.json").read_text())
    assert sum(built["images_dropped"].values()) == 284 - kept
    assert set(built["images_dropped"]) <= set(decided["why"])
    assert sum(len(row["votes"]) for row in rows) == 5 * 284  # every vote on every image of a released check
    one = rows[0]
    named = {vote["item"] for vote in one["votes"]}
    assert {f"original/{seed}" for seed in one["seeds"]} <= named
    card = (release / "README.md").read_text()
    assert (
        "does not show its prompt, by the votes" in card
        and "at least 3 votes" in card
        and "5 annotators" in card
    )


def test_the_agreement_of_a_check_is_the_share_of_votes_equal_to_the_decision(
    campaign: Campaign, release: Path
) -> None:
    from datasets import load_dataset

    row = load_dataset(str(release), split="test").remove_columns(["images", "contrast_images"])[0]
    decided = decide(campaign.votes.filter(pl.col("check_id") == row["check_id"])).drop_nulls("verdict")
    agreeing = decided.select(pl.when(pl.col("verdict") == "yes").then("yes").otherwise("no").sum()).item()
    assert row["agreement"] == pytest.approx(agreeing / decided["votes"].sum())


def test_a_release_is_scored_and_evaluated(campaign: Campaign, release: Path, tmp_path: Path) -> None:
    files = score_dataset(release, ["random"], tmp_path / "scores", QUIET)
    verdict = evaluate(files)
    assert verdict.protocol == "hum" and abs(verdict.scores[0].scaled or 1) < 0.3
    done = CliRunner().invoke(
        main, ["evaluate", str(tmp_path / "scores"), "--protocol", "hum", "--permutations", "100"]
    )
    assert done.exit_code == 0 and "hum protocol" in done.output


def test_metrics_are_ranked_by_annotator_and_corrected_for_wrong_labels(
    campaign: Campaign, tmp_path: Path
) -> None:
    files = score_dataset(
        campaign.items / "images", [Oracle(campaign.items), "random"], tmp_path / "scores", QUIET
    )
    rankings = rank_by_annotator(files, campaign.votes, resamples=100)
    assert [row.annotator for row in rankings.by_annotator] == sorted(campaign.order)
    assert {row.places[0].metric for row in rankings.by_annotator} == {"oracle"}
    assert len({row.images for row in rankings.by_annotator}) > 1
    oracle = next(row for row in rankings.corrected if row.metric == "oracle")
    # Wrong images show the other prompt here. The oracle fails on these only, so the correction gives 1.
    assert oracle.claimed == pytest.approx(1 - NOISE, abs=0.07)
    assert oracle.high == pytest.approx(1.0, abs=0.05)
    assert oracle.verified is not None and oracle.verified > oracle.claimed + 0.1
    # The same holds for the few wrong images that the votes kept.
    kept = decide(campaign.votes).filter(pl.col("verdict") == "yes")["item_id"]
    wrong = float(np.mean([campaign.truth[name] == "no" for name in kept]))
    assert rankings.remaining == pytest.approx(wrong, abs=0.025)
    assert oracle.verified_high is not None and oracle.verified <= oracle.verified_low <= oracle.verified_high  # type: ignore[operator]
    assert oracle.verified_high == pytest.approx(1.0, abs=0.03)
    text = "\n".join(rankings.lines())
    assert (
        "oracle is first by the votes of all annotators, and by the votes of 5 of 5 annotators alone" in text
    )


def test_the_command_writes_all_forms_of_the_report(campaign: Campaign, tmp_path: Path) -> None:
    page, numbers = tmp_path / "a.html", tmp_path / "a.json"
    arguments = ["hum", "agreement", str(campaign.file), "--items", str(campaign.items), "--resamples", "50"]
    done = CliRunner().invoke(main, [*arguments, "--html", str(page), "--json", str(numbers)])
    assert done.exit_code == 0, done.output
    for title in (
        "Krippendorff's alpha",
        "Working time and discarded images",
        "Pairs of annotators",
        "Label noise by property",
    ):
        assert title in done.output
    assert campaign.order[0] in page.read_text() and "<script" not in page.read_text()
    stored = json.loads(numbers.read_text())
    assert stored["rule"]["min_votes"] == 3 and stored["noise"]["images"] > 200


def test_votes_on_other_items_and_wrong_folders_are_one_clear_sentence(
    campaign: Campaign, tmp_path: Path
) -> None:
    unknown = tmp_path / "votes.csv"
    unknown.write_text("item_id,annotator,task,answer\nnobody,a1,shows,yes\n")
    run = lambda *arguments: CliRunner().invoke(main, ["hum", *map(str, arguments)])  # noqa: E731
    for command in (
        ("release", unknown, "--items", campaign.items, "--out", tmp_path / "out"),
        ("agreement", unknown, "--items", campaign.items),
    ):
        done = run(*command)
        assert (
            done.exit_code == 2 and "item 'nobody' has a vote but is not one of the candidates" in done.output
        )
    done = run("release", campaign.file, "--items", tmp_path, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "no Parquet file of items" in done.output
    report = tmp_path / "agreement.json"
    done = run("card", tmp_path, "--agreement", report)
    assert done.exit_code == 2 and "agreement.json: no such file" in done.output
    run("agreement", campaign.file, "--resamples", 0, "--json", report)
    done = run("card", tmp_path, "--agreement", report)
    assert done.exit_code == 2 and "no label noise in it" in done.output
    run("agreement", campaign.file, "--items", campaign.items, "--resamples", 0, "--json", report)
    done = run("card", tmp_path, "--agreement", report)
    assert done.exit_code == 2 and "not a finished folder of data" in done.output
    report.write_text('{"noise": {"share": 0.5}}')
    done = run("card", tmp_path, "--agreement", report)
    assert done.exit_code == 2 and "not the label noise" in done.output
    few = run(
        "release", campaign.file, "--items", campaign.items, "--min-votes", 6, "--out", tmp_path / "few"
    )
    assert few.exit_code == 2 and "no check could be built" in few.output and "too few votes" in few.output


def test_a_sample_of_a_build_puts_its_label_noise_on_the_card(tmp_path: Path) -> None:
    from builders.syn import build_exact

    build_exact(
        tmp_path / "syn", checks=30, images=1, size=48, noise=0.3, properties=("colour", "count", "negation"),
        progress=False,
    )  # fmt: skip
    of_build(tmp_path / "syn", tmp_path / "sample", checks=18, attention=0)
    sample = read_sample(tmp_path / "sample")
    assert sum(sample["population"].values()) == 30 and sum(sample["sampled"].values()) == 18
    items = list(read_items(tmp_path / "sample"))
    with pl.Config():
        pl.DataFrame(
            [
                {
                    **{name: item[name] for name in ("item_id", "task", "check_id", "property")},
                    "annotator": f"a{n}",
                    "answer": item["expected"],
                }
                for item in items
                for n in range(3)
            ]
        ).write_csv(tmp_path / "votes.csv")
    before = (tmp_path / "syn" / "manifest.json").read_bytes()
    file = str(tmp_path / "agreement.json")
    arguments = ["hum", "agreement", str(tmp_path / "votes.csv"), "--items", str(tmp_path / "sample")]
    done = CliRunner().invoke(main, [*arguments, "--json", file])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, ["hum", "card", str(tmp_path / "syn"), "--agreement", file])
    assert done.exit_code == 0, done.output
    card = (tmp_path / "syn" / "README.md").read_text()
    wrong = sum(item["expected"] == "no" for item in items)
    stored = json.loads((tmp_path / "syn" / "label_noise.json").read_text())
    assert stored["wrong"] == wrong > 0 and stored["images"] == 36
    assert "### Label noise measured by annotators" in card and "| colour |" in card
    assert verify(tmp_path / "syn") == []
    assert (tmp_path / "syn" / "manifest.json").read_bytes() == before  # score tables keep their meaning
    from builders.upload_files import collect

    files, left_out, _ = collect("syn", tmp_path / "syn", "org/syn")
    assert "label_noise.json" in {file.path for file in files} and not left_out
    build_exact(tmp_path / "other", checks=10, images=1, size=48, properties=("colour",), progress=False)
    refused = CliRunner().invoke(main, ["hum", "card", str(tmp_path / "other"), "--agreement", file])
    assert refused.exit_code == 2 and "the sample was taken from another build (syn)" in refused.output


def test_a_release_keeps_the_votes_of_excluded_annotators_and_counts_without_them(
    campaign: Campaign, tmp_path: Path
) -> None:
    """The votes of the fourth annotator are changed: every attention check is missed."""
    careless = campaign.order[3]
    missed = pl.when((pl.col("annotator") == careless) & pl.col("attention"))
    other = pl.when(pl.col("expected") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))
    passed = pl.when(pl.col("attention")).then("expected").otherwise("answer")
    campaign.votes.with_columns(missed.then(other).otherwise(passed).alias("answer")).write_parquet(
        tmp_path / "votes.parquet"
    )
    arguments = ["hum", "release", str(tmp_path / "votes.parquet"), "--items", str(campaign.items)]
    done = CliRunner().invoke(main, [*arguments, "--min-attention", "0.8", "--out", str(tmp_path / "hum")])
    assert done.exit_code == 0, done.output
    message = f"1 annotator is excluded: {careless} (0 of 6 attention checks passed)"
    assert message in (tmp_path / "hum" / "README.md").read_text()
    assert verify(tmp_path / "hum") == []
    from datasets import load_dataset

    rows = load_dataset(str(tmp_path / "hum"), split="test").remove_columns(["images", "contrast_images"])
    assert careless in {vote["annotator"] for row in rows for vote in row["votes"]}
    counted = campaign.votes.filter(
        (pl.col("annotator") != careless) & (pl.col("check_id") == rows[0]["check_id"])
    )
    decided = decide(counted).drop_nulls("verdict")
    agreeing = decided.select(pl.when(pl.col("verdict") == "yes").then("yes").otherwise("no").sum()).item()
    assert rows[0]["agreement"] == pytest.approx(agreeing / decided["votes"].sum())


def test_attention_checks_are_certain_and_balanced() -> None:
    checks = attention_checks(12, "shows")
    assert [check["expected"] for check in checks].count("yes") == 6
    for check in checks:
        scene = world.read_scene(check["image"]["bytes"])
        assert world.satisfies(scene, check["prompt"]) == (check["expected"] == "yes")
        assert world.satisfies(scene, check["contrast_prompt"]) == (check["expected"] == "no")
    assert {check["task"] for check in attention_checks(2, "rating")} == {"shows"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from-build", "x", "--label-noise", "0.1"), "--label-noise: --from-build generates no images"),
        (("--property", "colour"), "--subset and --property need --from-build"),
        (("--preset", "smal"), "did you mean 'small'?"),
        (("--category", "colour"), "no prompt pairs of category 'colour'"),
        (("--from-build", "nowhere"), "not a finished folder of checks"),
    ],
)
def test_candidates_refuses_what_does_not_go_together(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = CliRunner().invoke(main, ["hum", "candidates", *arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2 and message in done.output, done.output


def test_votes_on_several_tasks_need_a_choice(campaign: Campaign, tmp_path: Path) -> None:
    from builders.hum import build_voted

    first = campaign.votes.filter(~pl.col("attention")).head(1)
    rated = first.with_columns(
        pl.lit("rating").alias("task"), pl.lit("5").alias("answer"), pl.lit("z").alias("annotator")
    )
    pl.concat([campaign.votes, rated]).write_parquet(tmp_path / "votes.parquet")
    with pytest.raises(InputError, match=r"several tasks \(rating, shows\); choose one with --task"):
        build_voted(tmp_path / "votes.parquet", campaign.items, tmp_path / "out", progress=False)


def test_dawid_skene_releases_by_probability(campaign: Campaign) -> None:
    truth = pl.DataFrame({"item_id": list(campaign.truth), "truth": list(campaign.truth.values())})
    right = {}
    for method, share in (("majority", 2 / 3), ("dawid-skene", 0.9)):
        decided = decide(campaign.votes, replace(Rule(), method=method, min_share=share)).drop_nulls(
            "verdict"
        )
        both = decided.join(truth, on="item_id")
        right[method] = (both["verdict"] == both["truth"]).mean(), len(decided)
    assert right["dawid-skene"][0] >= right["majority"][0] - 0.01 > 0.9
    assert right["dawid-skene"][1] >= right["majority"][1]
