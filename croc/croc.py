"""CROC as a module of the ``evaluate`` library: can a text-to-image metric be trusted?"""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate

_CITATION = """\
@article{croc,
  title = {{CROC}: Contrastive Robustness Checks of Text-to-Image Metrics},
  journal = {arXiv preprint arXiv:2505.11314},
  year = {2025}
}
"""

_DESCRIPTION = """\
Contrastive robustness checks ask of a text-to-image metric: when an image and a prompt differ in exactly
one property, does the metric notice? Each check has two prompts and images of both; the metric passes a
direction when it scores the matching pair higher. Scaled accuracy is 0 for a scorer that sees nothing and 1
for a perfect one.
"""

_KWARGS_DESCRIPTION = """
Judges a metric, either by its scores or by running it.

Args:
    check_id (list of str): check of each row. With image_side, image_index, prompt_score and contrast_score
        these are the columns of a score table, a row per (check, image). Its other columns may be given too:
        concept_id (the unit of resampling), subset, category, property, property_path, topic, entity,
        text_model, image_model, error.
    image_side (list of str): "original" or "contrast": for which of the two prompts the image was made.
    image_index (list of int): number of the image on its side.
    prompt_score (list of float): the metric of the original prompt and the image; None if missing.
    contrast_score (list of float): the metric of the contrast prompt and the image; None if missing.
    metric: instead of scores, what to run: the name of a scorer, a function (images, prompts) -> scores, an
        object with a method score(images, prompts), or a list of these.
    dataset: the checks to run it on: a Hub id, a folder or a datasets.Dataset.
    dataset_config (str): configuration of the dataset.
    split (str): split of the dataset.
    protocol (str): "syn" (pseudo-labelled images) or "hum" (verified images); default: the configuration of
        this module, or what the data say.
    paper (bool): the published computation: ties lose, chance is 5/6 and 1/2.
    by (str or list of str): columns to break the verdict down by.
    resamples (int): of the bootstrap; 0 gives no intervals.
    flips (int): of the permutation tests; 0 gives no tests.
    seed (int): of both.

Returns:
    score (float): mean scaled accuracy over the directions, -1...1; of several metrics that of the best.
    directions (dict): per direction accuracy, scaled, chance, n, ties, coverage, ends of the intervals.
    results (list of dict): the same per metric, direction, group and text model.
    scores (list of dict): per metric and group the mean over the directions, with interval and rank.
    findings (list of str): what the tests show, in words.
    signature (str): the settings under which all this holds.

Examples:

    >>> croc = evaluate.load("croc")
    >>> verdict = croc.compute(
    ...     check_id=["a", "a"], image_side=["original", "contrast"], image_index=[0, 0],
    ...     prompt_score=[0.9, 0.2], contrast_score=[0.3, 0.8], protocol="syn", resamples=0, flips=0)
    >>> verdict["score"], verdict["directions"]["forward_text"]["accuracy"]
    (1.0, 1.0)
"""

_TEXT = (
    "concept_id",
    "subset",
    "category",
    "property",
    "property_path",
    "topic",
    "entity",
    "text_model",
    "image_model",
    "error",
)
_NEEDED = ("check_id", "image_side", "image_index", "prompt_score", "contrast_score")


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Croc(evaluate.Metric):  # type: ignore[misc]
    """Verdict about a text-to-image metric."""

    def _info(self) -> evaluate.MetricInfo:
        text, number = datasets.Value("string"), datasets.Value("float64")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "check_id": text,
                    "image_side": text,
                    "image_index": datasets.Value("int32"),
                    "prompt_score": number,
                    "contrast_score": number,
                    **dict.fromkeys(_TEXT, text),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2505.11314"],
        )

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
        """Judge score rows, or run a metric on a dataset of checks first; see the module's description."""
        if (metric is None) != (dataset is None):
            raise ValueError("give metric and dataset together, or the columns of a score table")
        if metric is not None:
            return self._run(metric, dataset, **options)
        columns = {name: options.pop(name) for name in (*_NEEDED, *_TEXT) if name in options}
        if columns:
            columns = _complete(columns)
        verdict: dict[str, Any] | None = super().compute(**columns, **options)
        return verdict

    def _run(
        self,
        metric: Any,
        dataset: Any,
        dataset_config: str | None = None,
        split: str | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        import tempfile

        from croc.scoring import score_dataset

        settings = self._options(**options)
        with tempfile.TemporaryDirectory(prefix="croc-") as folder:
            files = score_dataset(
                dataset,
                metric if isinstance(metric, list | tuple) else [metric],
                folder,
                config=dataset_config,
                split=split,
                protocol=settings["protocol"],
            )
            from croc.report import Report

            report = Report.from_files(files, protocol=settings["protocol"], settings=settings["settings"])
        return _plain(report)

    def _compute(
        self,
        check_id: Sequence[str],
        image_side: Sequence[str],
        image_index: Sequence[int],
        prompt_score: Sequence[float | None],
        contrast_score: Sequence[float | None],
        concept_id: Sequence[str],
        subset: Sequence[str],
        category: Sequence[str],
        property: Sequence[str],
        property_path: Sequence[str],
        topic: Sequence[str],
        entity: Sequence[str],
        text_model: Sequence[str],
        image_model: Sequence[str],
        error: Sequence[str],
        protocol: str | None = None,
        paper: bool = False,
        by: str | Sequence[str] = (),
        resamples: int = 2000,
        flips: int = 10000,
        seed: int | None = None,
        name: str = "metric",
    ) -> dict[str, Any]:
        import polars

        from croc.report import Report
        from croc.schema import ScoreMetadata
        from croc.tables import score_table

        settings = self._options(protocol, paper, by, resamples, flips, seed)
        empty = polars.col(polars.String).replace("", None)
        frame = polars.DataFrame(
            {
                "check_id": check_id,
                "image_side": image_side,
                "image_index": image_index,
                "prompt_score": prompt_score,
                "contrast_score": contrast_score,
                "concept_id": concept_id,
                "subset": subset,
                "category": category,
                "property": property,
                "property_path": property_path,
                "topic": topic,
                "entity": entity,
                "text_model": text_model,
                "image_model": image_model,
                "error": error,
            },
            schema_overrides={
                "prompt_score": polars.Float64,
                "contrast_score": polars.Float64,
                **dict.fromkeys(_TEXT, polars.String),
            },
        ).with_columns(empty)
        table = score_table(frame, ScoreMetadata(name), "score rows", settings["protocol"])
        return _plain(Report.judge([table], settings["settings"]))

    def _options(
        self,
        protocol: str | None = None,
        paper: bool = False,
        by: str | Sequence[str] = (),
        resamples: int = 2000,
        flips: int = 10000,
        seed: int | None = None,
    ) -> dict[str, Any]:
        from croc.report import DEFAULT_SEED, Settings

        if protocol is None and self.config_name in ("syn", "hum"):
            protocol = self.config_name
        columns = (by,) if isinstance(by, str) else tuple(by)
        seed = DEFAULT_SEED if seed is None else seed
        return {"protocol": protocol, "settings": Settings(paper, columns, resamples, flips, seed)}


def _complete(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns as the features want them: the library refuses None where it expects text."""
    missing = [name for name in _NEEDED if columns.get(name) is None]
    if missing:
        raise ValueError(f"a score table needs the columns {', '.join(missing)}")
    rows = len(columns["check_id"])
    texts = {name: [None] * rows if columns.get(name) is None else columns[name] for name in _TEXT}
    filled = {name: ["" if cell is None else cell for cell in column] for name, column in texts.items()}
    return {name: columns[name] for name in _NEEDED} | filled


def _plain(report: Any) -> dict[str, Any]:
    """A Report as the flat dictionary that modules of ``evaluate`` return."""
    from croc.schema import DIRECTIONS

    content = report.to_dict()
    best = report.metrics[0]
    overall = {
        row["direction"]: {k: row[k] for k in row if k not in ("group", "group_value", "text_model")}
        for row in content["results"]
        if row["metric"] == best and row["group"] is None and row["text_model"] is None
    }
    return {
        "score": report.score(best).scaled,
        "directions": {direction: overall[direction] for direction in DIRECTIONS},
        "results": content["results"],
        "scores": content["scores"],
        "findings": [finding.text for finding in report.findings],
        "signature": report.signatures[best] if len(report.metrics) == 1 else report.signature,
        "protocol": report.protocol,
    }
