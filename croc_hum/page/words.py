"""What the page says, as HTML: everything that comes from a file or a person goes through :func:`text`."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from croc_hum.schema import plain_image
from croc_hum.votes.store import Offer

HERE = Path(__file__).parent
VERSION = "page-1"
"""Of the instructions; change it when their meaning changes, it is stored with every vote."""

QUESTIONS = {
    "shows": "Does the image show this?",
    "rating": "How well does the image show this?",
    "preference": "Which of the two fits the image?",
}
BUTTONS = {
    "shows": (("yes", "Yes", "y"), ("no", "No", "n"), ("unsure", "Unsure", "u")),
    "rating": (
        ("1", "1 not at all", "1"),
        ("2", "2 a little", "2"),
        ("3", "3 half", "3"),
        ("4", "4 mostly", "4"),
        ("5", "5 fully", "5"),
    ),
    "preference": (("first", "First", "1"), ("second", "Second", "2"), ("unsure", "Unsure", "u")),
}
"""Per task: what the button stands for, what is on it, its key."""

_OPEN = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;"})


def text(value: object) -> str:
    """A value as text in HTML, for a page whose templates give a meaning to ``$`` and braces, too."""
    return html.escape(str(value), quote=True).translate(_OPEN)


@cache
def example(name: str) -> str:
    """An image of the instructions as a data address."""
    return _address((HERE / "examples" / f"{name}.png").read_bytes())


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


def consent(contact: str, published: str, *, copied: bool = False) -> str:
    """What an annotator agrees to."""
    where = " A copy lies in a private data set on the Hugging Face Hub." if copied else ""
    return f"""<section class="words" aria-labelledby="consent-title">
<h1 id="consent-title">Does the picture show what the words say?</h1>
<p>You will see one image at a time, made by a computer, and say whether it fits a short text. Your answers
are used to test programs that are meant to judge such images. It takes a few seconds an image; stop when you
like.</p>
<h2>What is stored</h2>
<ul>
<li>Your answer, the reason if you write one, when you saw the image and when you answered, and the version
of this page.</li>
<li>A random name such as <code>a1b2c3d4e</code> that stands for you. <strong>No name, no e-mail, no
address of your device.</strong> Please write nothing about yourself into a reason.</li>
<li>In this browser: a code that is yours alone. With it you go on later or withdraw.</li>
</ul>
<h2>What happens to it</h2>
<ul>
<li>{text(published)}{where}</li>
<li>You may <strong>withdraw</strong> at any time, with your code, without giving a reason: all your answers
are deleted here and the stored data set is written again without them. Only the random name stays, in a list
that keeps your answers from coming back. “Stop for now” leads there.</li>
<li>What cannot be recalled: a version that was published before you withdrew, and copies of it that others
made. Later versions are without your answers.</li>
</ul>
<p>Some images may look odd or unpleasant. Take part only if you are 18 or older.
Questions: {text(contact)}.</p>
</section>"""


def instructions() -> str:
    """How to judge, with examples."""
    shown: tuple[tuple[str, str, str | tuple[str, str], str, str], ...] = (
        (
            "two",
            "A drawing of two orange cats beside a red ball at sunset",
            "two cats and a red ball",
            "Yes",
            "Everything that the text says is there, and as many.",
        ),
        (
            "three",
            "A drawing of three white cats, a red ball and a green basket",
            "two cats and a red ball",
            "No",
            "There are three cats. One wrong detail is enough for a no.",
        ),
        (
            "left",
            "A drawing of a small dog on the left of a big tree, by the sea",
            "a small dog to the right of a big tree",
            "No",
            "The dog stands on the left.",
        ),
    )
    shown += (
        ("three", "The drawing of three white cats again", "two cats and a red ball", "3 half",
         "Cats and a red ball are there, but their number is wrong."),
        ("left", "The drawing of the small dog again",
         ("a small dog to the left of a big tree", "a small dog to the right of a big tree"), "First",
         "The dog stands on the left."),
    )  # fmt: skip
    figures = "".join(
        f"""<li><figure><img src="{example(name)}" width="256" height="256" alt="{seen}"><figcaption>
<span class="quoted">{_quoted(prompt)}</span> <strong class="verdict">{answer}.</strong> {why}</figcaption>
</figure></li>"""
        for name, seen, prompt, answer, why in shown
    )
    return f"""<section class="words" aria-labelledby="how-title">
<h2 id="how-title">How to judge</h2>
<ul>
<li>The question is one of three: does the image show the text (yes, no, unsure), how well does it show it (1
to 5), or which of two texts fits.</li>
<li>Judge <strong>what the text says</strong>, not whether the image is pretty or real.</li>
<li>What the text does not mention is free: other things may be in the image.</li>
<li><strong>Unsure</strong> is an answer, too: when the image is too unclear, or the text can be read both
ways.</li>
<li>A few items are obvious on purpose; they show that somebody is looking.</li>
</ul>
<ol class="examples">{figures}</ol>
<h2>Keys</h2>
<p class="keys"><kbd>y</kbd> yes, <kbd>n</kbd> no, <kbd>u</kbd> unsure; <kbd>1</kbd> to <kbd>5</kbd> where you
rate, <kbd>1</kbd> or <kbd>2</kbd> where you choose; <kbd>b</kbd> back to change the last answer; <kbd>z</kbd>
larger image; <kbd>r</kbd> write a reason first, <kbd>Esc</kbd> to leave it. The keys can be switched off.</p>
</section>"""


def _quoted(prompt: str | tuple[str, str]) -> str:
    if isinstance(prompt, str):
        return f"“{text(prompt)}”"
    return f"First: “{text(prompt[0])}”<br>Second: “{text(prompt[1])}”"


def card(offer: Offer, look_for: Mapping[str, str]) -> str:
    """One item: image, question, prompt."""
    task, item = offer.item["task"], offer.item
    if task == "preference":
        order = (
            ("prompt", "contrast_prompt") if offer.shown_first == "prompt" else ("contrast_prompt", "prompt")
        )
        said = _two(zip(("First", "Second"), (item[column] for column in order), strict=True))
    else:
        said = f'<p class="prompt"><q dir="auto">{text(item["prompt"])}</q></p>'
    hint = look_for.get(item["category"] or "")
    hint = (
        f'<details class="hint"><summary>What to look at</summary><p>{text(hint)}</p></details>'
        if hint
        else ""
    )
    before = _before(offer)
    return f"""<article class="item" data-offer="{text(offer.offer)}" data-task="{task}"
 data-number="{offer.number}" aria-labelledby="question">
{_picture(offer.image, "Show the image larger (key z)")}
<div class="asked"><h1 id="question" tabindex="-1">{QUESTIONS[task]}</h1>{said}{before}{hint}</div>
</article>"""


def _picture(image: bytes, label: str) -> str:
    """The image as a button that shows it larger."""
    png, (width, height) = plain_image(image)
    return f"""<div class="picture"><button type="button" class="zoom" aria-label="{label}">
<img src="{_address(png)}" width="{width}" height="{height}" alt="The image to judge"></button></div>"""


def _two(texts: Iterable[tuple[str, object]]) -> str:
    """Prompts to choose between, each under its name."""
    quoted = "".join(
        f'<li><span class="which">{name}</span> <q dir="auto">{text(prompt)}</q></li>'
        for name, prompt in texts
    )
    return f'<ol class="two">{quoted}</ol>'


def _before(offer: Offer) -> str:
    if offer.answer is None:
        return ""
    answer: str = offer.answer
    if offer.item["task"] == "preference" and answer != "unsure":
        answer = "first" if answer == offer.shown_first else "second"
    return f'<p class="before">You had answered: <strong>{text(answer)}</strong></p>'


def progress(done: int, batch: int, limit: int | None) -> str:
    """How far somebody is."""
    whole = limit if limit is not None else batch * (done // batch + 1)
    here = min(done, whole)
    words = (
        f"{done} of {limit} done" if limit is not None else f"{done} done, {whole - done} to the next break"
    )
    return f"""<div class="progress"><label for="bar">{words}</label>
<progress id="bar" max="{whole}" value="{here}">{here} of {whole}</progress></div>"""


def note(message: str, *, wrong: bool = False, vote: str | None = None, then: str = "") -> str:
    """A line of the status region, which a screen reader speaks; ``then`` is spoken and not seen."""
    kind = "wrong" if wrong else "fine"
    saved = f' data-vote="{text(vote)}"' if vote else ""
    spoken = f'<span class="spoken"> {text(then)}</span>' if then else ""
    return f'<p class="note {kind}"{saved}>{text(message)}{spoken}</p>' if message else ""


def spoken(offer: Offer) -> str:
    """What a screen reader says when the next item comes."""
    item = offer.item
    if item["task"] == "preference":
        order = (item["prompt"], item["contrast_prompt"])
        first, second = order if offer.shown_first == "prompt" else order[::-1]
        return f"Next: first text, {first}. Second text, {second}."
    return f"Next text: {item['prompt']}"


def own_code(code: str) -> str:
    """The code, to copy."""
    return f'<p class="code">Your code <code id="own-code">{text(code)}</code></p>' if code else ""


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; cells are text."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{text('' if cell is None else cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    if not body:
        body = f'<tr><td colspan="{len(columns)}">nothing yet</td></tr>'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def paused(count: int) -> str:
    """Between two batches."""
    return f"""<section class="words"><h1>{count} done. Thank you!</h1>
<p>This is a good moment for a break. Everything is saved.</p></section>"""


def ended(count: int, *, whole: bool) -> str:
    """When nothing is left, or somebody stops."""
    head = "Nothing is left for you right now" if whole else "Stopped; everything is saved"
    more = (
        "Items that others leave unfinished come back; look in again later."
        if whole
        else "The open item went back to the others."
    )
    return f"""<section class="words"><h1>{head}</h1><p>You have judged {count} images. Thank you! {more}</p>
<p>Keep your code: with it you can go on later, also on another device, or withdraw. It is stored nowhere but
in your browser, and we cannot look it up.</p></section>"""


def to_decide(item: Mapping[str, Any] | None, left: int, store: Any) -> str:
    """An item that annotators disagree on, with what they said."""
    if item is None:
        return '<section class="words"><h2>To decide</h2><p>Nothing: no item is divided.</p></section>'
    if item["task"] == "preference":  # named as the buttons are, not as they stood on somebody's screen
        said = _two(
            (name, item[column]) for name, column in (("prompt",) * 2, ("contrast", "contrast_prompt"))
        )
    else:
        said = f'<p class="prompt"><q dir="auto">{text(item["prompt"])}</q></p>'
    given = table(
        "Votes on it",
        ("annotator", "answer", "reason", "seconds"),
        [(vote["annotator"], vote["answer"], vote["reason"], vote["duration_s"]) for vote in item["given"]],
    )
    return f"""<section class="item" aria-labelledby="deciding">
{_picture(store.image(item["item_id"]), "Show the image larger")}
<div class="asked"><h2 id="deciding">To decide ({left} left)</h2><p>{QUESTIONS[item["task"]]}</p>{said}</div>
</section>{given}"""
