"""CROC as a module of the ``evaluate`` library: can a text-to-image metric be trusted?"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import evaluate

import croc  # From: croc-t2i

if TYPE_CHECKING:
    from croc.verdict.report import Average, Report, Settings
    from croc.verdict.statistics import Correction

_CITATION = """\
@article{croc,
  title = {{CROC}: Contrastive Robustness Checks of Text-to-Image Metrics},
  journal = {arXiv preprint arXiv:2505.11314},
  year = {2025}
}
"""

_DESCRIPTION = """\
Contrastive robustness checks measure whether a text-to-image metric notices when an image and a prompt differ
in exactly one property. Each check has two prompts and images of both; the metric passes a direction when it
scores the matching pair higher. Scaled accuracy is 0 at chance level and 1 for a perfect metric.
"""

_ARGUMENTS = """
Evaluates a text-to-image metric. Give either metric and dataset, and the metric is run on the checks; or the
columns of a score table (check_id to error below), one row per image.

Args:
    metric: what to run: the name of a scorer (`croc scorers list`), a function (images, prompts) -> scores, a
        loaded evaluate module with images and prompts such as crocscore, an object with a method
        score(images, prompts), a pairwise judge, or a list of these.
    dataset: the checks to run it on: "croc/syn" or another Hub id, a folder, a datasets.Dataset or
        IterableDataset. Where the Hub has no croc/syn, it is the sample of CROCsyn in the package.
    config (str): configuration of the dataset, such as "mini" or "counting".
    split (str): split of the dataset; default: test, or the only one.
    revision (str): tag or commit of a Hub dataset.
    streaming (bool): read a Hub dataset over the network instead of downloading it first.
    max_checks (int): run on at most so many checks, evenly spaced; of an IterableDataset on the first ones.
    batch_size (int): pairs, images or texts at once; default: the scorer's own.
    options (dict): arguments of scorers given by name, such as {"device": "cpu"}.
    out (str): folder for the score tables; a second run resumes there. Default: nothing is kept.
{columns}    name (str): name of a metric that is given by its scores.
    protocol (str): "syn" (labels by construction) or "hum" (verified images); default: the configuration of
        this module, or what the data show.
    paper (bool): the published computation: ties lose, chance is 5/6 and 1/2.
    images (int): evaluate syn with so many images per side, averaged over all choices; default: all images.
    average (str): mean of a metric: "micro" pools the checks, "macro" gives each value of the first column of
        `by` the same weight; default: "micro", and with paper=True the published average.
    by (str or list of str): columns to group the results by, such as "category" or "property".
    resamples (int): number of bootstrap resamples, for findings; 0 gives no findings that need them.
    permutations (int): number of permutations of the tests; 0 gives no tests.
    seed (int): seed of the resamples and permutations; default: a fixed one.
    correction (str): adjustment of p values for many tests: "holm", or by the false discovery rate "bh"
        (Benjamini-Hochberg) or "by" (Benjamini-Yekutieli).
    level (float): confidence level of the intervals, from 0.5 to below 1.

Returns:
    score (float): mean scaled accuracy over the directions, -1...1; of several metrics that of the best.
    ci_low, ci_high (float): ends of its interval (95% by default); None below five concepts.
    accuracy (float): mean accuracy over the directions, 0...1.
    group_score (float): share of the checks passed in all four directions.
    ties, coverage (float): share of tied comparisons; share of the expected scores that are present.
    n (int): number of checks that were evaluated.
    directions (dict): per direction accuracy, scaled, chance, n, ties, coverage, ends of the intervals.
    groups (dict): per column of `by`, per value, the same numbers as for all checks.
    metrics (list of str): names of the metrics, best first.
    results (list of dict): per metric, direction, group and text model, the numbers of "directions".
    scores (list of dict): per metric and group, the mean over the directions with interval and rank.
    position_biases (list of dict): per pairwise judge, for prompts and for images, the share of comparisons
        whose answer follows the position, with interval.
    findings (list of str): what the tests show, in sentences.
    protocol (str): "syn" or "hum".
    signature (str): the settings under which the numbers hold; two numbers are comparable when their
        signatures differ in the scorer only.

Limitations:
    A high score shows that a metric notices single wrong properties, not that it ranks images as people do.
    Some labels of generated images (syn) are wrong. The labels of synthetic scenes are certain, but these are
    drawings of simple shapes, unlike the photographs that most metrics were made for. In the default mode a
    missing score lowers coverage and does not count as wrong: compare metrics of similar coverage.

Examples:

    >>> croc = evaluate.load("croc")
    >>> results = croc.compute(
    ...     check_id=["a", "a"], image_side=["original", "contrast"], image_index=[0, 0],
    ...     prompt_score=[0.9, 0.2], contrast_score=[0.3, 0.8], protocol="syn", resamples=0, permutations=0)
    >>> results["score"], results["directions"]["forward_text"]["accuracy"]
    (1.0, 1.0)

    A function of images and prompts is run on checks, here on a single one:

    >>> from PIL import Image
    >>> red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    >>> checks = [{"check_id": "b", "concept_id": "b", "prompt": "red", "contrast_prompt": "blue",
    ...     "images": [red], "contrast_images": [blue]}]
    >>> def redness(images, prompts):
    ...     seen = [image.getpixel((0, 0))[0] > 0 for image in images]
    ...     return [float(is_red == (prompt == "red")) for is_red, prompt in zip(seen, prompts)]
    >>> croc.compute(metric=redness, dataset=checks, protocol="hum", resamples=0, permutations=0)["accuracy"]
    1.0
"""


def _column_arguments() -> str:
    """The arguments that are columns of a score table, from their declaration."""
    from croc.tables.columns import REQUIRED_COLUMNS, SCORE_TABLE

    types = {"string": "str", "int32": "int", "float64": "float"}
    lines = []
    for column in SCORE_TABLE:
        optional = "" if column.name in REQUIRED_COLUMNS else ", optional"
        meaning = column.meaning.replace("null", "None")
        text = f"{column.name} (list of {types[column.kind]}{optional}): {meaning}."
        lines += textwrap.wrap(text, 110, initial_indent=" " * 4, subsequent_indent=" " * 8)
    return "\n".join(lines) + "\n"


_KWARGS_DESCRIPTION = _ARGUMENTS.replace("{columns}", _column_arguments())

_KEYS = ("metric", "direction", "group", "group_value", "text_model")
_RUN = ("config", "split", "revision", "streaming", "max_checks", "batch_size", "options", "out")
_EVALUATION = (
    "protocol",
    "paper",
    "images",
    "average",
    "by",
    "resamples",
    "permutations",
    "seed",
    "level",
    "correction",
)
_CONFIGS = ("default", "syn", "hum")


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Croc(evaluate.Metric):  # type: ignore[misc]
    """Evaluation of a text-to-image metric by contrastive robustness checks."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in _CONFIGS:
            raise ValueError(f"croc has the configurations {', '.join(_CONFIGS)}, not {self.config_name!r}")
        from croc.checks.columns import features
        from croc.tables.columns import SCORE_TABLE

        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=features(SCORE_TABLE),
            license="Apache-2.0",
            codebase_urls=[f"https://pypi.org/project/croc-t2i/{croc.__version__}/"],
            reference_urls=["https://arxiv.org/abs/2505.11314"],
        )

    def add(self, *, prediction: None = None, reference: None = None, **cells: Any) -> None:
        """Add one row of a score table; columns that are not given are empty."""
        row: dict[str, Any] = {name: [cell] for name, cell in cells.items()}
        self.add_batch(**row)

    def add_batch(self, *, predictions: None = None, references: None = None, **columns: Any) -> None:
        """Add rows of a score table; columns that are not given are empty."""
        super().add_batch(**_complete(columns))

    def compute(
        self,
        *,
        predictions: None = None,
        references: None = None,
        metric: Any = None,
        dataset: Any = None,
        **options: Any,
    ) -> dict[str, Any] | None:
        """Run a metric on a dataset of checks, or evaluate score rows; see the module's description."""
        from croc.tables.columns import SCORE_COLUMNS

        if (metric is None) != (dataset is None):
            raise ValueError("give metric and dataset together, or the columns of a score table")
        columns = {name: options.pop(name) for name in SCORE_COLUMNS if name in options}
        known = (*SCORE_COLUMNS, *_RUN, *_EVALUATION, "name")
        if unknown := [name for name in options if name not in known]:
            close = get_close_matches(unknown[0], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(_EVALUATION)}"
            raise ValueError(f"unknown argument {unknown[0]!r}; {hint}")
        if metric is not None:
            if columns or self.writer is not None:
                raise ValueError("give metric and dataset, or the columns of a score table, not both")
            return self._run(metric, dataset, **options)
        if only := [name for name in options if name in _RUN]:
            raise ValueError(f"{only[0]} is an option of running a metric: give it with metric and dataset")
        if columns:
            columns = _complete(columns)
        elif self.writer is None:
            raise ValueError("give metric and dataset, or the columns of a score table")
        results: dict[str, Any] | None = super().compute(**columns, **options)
        return results

    def _run(
        self,
        metric: Any,
        dataset: Any,
        config: str | None = None,
        split: str | None = None,
        revision: str | None = None,
        streaming: bool = False,
        max_checks: int | None = None,
        batch_size: int | None = None,
        options: Mapping[str, Any] | None = None,
        out: str | None = None,
        **evaluation_options: Any,
    ) -> dict[str, Any]:
        import tempfile
        from contextlib import nullcontext

        from croc.scoring.run import ScoringSettings, score_dataset
        from croc.verdict import evaluation

        if self.num_process > 1:
            raise ValueError(
                "a metric is run in one process here; give score rows of each process with add_batch, "
                "or run it with accelerate launch -m croc score"
            )
        protocol, settings = self._settings(**evaluation_options)
        with nullcontext(out) if out else tempfile.TemporaryDirectory(prefix="croc-") as folder:
            files = score_dataset(
                dataset,
                metric if isinstance(metric, list | tuple) else [metric],
                folder,
                ScoringSettings(protocol=protocol, batch_size=batch_size),
                config=config,
                split=split,
                revision=revision,
                streaming=streaming,
                max_checks=max_checks,
                options=options,
            )
            return _as_result(evaluation.evaluate(files, protocol=protocol, settings=settings))

    def _compute(self, *, name: str = "metric", **columns_and_options: Any) -> dict[str, Any]:
        import polars

        from croc.checks.schema import GROUP_COLUMNS
        from croc.tables.columns import SCORE_TABLE
        from croc.tables.metadata import ScoreMetadata
        from croc.tables.score_tables import score_table
        from croc.verdict.evaluation import evaluate_tables

        options = {key: columns_and_options.pop(key) for key in _EVALUATION if key in columns_and_options}
        protocol, settings = self._settings(**options)
        kinds = {"string": polars.String, "float64": polars.Float64}
        frame = polars.DataFrame(
            columns_and_options,
            schema_overrides={
                column.name: kinds[column.kind] for column in SCORE_TABLE if column.kind in kinds
            },
        ).with_columns(polars.col(polars.String).replace("", None))
        table = score_table(frame, ScoreMetadata(name), "score rows", protocol)
        if missing := [column for column in settings.by if column not in GROUP_COLUMNS]:
            raise ValueError(f"score rows have no column {missing[0]!r} to group by")
        return _as_result(evaluate_tables([table], settings))

    def _settings(
        self,
        *,
        protocol: str | None = None,
        paper: bool = False,
        images: int | None = None,
        average: Average | None = None,
        by: str | Sequence[str] = (),
        resamples: int = 2000,
        permutations: int = 10000,
        seed: int | None = None,
        level: float = 0.95,
        correction: Correction = "holm",
    ) -> tuple[str | None, Settings]:
        """The protocol and the settings of a report; the options have the defaults of ``croc evaluate``."""
        from croc.verdict.report import DEFAULT_SEED, Settings

        if protocol is None and self.config_name != "default":
            protocol = self.config_name
        settings = Settings(
            paper=_plain(paper),
            by=(by,) if isinstance(by, str) else tuple(by),
            resamples=_plain(resamples),
            flips=_plain(permutations),
            seed=DEFAULT_SEED if seed is None else _plain(seed),
            level=_plain(level),
            images=_plain(images),
            average=average,
            correction=correction,
        )
        return protocol, settings


def _plain(value: Any) -> Any:
    """A numpy scalar as a Python value."""
    return value.item() if hasattr(value, "item") else value


def _complete(columns: Mapping[str, Any]) -> dict[str, Any]:
    """All columns of a score table, with "" for None in text, which the library would refuse."""
    from croc.checks.rows import text_cell
    from croc.tables.columns import REQUIRED_COLUMNS, SCORE_TABLE

    missing = [name for name in REQUIRED_COLUMNS if columns.get(name) is None]
    if missing:
        raise ValueError(f"a score table needs the columns {', '.join(missing)}")
    rows = len(columns["check_id"])
    complete = {}
    for column in SCORE_TABLE:
        cells = columns.get(column.name)
        if column.kind == "string" and cells is not None:
            cells = [text_cell(cell, f"row {row}", column.name) for row, cell in enumerate(cells, 1)]
        if column.name not in REQUIRED_COLUMNS:
            cells = [None] * rows if cells is None else cells
            cells = ["" if cell is None else cell for cell in cells]
        complete[column.name] = cells
    return complete


def _as_result(report: Report) -> dict[str, Any]:
    """A Report as the flat dictionary that modules of ``evaluate`` return."""
    from croc.checks.schema import DIRECTIONS
    from croc.verdict.records import Score, display_columns

    content = report.to_dict()
    best = report.metrics[0]

    def numbers(group: str | None, value: str | None) -> dict[str, Any]:
        score = report.score(best, group, value)
        results = {direction: report.result(best, direction, group, value) for direction in DIRECTIONS}
        rows = {
            direction: {name: cell for name, cell in result.to_dict().items() if name not in _KEYS}
            for direction, result in results.items()
            if result is not None
        }
        return {
            "score": score.scaled,
            "ci_low": score.ci_low,
            "ci_high": score.ci_high,
            "accuracy": score.mean_accuracy,
            **{name: getattr(score, name) for name in display_columns(Score) if name != "scaled"},
            "directions": rows,
        }

    groups: dict[str, dict[str, Any]] = {}
    for score in report.scores:
        if score.metric == best and score.group is not None and score.group_value is not None:
            groups.setdefault(score.group, {})[score.group_value] = numbers(score.group, score.group_value)
    return {
        **numbers(None, None),
        "groups": groups,
        "metrics": list(report.metrics),
        "results": content["results"],
        "scores": content["scores"],
        "position_biases": content["position_biases"],
        "findings": [finding.text for finding in report.findings],
        "protocol": report.protocol,
        "signature": str(report.signatures[best] if len(report.metrics) == 1 else report.signature),
    }
