"""A contact sheet of checks: each prompt above its images, the contrast prompt and its images below.

It is a PNG for a README, or an HTML page that needs no other file. The words that differ are marked.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from croc.errors import InputError
from croc.storage.files import atomic
from croc_syn.stratified_rows import read_rows, sample_rows, shard_files

INK, SOFT, LINE, PAPER, BACK = "#1d2733", "#66717f", "#dfe4ea", "#ffffff", "#f4f6f8"
MARKS = {"original": "#0b63b5", "contrast": "#b3400a"}
"""Colours of the words that differ; both have a contrast of at least 5:1 on white."""

Words = list[tuple[str, bool]]
"""A prompt as words, each with whether it differs from the other prompt."""


@dataclass(frozen=True)
class Card:
    """One check on the contact sheet."""

    title: str
    sides: tuple[tuple[str, Words, list[bytes]], ...]


def sheet(
    folder: str | Path,
    out: str | Path,
    *,
    checks: int = 8,
    images: int = 1,
    columns: int = 4,
    width: int = 240,
    subset: str | None = None,
    category: str | None = None,
    property_name: str | None = None,
    seed: int = 0,
) -> Path:
    """Make a contact sheet.

    Args:
        folder: a finished folder of checks.
        out: the file; ``.png``, ``.html`` or ``.htm`` decides what is written.
        checks: how many, at most.
        images: images per side, at most.
        columns: checks per row.
        width: width of an image in pixels.
        subset: only of this subset.
        category: only of this category.
        property_name: only of this property.
        seed: another seed, other checks.

    Returns:
        The file.

    Raises:
        InputError: the folder is not finished, holds no such check, or the suffix is unknown.
    """
    out = Path(out)
    if out.suffix.lower() not in (".png", ".html", ".htm"):
        raise InputError(f"{out}: the name of a contact sheet ends in .png or .html")
    if min(checks, images, columns) < 1:
        raise InputError("a contact sheet needs at least one check, one image and one column")
    where = {"subset": subset, "category": category, "property": property_name}
    places = sample_rows(shard_files(folder), checks, seed=seed, where=where).places
    cards = [card_of(row, images) for row in read_rows(places)]
    with atomic(out) as temporary:
        if out.suffix.lower() == ".png":
            as_picture(cards, columns, width).save(temporary, format="PNG", optimize=True)
        else:
            temporary.write_text(as_page(cards, width), "utf-8")
    return out


def card_of(row: dict[str, Any], images: int) -> Card:
    """A row of a dataset of checks as a card."""
    names = [row["category"], row["property"]]
    title = " · ".join(dict.fromkeys(name for name in names if name)) or row["subset"] or "check"
    first, second = marked(row["prompt"], row["contrast_prompt"] or "")
    sides = (
        ("original", first, [image["bytes"] for image in row["images"][:images]]),
        ("contrast", second, [image["bytes"] for image in row["contrast_images"][:images]]),
    )
    return Card(title.replace("_", " "), sides)


def marked(prompt: str, contrast: str) -> tuple[Words, Words]:
    """The words of both prompts, each with whether it differs from the word at its position or by alignment.

    Prompts of equal length are mostly one sentence with words exchanged; an alignment would show words as
    moved.
    """
    first, second = prompt.split(), contrast.split()
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    same = [(block.a + i, block.b + i) for block in matcher.get_matching_blocks() for i in range(block.size)]
    if len(first) == len(second):
        in_place = [(i, i) for i, (a, b) in enumerate(zip(first, second, strict=True)) if a == b]
        same = max(in_place, same, key=len)
    kept = [{pair[side] for pair in same} for side in (0, 1)]
    return (
        [(word, index not in kept[0]) for index, word in enumerate(first)],
        [(word, index not in kept[1]) for index, word in enumerate(second)],
    )


# ---- As a picture ----

_GAP, _PAD, _SCALE = 18, 14, 2


def as_picture(cards: Sequence[Card], columns: int, width: int) -> Image.Image:
    """The cards as one picture, at twice the size so that it is sharp on any screen."""
    columns = max(1, min(columns, len(cards)))
    gap = _GAP * _SCALE
    rows = [cards[start : start + columns] for start in range(0, len(cards), columns)]
    shown = max((len(images) for card in cards for _, _, images in card.sides), default=1)
    drawn = [_pictures_of(row, width * _SCALE, shown) for row in rows]
    wide = drawn[0][0].width
    height = sum(row[0].height for row in drawn) + gap * (len(drawn) + 1)
    picture = Image.new("RGB", (columns * (wide + gap) + gap, height), BACK)
    pen = ImageDraw.Draw(picture)
    top = gap
    for row in drawn:
        for index, card in enumerate(row):
            left = gap + index * (wide + gap)
            frame = (left - _SCALE, top - _SCALE, left + wide, top + card.height)
            corner = Image.new("L", card.size, 0)
            ImageDraw.Draw(corner).rounded_rectangle((0, 0, wide - 1, card.height - 1), 9 * _SCALE, fill=255)
            pen.rounded_rectangle(frame, 10 * _SCALE, fill=PAPER, outline=LINE, width=_SCALE)
            picture.paste(card, (left, top), corner)
        top += row[0].height + gap
    return picture


def _pictures_of(cards: Sequence[Card], width: int, shown: int) -> list[Image.Image]:
    """The cards of one row, of equal size, so that their images are aligned."""
    pad, step, line = _PAD * _SCALE, 6 * _SCALE, 19 * _SCALE
    inner = shown * width + (shown - 1) * step
    title, font = _font(11 * _SCALE), _font(14 * _SCALE)
    texts = [[_wrapped(words, font, inner) for _, words, _ in card.sides] for card in cards]
    lines = [max(len(text[side]) for text in texts) for side in range(len(cards[0].sides))]
    head = pad + 20 * _SCALE
    height = head + sum(lines) * line + len(lines) * (2 * step + width) + pad
    pictures = []
    for card, text in zip(cards, texts, strict=True):
        picture = Image.new("RGB", (inner + 2 * pad, height), PAPER)
        pen = ImageDraw.Draw(picture)
        pen.text((pad, pad - 2 * _SCALE), _fitted(card.title.upper(), title, inner), font=title, fill=SOFT)
        top = head
        for (side, _, images), wrapped, count in zip(card.sides, text, lines, strict=True):
            _write(pen, wrapped, (pad, top), line, font, MARKS[side])
            top += count * line + step
            for index, data in enumerate(images[:shown]):
                with Image.open(io.BytesIO(data)) as image:
                    small = image.convert("RGB").resize((width, width), Image.Resampling.LANCZOS)
                left = pad + index * (width + step)
                picture.paste(small, (left, top))
                frame = (left, top, left + width - 1, top + width - 1)
                pen.rectangle(frame, outline=LINE, width=_SCALE)
            top += width + 2 * step
        pictures.append(picture)
    return pictures


def _write(
    pen: ImageDraw.ImageDraw,
    lines: Sequence[Words],
    place: tuple[int, int],
    step: int,
    font: ImageFont.FreeTypeFont,
    mark: str,
) -> None:
    top = place[1]
    for words in lines:
        left = float(place[0])
        for word, differs in words:
            pen.text((left, top), word, font=font, fill=mark if differs else INK)
            end = left + font.getlength(word)
            if differs:
                under = top + step - 3 * _SCALE
                pen.line((left, under, end, under), fill=mark, width=_SCALE)
            left = end + font.getlength(" ")
        top += step


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, its end replaced by an ellipsis where it is too long."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip(" ·") + "…"


def _wrapped(words: Words, font: ImageFont.FreeTypeFont, width: float) -> list[Words]:
    lines: list[Words] = [[]]
    used = 0.0
    for word, differs in words:
        size = font.getlength(word + " ")
        if lines[-1] and used + size > width:
            lines.append([])
            used = 0.0
        lines[-1].append((word, differs))
        used += size
    return lines


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise InputError(
            "this Pillow has no FreeType, so it cannot write text; write an .html contact sheet instead"
        )
    return font


# ---- As a page ----

_STYLE = f"""
body {{ margin: 0; background: {BACK}; color: {INK}; font: 15px/1.4 system-ui, sans-serif; }}
main {{ display: flex; flex-wrap: wrap; gap: {_GAP}px; padding: {_GAP}px; }}
article {{ background: {PAPER}; border: 1px solid {LINE}; border-radius: 10px; padding: {_PAD}px; }}
h2 {{ margin: 0 0 8px; font-size: 12px; font-weight: 600; letter-spacing: .04em;
  text-transform: uppercase; color: {SOFT}; }}
figure {{ margin: 0 0 12px; }}
figcaption {{ width: 0; min-width: 100%; margin-bottom: 6px; }}
mark {{ background: none; font-weight: 600; text-decoration: underline; text-underline-offset: 3px; }}
.original mark {{ color: {MARKS["original"]}; }}
.contrast mark {{ color: {MARKS["contrast"]}; }}
img {{ border: 1px solid {LINE}; margin-right: 6px; vertical-align: top; }}
"""


def as_page(cards: Sequence[Card], width: int) -> str:
    """The cards as one HTML page that holds its images."""
    articles = []
    for card in cards:
        figures = []
        for side, words, images in card.sides:
            caption = " ".join(
                f"<mark>{html.escape(word)}</mark>" if differs else html.escape(word)
                for word, differs in words
            )
            alt = html.escape(" ".join(word for word, _ in words), quote=True)
            pictures = "".join(
                f'<img width="{width}" height="{width}" alt="{alt}" '
                f'src="data:image/png;base64,{base64.b64encode(data).decode()}">'
                for data in images
            )
            figures.append(f'<figure class="{side}"><figcaption>{caption}</figcaption>{pictures}</figure>')
        articles.append(f"<article><h2>{html.escape(card.title)}</h2>{''.join(figures)}</article>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Checks</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(articles)}</main></body></html>\n"
    )
