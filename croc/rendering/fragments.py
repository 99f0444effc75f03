"""Shared by the web pages: readers of typed and uploaded input, and fragments of HTML.

Pages render a ``Report``, a ``Leaderboard``, an explanation or checks; no number is computed here. All text
goes through templates that escape it. What needs gradio is in :mod:`croc.rendering.gradio_app`.

    html = pages.report(evaluate(["scores.parquet"]))
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from markupsafe import Markup

from croc.checks.names import SYN_SAMPLE
from croc.checks.schema import IMAGE_COLUMNS
from croc.errors import InputError
from croc.rendering import page, weaknesses
from croc.rendering.card import card
from croc.rendering.formats import (
    agreement_lines,
    data_uri,
    further_columns,
    group_label,
    percent,
    values_last,
)
from croc.rendering.heatmap import heatmap_png
from croc.rendering.latex import latex
from croc.results.hub_metadata import eval_results_files
from croc.results.verified import LEVELS, VERIFIED, read_verified
from croc.storage.hub_access import can_be_repository, download_snapshot
from croc.storage.limits import PAGE
from croc.verdict.records import DIRECTION_NAMES, Result, Score
from croc.verdict.report import NO_VALUE

if TYPE_CHECKING:
    from PIL.Image import Image

    from croc.results.files import Failure
    from croc.results.leaderboard import Benchmark, Leaderboard
    from croc.verdict.report import Report

CHECKS = SYN_SAMPLE
"""Checks in the package, which a page shows by default."""

RESULTS = Path(__file__).parents[1] / "sample" / "results"
"""Score tables and results in the package: of these checks, and of some of NLVR."""

EXAMPLE_TABLE = RESULTS / "syn" / "colour-words.parquet"
COLUMNS = ("subset", "category", "property", "topic", "text_model", "image_model")
"""Columns that are offered for grouping; a score table may have others."""

MOST_PROMPTS = 8
LONGEST_PROMPT = 2_000
_LONGEST_SHOWN = 400
_TAGS = ("category", "property", "topic")
_USUAL = ("category", "property")
_THUMBNAIL = 256  # pixels

# The lowest probability of each level, its words and its step of colour.
MATCH_LEVELS = (
    (0.9, "clearly shown", 4),
    (0.65, "probably shown", 3),
    (0.35, "unclear", 2),
    (0.1, "probably not shown", 1),
    (0.0, "clearly not shown", 0),
)

NOT_TRUSTED = "drawings only: not to be trusted on this image"
"""What stands in place of a probability on an image that is unlike all that the model was trained on."""

DIRECTION_TEXT = {
    "forward_text": "Image A: does prompt A score higher than prompt B?",
    "inverse_text": "Image B: does prompt B score higher than prompt A?",
    "forward_image": "Prompt A: does image A score higher than image B?",
    "inverse_image": "Prompt B: does image B score higher than image A?",
}
DIRECTION_WHY = {
    "forward_text": "Which prompt belongs to an image: what caption filters and prompt searches rely on.",
    "inverse_text": "The same for the other image. Always preferring one prompt passes only one of the two.",
    "forward_image": "Which image belongs to a prompt: what choosing the best of several images relies on.",
    "inverse_image": "The same for the other prompt. Always preferring one image passes only one of the two.",
}


_VERIFIED_TITLES = {
    "table": "The numbers follow from the score table, which is its author's statement",
    "dataset": "The score table has exactly the images of the dataset; the scores are its author's statement",
    "scores": "A random sample of the checks was scored again, with the same scores",
}


class Level(NamedTuple):
    """A probability in words, and its step on the colour scale: 0 (not met) to 4 (met)."""

    words: str
    step: int


def level(probability: float) -> Level:
    """The words for a probability that an image shows something."""
    return next(Level(words, step) for least, words, step in MATCH_LEVELS if probability >= least)


# ---- Readers ----


def read_prompts(text: str | None, *, most: int = MOST_PROMPTS) -> list[str]:
    """Read prompts from a text field: one per line, without empty lines.

    Raises:
        InputError: there is none, there are too many, or one is too long.
    """
    prompts = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if not prompts:
        raise InputError("Enter a prompt first")
    if len(prompts) > most:
        raise InputError(f"{len(prompts)} prompts (one per line); at most {most} are allowed at once")
    for number, prompt in enumerate(prompts, 1):
        if len(prompt) > LONGEST_PROMPT:
            which = f"prompt {number}" if len(prompts) > 1 else "the prompt"
            raise InputError(
                f"{which} has {len(prompt):,} characters; at most {LONGEST_PROMPT:,} are allowed"
            )
    return prompts


def read_picture(path: str | None, name: str = "the image") -> Image:
    """An uploaded image as scorers see it.

    Raises:
        InputError: there is none, or it cannot be decoded; see :func:`croc.checks.decoding.decode`.
    """
    from croc.checks.decoding import decode, to_bytes

    if path is None:
        raise InputError(f"Add {name} first")
    try:
        return decode(to_bytes(path))
    except InputError as problem:
        message = str(problem).replace("the image", name, 1)
        if "cannot be read" in message:
            message = f"{name} is gone: add it again"
        raise InputError(message) from None


def evaluate_upload(path: str | None, by: Sequence[str] | None, paper: bool) -> Report:
    """The report on an uploaded score table.

    Args:
        path: the file.
        by: columns to break down by; none takes category and property, where the table has them.
        paper: the published computation.

    Raises:
        InputError: there is no file, or it cannot be evaluated; see
        :func:`croc.tables.readers.read_score_tables`.
    """
    from croc.results.files import existing_group_columns, has_values
    from croc.tables.readers import read_score_tables
    from croc.verdict.evaluation import evaluate_tables
    from croc.verdict.report import Settings

    if path is None:
        raise InputError("Add a score table first: Parquet, CSV or TSV")
    groups = list(by or ()) or existing_group_columns(Path(path))
    try:
        tables = read_score_tables([path], groups=groups, limits=PAGE, judges=True)
        wanted = by or [name for name in _USUAL if all(has_values(table.frame, name) for table in tables)]
        return evaluate_tables(tables, Settings(paper=bool(paper), by=tuple(wanted)))
    except InputError as problem:
        # The message names the file, but not the folders of the server.
        raise InputError(str(problem).replace(str(path), Path(path).name)) from None


def results_folder() -> Path:
    """Where results come from: ``CROC_RESULTS`` (a folder or a Hub dataset), else those of the package."""
    return source_folder("CROC_RESULTS", RESULTS)


def results_board() -> Leaderboard:
    """The leaderboard of :func:`results_folder`, with its list of verified results, if it has one."""
    from croc.results.leaderboard import leaderboard

    folder = results_folder()
    return leaderboard([folder], verified=read_verified(folder / VERIFIED))


def checks_source() -> str:
    """Checks to look at: ``CROC_CHECKS`` (whatever holds a dataset of checks), else those of the package."""
    return os.environ.get("CROC_CHECKS") or str(CHECKS)


def source_folder(variable: str, default: Path) -> Path:
    """The folder or the Hub dataset that an environment variable names, else the default one.

    Raises:
        InputError: it is neither.
    """
    named = os.environ.get(variable)
    if not named:
        return default
    if Path(named).is_dir():
        return Path(named)
    if "/" not in named or not can_be_repository(named):
        raise InputError(f"{variable}={named}: neither a folder nor a Hub id")
    return download_snapshot(named, patterns=["*.json"])


# ---- Fragments ----


@cache
def _macros() -> Any:
    environment = page.environment()
    environment.globals |= {
        "level": level,
        "direction_text": DIRECTION_TEXT,
        "direction_why": DIRECTION_WHY,
        "column_help": weaknesses.HELP,
        "of_the_metric": list(weaknesses.LABELS),
        "orders": ORDERS,
        "longest": _LONGEST_SHOWN,
        "not_trusted": NOT_TRUSTED,
        "verified_levels": LEVELS,
        "verified_titles": _VERIFIED_TITLES,
    }
    environment.filters |= {"words": group_label}
    return environment


def fragment(template_macro: str, *values: Any, **named: Any) -> str:
    """A macro of ``pages.html`` with its values filled in, escaped."""
    template = _macros().get_template("pages.html").module
    return f'<div class="croc">{getattr(template, template_macro)(*values, **named)}</div>'


def problem(error: Exception | str) -> str:
    """An error message, which screen readers read aloud."""
    message = str(error)
    if len(message) > _LONGEST_SHOWN:
        message = message[: _LONGEST_SHOWN - 1] + "…"
    return fragment("problem", message[:1].upper() + message[1:])


def note(text: str) -> str:
    """A remark."""
    return fragment("note", text)


def explanations(explained: Sequence[Any], *, calibrated: bool, outside: bool = False) -> str:
    """Prompts best first, with a scale, and with clauses coloured by how well the image shows them.

    Args:
        explained: objects with ``prompt, margin, probability, clauses``; see ``crocscore.model.Explanation``.
        calibrated: whether the probabilities were fitted to labelled pairs; else answers are shown instead.
        outside: whether the image is unlike all that the model was trained on: then no probability is shown.
    """
    best_first = sorted(explained, key=lambda explanation: -explanation.margin)
    return fragment(
        "explanations",
        [(each, coloured(each) if calibrated and not outside else each.prompt) for each in best_first],
        calibrated=calibrated,
        outside=outside,
        levels=MATCH_LEVELS,
    )


def coloured(explanation: Any) -> Markup:
    """The prompt as HTML, its clauses marked by colour."""
    out, at = Markup(""), 0
    for clause in explanation.clauses:
        out += explanation.prompt[at : clause.start]
        met = level(clause.probability)
        # The level is also in the text, for readers who cannot see the colours.
        out += Markup('<mark class="m{}" title="{}: {}">{}<sup>{}</sup></mark>').format(
            met.step, met.words, percent(clause.probability), clause.text, f"{clause.probability:.0%}"
        )
        at = clause.end
    return Markup(out + explanation.prompt[at:])


def contrast(
    prompts: tuple[str, str],
    margins: Any,
    probabilities: Any,
    passed: Mapping[str, float],
    remark: str,
    outside: Sequence[bool] = (False, False),
) -> str:
    """Two prompts by two images: the scores, and which of the four directions pass.

    Args:
        prompts: A and B.
        margins: [prompt][image].
        probabilities: the same, 0 to 1; None where there is none: the answer is shown then.
        passed: per direction, 1 passed, 0 failed, 1/2 a tie.
        remark: a further remark on the prompts; may be empty.
        outside: of image A and B, whether it is unlike all that the model was trained on.
    """
    values = margins, probabilities, passed, sum(passed.values())
    return fragment("contrast", marked_words(*prompts), *values, remark, outside)


def report(found: Report, downloads: Sequence[tuple[str, str, str]] = ()) -> str:
    """The results of a metric, with links to downloads.

    Args:
        found: the report.
        downloads: (what it is, file name, data URI).
    """
    shown = page.results_html(found)
    named = (s for s in found.scores if s.group == "property" and s.group_value not in (None, NO_VALUE))
    worst = sorted(
        (s for s in named if s.scaled is not None and not s.of_few_checks),
        key=lambda s: s.scaled or 0.0,
    )[:12]
    return fragment("report", found, Markup(shown), worst, downloads)


def downloads(found: Report) -> list[tuple[str, str, str]]:
    """The files of a report as data URIs (description, file name, data); none is stored on the server."""
    made = [
        ("Heatmap (PNG)", "croc-heatmap.png", "image/png", heatmap_png(found)),
        ("Table (LaTeX)", "croc-table.tex", "text/x-tex", latex(found).encode()),
        ("All numbers (JSON)", "croc-report.json", "application/json", found.to_json().encode()),
        ("Card (Markdown)", "croc-card.md", "text/markdown", card(found).encode()),
    ]
    for path, content in eval_results_files(found).items():
        made.append(("Results for the Hub (YAML)", Path(path).name, "application/yaml", content.encode()))
    return [(what, name, data_uri(data, kind)) for what, name, kind, data in made]


def checks(rows: Iterable[Mapping[str, Any]], about: str, notes: Mapping[str, str] | None = None) -> str:
    """Checks as cards: both prompts with their difference marked, and an image of each.

    Args:
        rows: columns of a dataset of checks, images undecoded.
        about: what is shown, in a sentence.
        notes: a remark per ``check_id``.
    """
    return fragment("checks", cards(rows, notes or {}), about)


def cards(rows: Iterable[Mapping[str, Any]], notes: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the cards of checks show; the arguments are those of :func:`checks`."""
    made = []
    for row in rows:
        both = marked_words(row["prompt"] or "", row["contrast_prompt"] or "")
        made.append(
            {
                "tags": dict.fromkeys(row[name] for name in _TAGS if row[name]),
                "prompts": both,
                "images": [thumbnail(row[side]) for side in IMAGE_COLUMNS],
                "note": notes.get(row["check_id"], ""),
            }
        )
    return made


def marked_words(first: str, second: str) -> tuple[Markup, Markup]:
    """Two prompts as HTML with marks on the words that differ."""
    a, b = (re.findall(r"\S+", text[:_LONGEST_SHOWN]) for text in (first, second))
    out: list[list[Any]] = [[], []]
    for kind, a0, a1, b0, b1 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        for side, words in ((0, a[a0:a1]), (1, b[b0:b1])):
            if words:
                text = " ".join(words)
                out[side].append(text if kind == "equal" else Markup("<mark>{}</mark>").format(text))
    return Markup(" ").join(out[0]), Markup(" ").join(out[1])


def thumbnail(images: Sequence[Any] | None) -> str | None:
    """The first image of a side as a data URI; None where there is none."""
    from croc.checks.decoding import to_bytes

    return _thumbnail(to_bytes(images[0])) if images else None


@lru_cache(maxsize=1024)
def _thumbnail(data: bytes) -> str:
    from croc.checks.decoding import decode

    image = decode(data)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    return data_uri(buffer.getvalue(), "image/webp")


# ---- The leaderboard ----


class Shown(NamedTuple):
    """Which scorers a leaderboard shows.

    Attributes:
        baselines: also baselines, which ignore the image, the text or both.
        trained: also scorers that were trained on checks of this kind.
        name: only those whose name holds this.
    """

    baselines: bool = True
    trained: bool = True
    name: str = ""

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the leaderboard is shown."""
        return (
            (self.baselines or not row["baseline"])
            and (self.trained or not row["trained_on_croc"])
            and self.name.strip().lower() in row["metric"].lower()
        )


EVERYONE = Shown()


class Order(NamedTuple):
    """How a leaderboard is ordered: highest number or first name at the top.

    Attributes:
        column: a key of ``ORDERS``.
        reverse: lowest number or last name at the top.
    """

    column: str = "scaled"
    reverse: bool = False

    @property
    def direction(self) -> Literal["ascending", "descending"]:
        """The value of ``aria-sort`` of the column's header."""
        return "ascending" if (self.column == "metric") != self.reverse else "descending"


BEST_FIRST = Order()

ORDERS = {
    "scaled": "mean",
    "metric": "scorer",
    **DIRECTION_NAMES,
    **{name: column.label for name, column in further_columns(Score).items()},
    **weaknesses.LABELS,
}
"""The columns of a ranking that order it, with their names for people."""


class _Numbers(NamedTuple):
    """The numbers of a report on a group of checks: scores per metric, results per metric and direction."""

    scores: Mapping[str, Score]
    results: Mapping[tuple[str, str], Result]

    def value(self, metric: str, column: str) -> float | None:
        if column in DIRECTION_NAMES:
            result = self.results.get((metric, column))
            return None if result is None else result.scaled
        score = self.scores.get(metric)
        return None if score is None else getattr(score, column)


def _numbers(benchmark: Benchmark, group: str | None) -> _Numbers:
    key = (None if group is None else "category", group)
    report = benchmark.report
    return _Numbers(
        {score.metric: score for score in report.scores if (score.group, score.group_value) == key},
        {
            (result.metric, result.direction): result
            for result in report.results
            if (result.group, result.group_value) == key and result.text_model is None
        },
    )


def ordered_metrics(benchmark: Benchmark, order: Order = BEST_FIRST, group: str | None = None) -> list[str]:
    """The metrics of a benchmark in an order; those without a number are last, equal ones by name.

    Args:
        benchmark: of a leaderboard.
        order: by which column.
        group: a category, whose numbers count; None is all checks.
    """
    names = sorted(benchmark.report.metrics, key=str.casefold)
    if order.column == "metric":
        return names[::-1] if order.reverse else names
    if order.column in weaknesses.LABELS:
        values = {row["metric"]: row[order.column] for row in benchmark.rows()}
    else:
        numbers = _numbers(benchmark, group)
        values = {name: numbers.value(name, order.column) for name in names}
    known = {name: value for name, value in values.items() if value is not None}
    best_first = sorted(known, key=lambda name: known[name], reverse=not order.reverse)
    return best_first + [name for name in names if name not in known]


def _sorted(rows: Iterable[dict[str, Any]], shown: Shown, metrics: Sequence[str]) -> list[dict[str, Any]]:
    place = {name: i for i, name in enumerate(metrics)}
    kept = [row for row in rows if shown.keeps(row)]
    return sorted(kept, key=lambda row: place.get(row["metric"], len(place)))


def ranking(
    benchmark: Benchmark,
    shown: Shown = EVERYONE,
    order: Order = BEST_FIRST,
    *,
    group: str | None = None,
    most: int | None = None,
) -> str:
    """One benchmark: scorers by directions, on all checks or on one category.

    The tables of a leaderboard are plain HTML that the server orders, and not ``gr.Dataframe`` (gradio 6.31),
    for three reasons. Its sorting needs a mouse: the button that opens the menu of a column has
    ``tabindex="-1"``, and no key opens the menu. Once a column is sorted, axe reports a serious
    ``aria-prohibited-attr`` on ``<span class="sort-indicator" aria-label="Sorted ascending">``, and the
    header has no ``aria-sort``; a style that hides the span hides the only mark of the order. It sorts a
    missing number as 0, which is chance level; here a missing number is last.

    Args:
        benchmark: of a leaderboard.
        shown: which scorers.
        order: of the rows.
        group: a category; None is all checks.
        most: only so many, from the top.
    """
    rows = _sorted(benchmark.rows(), shown, ordered_metrics(benchmark, order, group))[:most]
    numbers = _numbers(benchmark, group)
    return fragment("ranking", benchmark, rows, numbers.results, numbers.scores, order, group)


def categories(
    benchmark: Benchmark, shown: Shown = EVERYONE, order: Order = BEST_FIRST, *, group: str | None = None
) -> str:
    """One benchmark: scorers by categories, the rows ordered as those of :func:`ranking`."""
    rows = _sorted(benchmark.rows(), shown, ordered_metrics(benchmark, order, group))
    scores = {(s.metric, s.group_value): s for s in benchmark.report.scores if s.group == "category"}
    names = values_last(benchmark.groups("category"))
    return fragment("categories", benchmark, rows, names, scores)


def side_by_side(board: Leaderboard, shown: Shown = EVERYONE, metrics: Sequence[str] = ()) -> str:
    """Every benchmark in one row per scorer, with the rank agreement of syn and hum.

    Args:
        board: the leaderboard.
        shown: which scorers.
        metrics: names of scorers in the order of their rows; the others follow.
    """
    lines = [(pair, line) for pair in board.agreements for line in agreement_lines(pair.agreements[:1])]
    return fragment("side_by_side", board, _sorted(board.side_by_side(), shown, metrics), lines)


def findings(benchmark: Benchmark) -> str:
    """What the tests of a benchmark show, and how it was computed."""
    return fragment("findings", benchmark)


def failed_directions(failure: Failure) -> str:
    """Which directions of a check a metric failed, as a sentence."""
    return f"Fails {', '.join(DIRECTION_NAMES[name] for name in failure.failed)}."


def failures(
    benchmark: Benchmark, metric: str, known: Mapping[str, Mapping[str, Any]], most: int = 12
) -> str:
    """Checks that a scorer failed, with their images where the dataset is available.

    Args:
        benchmark: of a leaderboard.
        metric: one of its scorers.
        known: rows of the checks, by ``check_id``.
        most: how many are shown.
    """
    failed = benchmark.files[metric].failures
    shown = [failure for failure in failed if failure.check_id in known]
    notes = {failure.check_id: failed_directions(failure) for failure in shown}
    if not failed:
        return note(f"{metric} failed no check of {benchmark.name}.")
    if not shown:
        kinds = sorted({failure.category or failure.property or "other" for failure in failed})
        return note(
            f"{metric} failed {len(failed)} of the checks that its result names (of {', '.join(kinds)}); the "
            f"images of {benchmark.report.dataset.name} are not available here."
        )
    about = f"{min(len(shown), most)} of the checks that {metric} failed on {benchmark.name}."
    return checks((known[failure.check_id] for failure in shown[:most]), about, notes)


def plain(value: Any) -> Any:
    """A value that JSON can represent: NaN becomes null."""
    return json.loads(json.dumps(value, default=float, allow_nan=True), parse_constant=lambda _: None)
