"""Ceilings: scorers that know the answer and ignore something reach them; none of their kind exceeds them."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from parsed import Page
from PIL import Image

import croc
from croc.checks.names import SYN_SAMPLE
from croc.checks.schema import DIRECTIONS
from croc.checks.sources import open_checks
from croc.cli import main
from croc.errors import InputError
from croc.scorers.baselines import Constant, ImageOnly, PromptLength, Random, TextOnly
from croc.scoring.run import ScoringSettings, score_dataset
from croc.verdict.ceilings import KINDS, Ceilings, bag_of_words, ceilings, without_numbers, words
from croc.verdict.directions import scaled_accuracy, syn_image, syn_text
from croc.verdict.evaluation import evaluate
from croc.verdict.report import Settings

OF_KIND = {kind.name: kind for kind in KINDS}
QUICK = Settings(by=("property",), resamples=0, flips=0)

PAIRS = [
    ("a red cube on a blue ball", "a blue cube on a red ball", "order"),  # the same words
    ("a dog bites a man", "a man bites a dog", "order"),
    ("a red dog", "a green dog", "colour"),
    ("two cats", "three cats", "number"),
    ("5 cups, and a plate", "7 cups and a plate", "number"),
    ("no cat", "a cat", "negation"),
    ("The man.", "the man", "order"),  # the same but for case and punctuation
]


def picture(number):
    """A different image for each number."""
    buffer = io.BytesIO()
    colour = (number % 256, number // 256 % 256, 7)
    Image.new("RGB", (4, 4), colour).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def number_of(image):
    red, green, _ = image.convert("RGB").getpixel((0, 0))
    return red + 256 * green


def make(pairs=PAIRS, counts=(2, 2), subset="property_variation", **more):
    """Checks of these prompts, each with its own images, and whose image is whose."""
    checks, owner = [], {}
    for number, (prompt, contrast, kind) in enumerate(pairs):
        sides = []
        for side, text in enumerate((prompt, contrast)):
            numbers = [1000 * side + 20 * number + i for i in range(counts[side])]
            owner |= dict.fromkeys(numbers, text)
            sides.append([picture(n) for n in numbers])
        checks.append(
            {
                "check_id": f"c{number}",
                "concept_id": f"k{number}",
                "prompt": prompt,
                "contrast_prompt": contrast,
                "images": sides[0],
                "contrast_images": sides[1],
                "subset": subset,
                "property": kind,
                **{name: values[number % len(values)] for name, values in more.items()},
            }
        )
    return checks, owner


class Oracle:
    """A scorer that knows whose image each is, and sees prompts and images as scorers of a kind do."""

    def __init__(self, kind, checks, owner, prefer="original"):
        self.name, self.kind, self.owner = "oracle", kind, owner
        prompt = {"original": "prompt", "contrast": "contrast_prompt"}[prefer]
        self.preferred = {check[prompt] for check in checks}

    def score(self, images, prompts):
        return np.array(
            [self._one(number_of(image), text) for image, text in zip(images, prompts, strict=True)]
        )

    def _one(self, image, text):
        if not self.kind.image:
            return float(text in self.preferred)
        # The image with the prompts that look the same: the preferred one counts as that of the image.
        own = self.owner[image]
        match = self.kind.text(own) == self.kind.text(text)
        return float(match) + 0.5 * float(match and own in self.preferred)

    def fields(self):
        return {}


def results(scorer, checks, folder, protocol, settings=QUICK):
    (table,) = score_dataset(checks, [scorer], folder, ScoringSettings(protocol=protocol))
    return evaluate([table], settings=settings)


@pytest.mark.parametrize("protocol", ["syn", "hum"])
@pytest.mark.parametrize("counts", [(1, 1), (3, 3)])
@pytest.mark.parametrize("name", OF_KIND)
def test_an_oracle_that_ignores_the_same_reaches_the_ceiling(tmp_path, name, counts, protocol):
    checks, owner = make(counts=counts, subset="property_variation" if protocol == "syn" else None)
    found = ceilings(open_checks(checks), by=["property"])
    assert found.signature.get("protocol") == protocol
    kind = OF_KIND[name]
    reports = {
        prefer: results(Oracle(kind, checks, owner, prefer), checks, tmp_path / prefer, protocol)
        for prefer in ("original", "contrast")
    }
    for ceiling in found.ceilings:
        if ceiling.scorer != name:
            continue
        assert ceiling.attained
        place = ceiling.group, ceiling.group_value
        for direction in DIRECTIONS:
            prefer = "original" if direction.startswith("forward") else "contrast"
            result = reports[prefer].result("oracle", direction, *place)
            assert result.accuracy == pytest.approx(ceiling.accuracy[direction], abs=1e-12), (
                place,
                direction,
            )
            assert result.scaled == pytest.approx(ceiling.scaled[direction], abs=1e-12)
        for report in reports.values():
            score = report.score("oracle", *place)
            assert score.scaled == pytest.approx(ceiling.mean, abs=1e-12)
            assert score.mean_accuracy == pytest.approx(ceiling.mean_accuracy, abs=1e-12)
            assert score.group_score == pytest.approx(ceiling.group_score)
            assert score.n == ceiling.checks


def test_the_ceilings_by_hand():
    checks, _ = make(subset=None)
    found = {ceiling.scorer: ceiling for ceiling in ceilings(open_checks(checks)).overall}
    assert {name: one.same_prompts for name, one in found.items()} == {
        "bag of words": 3,  # two swaps, and "The man." against "the man"
        "numbers ignored": 3,  # two and three cats, 5 and 7 cups, the man
        "text only": 0,
        "image only": 7,
    }
    bag = found["bag of words"]
    # Three of seven tie in text directions, accuracy (4 + 3/2)/7, and pass one of the two image directions.
    assert bag.accuracy == {
        "forward_text": pytest.approx(5.5 / 7),
        "inverse_text": pytest.approx(5.5 / 7),
        "forward_image": 1,
        "inverse_image": 1,
    }
    assert bag.mean_accuracy == pytest.approx((5.5 / 7 + 5.5 / 7 + 1 + 4 / 7) / 4)
    assert bag.mean == pytest.approx(4 / 7) and bag.group_score == pytest.approx(4 / 7)
    for name in ("text only", "image only"):
        numbers = found[name].mean, found[name].mean_accuracy, found[name].group_score
        assert numbers == pytest.approx((0, 0.5, 0), abs=1e-12)
    assert found["image only"].scaled == dict(zip(DIRECTIONS, (0, 0, 1, 1), strict=True))
    assert found["text only"].scaled == dict(zip(DIRECTIONS, (1, 1, 0, 0), strict=True))


@pytest.mark.parametrize("protocol", ["syn", "hum"])
@pytest.mark.parametrize("counts", [(1, 1), (2, 2), (1, 3)])
def test_no_baseline_exceeds_its_ceiling(tmp_path, counts, protocol):
    checks, _ = make(PAIRS * 6, counts, "property_variation" if protocol == "syn" else None, text_model="ab")
    found = {ceiling.scorer: ceiling for ceiling in ceilings(open_checks(checks)).overall}
    scorers = [
        *((TextOnly(seed, f"text {seed}"), "text only") for seed in range(3)),
        (PromptLength(), "text only"),
        *((ImageOnly(seed, f"image {seed}"), "image only") for seed in range(3)),
        *((Constant(), name) for name in OF_KIND),
        *(
            (SeesLess(OF_KIND[name], seed), name)
            for name in ("bag of words", "numbers ignored")
            for seed in range(3)
        ),
    ]
    for number, (scorer, name) in enumerate(scorers):
        report = results(scorer, checks, tmp_path / str(number), protocol, replace(QUICK, by=()))
        score = report.ranking[0]
        assert score.scaled <= found[name].mean + 1e-12, (scorer.name, name)
        assert score.mean_accuracy <= found[name].mean_accuracy + 1e-12
        assert score.group_score <= found[name].group_score
        for direction in DIRECTIONS:
            result = report.result(score.metric, direction)
            assert result.accuracy <= found[name].accuracy[direction] + 1e-12
            assert result.scaled <= found[name].scaled[direction] + 1e-12


class SeesLess(Random):
    """A random number from the image and what scorers of a kind see of the prompt."""

    def __init__(self, kind, seed):
        super().__init__(seed, f"random {seed}")
        self.kind = kind

    def encode_texts(self, prompts):
        seen = [self.kind.text(prompt) for prompt in prompts]
        return super().encode_texts(
            [repr(sorted(one) if isinstance(one, frozenset) else one) for one in seen]
        )


def every_verdict(free, counts):
    """(m, 4) verdicts and chances in syn of all scores 0, 1, 2 of one check.

    Args:
        free: whether the two prompts have scores of their own.
        counts: number of images per side.
    """
    k = sum(counts)
    scores = np.array(list(np.ndindex(*[3] * k * (1 + free))), float)
    prompt, contrast = scores[:, :k], scores[:, -k:]
    (p_o, p_c), (c_o, c_c) = (np.split(of, [counts[0]], axis=1) for of in (prompt, contrast))
    verdicts = syn_text(p_o, c_o), syn_text(c_c, p_c), syn_image(p_o, p_c), syn_image(c_c, c_o)
    both = np.concatenate([[v.value for v in verdicts], [v.chance for v in verdicts]])
    return np.unique(both.T, axis=0).reshape(-1, 2, 4)


@pytest.mark.parametrize("counts", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("equal", [1, 2])
def test_no_scores_at_all_exceed_the_ceiling_and_some_reach_it(equal, counts):
    """Every bag-of-words scorer with three values on one check that it can tell and some that it cannot."""
    checks, _ = make([*PAIRS[:equal], PAIRS[2]], counts)
    bag = ceilings(open_checks(checks)).overall[0]
    sums = every_verdict(True, counts)
    for _ in range(equal):
        sums = (sums[:, None] + every_verdict(False, counts)[None]).reshape(-1, 2, 4)
        sums = np.unique(np.round(sums, 9), axis=0)
    accuracy, chance = np.moveaxis(sums / (equal + 1), 1, 0)
    scaled = scaled_accuracy(accuracy, chance, np.array([True, True, False, False]))
    assert scaled.max(axis=0) == pytest.approx(list(bag.scaled.values()), abs=1e-6)
    assert accuracy.max(axis=0) == pytest.approx(list(bag.accuracy.values()), abs=1e-6)
    assert accuracy.mean(axis=1).max() == pytest.approx(bag.mean_accuracy, abs=1e-6)
    assert scaled.mean(axis=1).max() <= bag.mean + 1e-6
    assert scaled.mean(axis=1).max() == pytest.approx(bag.mean, abs=1e-6) or not bag.attained
    assert bag.attained or counts != (1, 1)


def test_checks_that_swap_two_prompts_lower_the_ceiling_of_text_only_scorers():
    pairs = [("a", "b", "x"), ("b", "a", "x"), ("a", "b", "x"), ("c", "d", "x")]
    checks, _ = make(pairs, subset=None)
    found = {ceiling.scorer: ceiling for ceiling in ceilings(open_checks(checks)).overall}
    assert found["text only"].accuracy["forward_text"] == found["text only"].accuracy["inverse_text"] == 0.75
    assert found["text only"].attained and found["text only"].mean == 0


def test_a_circle_of_prompts_leaves_an_upper_bound():
    checks, _ = make([("a", "b", "x"), ("b", "c", "x"), ("c", "a", "x")], subset=None)
    found = {ceiling.scorer: ceiling for ceiling in ceilings(open_checks(checks)).overall}
    assert not found["text only"].attained
    assert found["bag of words"].attained  # other images on every check


def test_images_on_both_sides_of_checks_leave_an_upper_bound():
    checks, _ = make([("a", "b", "x"), ("a", "b", "y")], subset=None)
    checks[1]["images"], checks[1]["contrast_images"] = checks[0]["contrast_images"], checks[0]["images"]
    found = ceilings(open_checks(checks))
    assert not any(one.attained for one in found.overall if one.scorer in ("bag of words", "image only"))
    alone = [one for one in found.ceilings if one.group == "property" and one.scorer == "bag of words"]
    assert len(alone) == 2 and all(one.attained for one in alone)


def test_a_benchmark_of_one_image_and_two_captions_has_forward_text_alone():
    checks, _ = make(counts=(1, 0), subset=None)
    (bag, *_) = ceilings(open_checks(checks)).overall
    assert bag.accuracy == {**dict.fromkeys(DIRECTIONS), "forward_text": pytest.approx(5.5 / 7)}
    assert bag.mean_accuracy == pytest.approx(5.5 / 7) and bag.mean == pytest.approx(4 / 7)
    assert bag.group_score == pytest.approx(4 / 7)


def test_checks_without_a_contrast_prompt_have_forward_image_alone():
    checks, _ = make(subset=None)
    for check in checks:
        check["contrast_prompt"] = None
    found = {ceiling.scorer: ceiling for ceiling in ceilings(open_checks(checks)).overall}
    assert found["image only"].mean == found["image only"].scaled["forward_image"] == 1
    assert found["text only"].mean == 0
    assert {one.same_prompts for one in found.values()} == {0}


def test_prompts_are_split_into_words_as_stated():
    assert words("The man's hat, and  a Dog!") == ["the", "mans", "hat", "and", "a", "dog"]
    assert bag_of_words("a dog and a cat") == bag_of_words("A cat, and a dog.")
    assert bag_of_words("a a b") != bag_of_words("a b b")
    assert without_numbers("two dogs") == without_numbers("12 dogs") != without_numbers("a dog")


def test_the_equal_pairs_of_sugarcrepe_are_those_that_are_known(shared_data):
    file = shared_data / "ratings" / "sugarcrepe_gpt4v" / "sugarcrepe_gpt4v.csv"
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    checks = [
        {
            "check_id": f"{row['split']} {row['id']}",
            "concept_id": row["filename"],
            "prompt": row["caption"],
            "contrast_prompt": row["negative_caption"],
            "images": [{"bytes": row["filename"].encode(), "path": None}],
            "contrast_images": [],
            "property": row["split"],
        }
        for row in rows
    ]
    found = ceilings(open_checks(checks))
    (bag, *_) = found.overall
    # 572 pairs are known to be equal as bags of words; the file has 7,512 pairs, the published set 7,511.
    assert (bag.same_prompts, bag.checks) == (572, 7512)
    assert bag.accuracy["forward_text"] == pytest.approx(1 - 572 / 2 / 7512) and bag.attained
    same = Counter({value: of[0].same_prompts for value, of in found.groupings["property"].items()})
    assert +same == Counter(swap_att=408, swap_obj=164)


def test_metrics_of_the_sample_keep_to_their_ceilings_or_are_of_another_kind():
    """The figures that the guide quotes; colour-words looks for words, whatever their order."""
    found = ceilings(open_checks(str(SYN_SAMPLE)), by=["property"])
    report = evaluate([Path(croc.__file__).parent / "sample" / "results" / "syn"], settings=QUICK)
    for ceiling in found.ceilings:
        if ceiling.scorer != "bag of words":
            continue
        place = ceiling.group, ceiling.group_value
        assert ceiling.attained and report.score("colour-words", *place).scaled <= ceiling.mean + 1e-12
    place = "property", "count_binding"
    (bag,) = [c for c in found.ceilings if c.scorer == "bag of words" and (c.group, c.group_value) == place]
    assert (round(found.overall[0].mean, 2), round(bag.mean, 2)) == (0.93, 0.56)
    assert report.score("crocscore-tiny", *place).scaled > bag.mean
    assert round(report.score("colour-words").scaled, 2) == 0.01


# ---- Command, file and page ----


def test_the_command_shows_the_ceilings_and_evaluate_shows_them_beside_a_report(tmp_path):
    from datasets import Dataset

    from croc.checks.schema import CHECK_COLUMNS, check_features

    checks, _ = make(text_model="ab", category=["action"])
    rows = [dict.fromkeys(column.name for column in CHECK_COLUMNS) | check for check in checks]
    Dataset.from_list(rows, features=check_features()).to_parquet(tmp_path / "checks" / "test.parquet")
    run = CliRunner()
    done = run.invoke(main, ["ceilings", str(tmp_path / "checks"), "-v", "--json", str(tmp_path / "c.json")])
    assert done.exit_code == 0, done.output
    found = Ceilings.from_dict(json.loads((tmp_path / "c.json").read_text("utf-8")))
    assert found == ceilings(open_checks(str(tmp_path / "checks")))
    assert set(found.groupings) == {"subset", "category", "property"}
    for ceiling in found.overall:
        assert ceiling.scorer in done.stdout
    assert found.tokenisation in done.stdout and str(found.signature) in done.stdout

    score_dataset(str(tmp_path / "checks"), [Random()], tmp_path / "scores", ScoringSettings())
    arguments = [str(tmp_path / "scores"), "--resamples", "0", "--permutations", "0"]
    page = tmp_path / "r.html"
    done = run.invoke(
        main, ["evaluate", *arguments, "--ceilings", str(tmp_path / "c.json"), "--html", str(page)]
    )
    assert done.exit_code == 0, done.output
    tables = [table for table in Page(page.read_text("utf-8")).tables if table.head[0] == "Scorer"]
    assert [row[0] for row in tables[0].rows] == list(OF_KIND)
    done = run.invoke(main, ["evaluate", *arguments, "--ceilings", str(tmp_path / "c.json"), "--paper"])
    assert done.exit_code == 2
    assert "ceilings are for the default mode, and the results have the mode paper" in done.stderr
    other = replace(found, signature=found.signature.without("checks"))
    (tmp_path / "other.json").write_text(other.to_json(), "utf-8")
    done = run.invoke(main, ["evaluate", *arguments, "--ceilings", str(tmp_path / "other.json")])
    assert done.exit_code == 2 and "the ceilings have checks None, the scores have 7" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "sim"}, "unknown protocol 'sim'"),
        ({"by": ["topic"]}, "no check has a value in the column 'topic'"),
    ],
)
def test_what_has_no_ceilings_is_refused(options, message):
    checks, _ = make()
    with pytest.raises(InputError, match=message):
        ceilings(open_checks(checks), **options)
