"""The texts of the page as HTML. Everything from a file or a person is escaped by :func:`escape`."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from croc.wording import counted
from croc_hum.schema import plain_image
from croc_hum.votes.store import Offer, Store

EXAMPLES = Path(__file__).parent / "examples"
PAGE_VERSION = "page-4"
"""Version of the instructions. It is stored with every vote: change it with the instructions."""

QUESTIONS = {
    "shows": "Does the image show this?",
    "rating": "How well does the image show this?",
    "preference": "Which of the two texts fits the image?",
}
BUTTONS = {
    "shows": (("yes", "Yes", "y"), ("no", "No", "n"), ("unsure", "Unsure", "u")),
    "rating": (
        ("1", "1 not at all", "1"),
        ("2", "2 a little", "2"),
        ("3", "3 partly", "3"),
        ("4", "4 mostly", "4"),
        ("5", "5 fully", "5"),
    ),
    "preference": (("first", "First", "1"), ("second", "Second", "2"), ("unsure", "Unsure", "u")),
}
"""By task: answer, label and key of each button."""

_SPECIAL = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;"})


def escape(value: object) -> str:
    """A value as text in HTML; escapes also ``$``, braces and backquotes, which gradio's templates use."""
    return html.escape(str(value), quote=True).translate(_SPECIAL)


@cache
def example_image(name: str) -> str:
    """An image of the instructions as a data URL."""
    return _data_url((EXAMPLES / f"{name}.png").read_bytes())


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


def consent(contact: str, published: str, *, copied: bool = False) -> str:
    """The consent form."""
    copy = " A copy is stored in a private dataset on the Hugging Face Hub." if copied else ""
    return f"""<section class="text" aria-labelledby="consent-title">
<h1 id="consent-title">Does the image show the text?</h1>
<p>You will see computer-generated images, one at a time, and say whether each of them matches a short text.
Your answers are used to test programs that rate such images. An image takes a few seconds. You can stop at
any time.</p>
<h2>What is stored</h2>
<ul>
<li>Your answer, your reason if you write one, the time when the image was shown, the time of your answer, and
the version of this page.</li>
<li>A random name such as <code>a1b2c3d4e</code> that stands for you. <strong>Your name, your e-mail address
and your IP address are not stored.</strong> To limit abuse, the server counts in its memory, for at most an
hour, how often somebody begins from the same network. Please do not write anything about yourself in a
reason.</li>
<li>In this browser: your personal code. With it you can resume later or withdraw.</li>
</ul>
<h2>How your answers are used</h2>
<ul>
<li>{escape(published)}{copy}</li>
<li>You can <strong>withdraw</strong> at any time with your code, without giving a reason: choose “Stop for
now”, then “Withdraw”. All your answers are then deleted here, and the stored dataset is written again without
them. Only the random name is kept, in a list that prevents your answers from being restored.</li>
<li>A version that was published before you withdrew cannot be recalled, nor can copies that others made of
it. Later versions do not contain your answers.</li>
</ul>
<p>Some images may look strange or unpleasant. Please take part only if you are 18 or older.
If you have questions, contact {escape(contact)}.</p>
</section>"""


@dataclass(frozen=True)
class _Example:
    image: str
    description: str
    texts: tuple[str, ...]
    answer: str
    explanation: str


_EXAMPLES = (
    _Example(
        "two",
        "A drawing of two orange cats and a red ball at sunset",
        ("two cats and a red ball",),
        "Yes",
        "Everything in the text is in the image, and the numbers are correct.",
    ),
    _Example(
        "three",
        "A drawing of three white cats, a red ball and a green basket",
        ("two cats and a red ball",),
        "No",
        "There are three cats. One wrong detail is enough for “No”.",
    ),
    _Example(
        "left",
        "A drawing of a small dog on the left of a big tree, by the sea",
        ("a small dog to the right of a big tree",),
        "No",
        "The dog is on the left.",
    ),
    _Example(
        "three",
        "The same drawing of three white cats",
        ("two cats and a red ball",),
        "3 partly",
        "There are cats and a red ball, but the number of cats is wrong.",
    ),
    _Example(
        "left",
        "The same drawing of the small dog",
        ("a small dog to the left of a big tree", "a small dog to the right of a big tree"),
        "First",
        "The dog is on the left.",
    ),
)


def instructions() -> str:
    """How to answer, with examples."""
    figures = "".join(
        f"""<li><figure><img src="{example_image(example.image)}" width="512" height="512"
 alt="{example.description}"><figcaption><span class="quoted">{_quote(example.texts)}</span>
 <strong>{example.answer}.</strong> {example.explanation}</figcaption></figure></li>"""
        for example in _EXAMPLES
    )
    return f"""<section class="text" aria-labelledby="instructions-title">
<h2 id="instructions-title">How to answer</h2>
<ul>
<li>There are three kinds of questions: whether the image shows the text (yes, no, unsure), how well it shows
the text (1 to 5), or which of two texts fits the image.</li>
<li>Consider only <strong>what the text says</strong>, not whether the image is beautiful or realistic.</li>
<li>The image may also show things that the text does not mention.</li>
<li>Answer <strong>Unsure</strong> when the image is too unclear, or when the text has more than one
meaning.</li>
<li>A few items have an obvious answer. They check that annotators pay attention.</li>
</ul>
<h2>Examples</h2>
<ol class="examples">{figures}</ol>
<h2>Keyboard shortcuts</h2>
<p class="shortcuts"><kbd>y</kbd> yes, <kbd>n</kbd> no, <kbd>u</kbd> unsure; <kbd>1</kbd> to <kbd>5</kbd> for
a rating; <kbd>1</kbd> or <kbd>2</kbd> for one of two texts; <kbd>b</kbd> undo the last answer; <kbd>z</kbd>
enlarge the image; <kbd>r</kbd> write a reason before you answer, <kbd>Esc</kbd> leave the field. The
shortcuts can be switched off below the answer buttons.</p>
</section>"""


def _quote(texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return f"“{escape(texts[0])}”"
    return f"First: “{escape(texts[0])}”<br>Second: “{escape(texts[1])}”"


def card(offer: Offer, hints: Mapping[str, str]) -> str:
    """One item: image, question, and one prompt or two.

    Args:
        offer: what is shown.
        hints: what an annotator should look at, by category.
    """
    item = offer.item
    prompts = (
        _prompt_list(zip(("First", "Second"), _ordered_prompts(offer), strict=True))
        if item["task"] == "preference"
        else _prompt(item["prompt"])
    )
    hint = hints.get(item["category"] or "")
    hint = (
        f'<details class="hint"><summary>What to look at</summary><p>{escape(hint)}</p></details>'
        if hint
        else ""
    )
    return f"""<article class="item" data-offer="{escape(offer.offer_id)}" data-task="{item["task"]}"
 data-number="{offer.number}" aria-labelledby="question">
{_image_button(offer.image, "Enlarge the image (key z)")}
<div class="question"><h1 id="question" tabindex="-1">{QUESTIONS[item["task"]]}</h1>{prompts}
{_previous_answer(offer)}{hint}</div></article>"""


def _ordered_prompts(offer: Offer) -> tuple[str, str]:
    """The two prompts of a preference in the order in which they are shown."""
    first, second = offer.item["prompt"], offer.item["contrast_prompt"]
    return (first, second) if offer.shown_first == "prompt" else (second, first)


def _image_button(image: bytes, label: str) -> str:
    """The image as a button that enlarges it."""
    png, (width, height) = plain_image(image)
    return f"""<div class="picture"><button type="button" class="zoom" aria-label="{label}">
<img src="{_data_url(png)}" width="{width}" height="{height}" alt="The image to label"></button></div>"""


def _prompt(prompt: object) -> str:
    return f'<p class="prompt"><q dir="auto">{escape(prompt)}</q></p>'


def _prompt_list(named_prompts: Iterable[tuple[str, object]]) -> str:
    """The prompts of a preference, each with its name."""
    entries = "".join(
        f'<li><span class="prompt-name">{name}</span> <q dir="auto">{escape(prompt)}</q></li>'
        for name, prompt in named_prompts
    )
    return f'<ol class="prompts">{entries}</ol>'


def _previous_answer(offer: Offer) -> str:
    if offer.answer is None:
        return ""
    answer: str = offer.answer
    if offer.item["task"] == "preference" and answer != "unsure":
        answer = "first" if answer == offer.shown_first else "second"
    return f'<p class="previous-answer">Your previous answer: <strong>{escape(answer)}</strong></p>'


def progress(done: int, batch: int, limit: int | None) -> str:
    """How many items an annotator has labelled."""
    total = limit if limit is not None else batch * (done // batch + 1)
    value = min(done, total)
    label = (
        f"{done} of {limit} done"
        if limit is not None
        else f"{done} done, {total - done} until the next break"
    )
    return f"""<div class="progress"><label for="progress">{label}</label>
<progress id="progress" max="{total}" value="{value}">{value} of {total}</progress></div>"""


def message(text: str, *, error: bool = False, vote: str | None = None, spoken: str = "") -> str:
    """A line of the status region.

    Args:
        text: the message; an empty one empties the region.
        error: whether it is an error.
        vote: id of the vote that it acknowledges.
        spoken: what only a screen reader reads after it.
    """
    kind = "error" if error else "success"
    attribute = f' data-vote="{escape(vote)}"' if vote else ""
    hidden = f'<span class="screen-reader"> {escape(spoken)}</span>' if spoken else ""
    return f'<p class="message {kind}"{attribute}>{escape(text)}{hidden}</p>' if text else ""


def spoken_item(offer: Offer) -> str:
    """What a screen reader reads when the next item is shown."""
    if offer.item["task"] == "preference":
        first, second = _ordered_prompts(offer)
        return f"Next: first text, {first}. Second text, {second}."
    return f"Next text: {offer.item['prompt']}"


def own_code(code: str) -> str:
    """The annotator's code, to be copied."""
    return f'<p class="code">Your code <code id="own-code">{escape(code)}</code></p>' if code else ""


def invitations(codes: Iterable[str]) -> str:
    """Invitation codes, one per line, to be copied."""
    lines = "\n".join(escape(code) for code in codes)
    return f'<pre class="codes" tabindex="0">{lines}</pre>'


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table whose cells are text."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape('' if cell is None else cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    if not body:
        body = f'<tr><td colspan="{len(columns)}">none yet</td></tr>'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def pause(count: int) -> str:
    """The break between two batches."""
    return f"""<section class="text"><h1>You have labelled {counted(count, "image")}. Thank you!</h1>
<p>This is a good time for a break. All your answers are saved.</p></section>"""


def end(count: int, *, stopped: bool) -> str:
    """The end: the annotator has stopped, or no item is left."""
    title, hint = (
        (
            "You have stopped. All your answers are saved.",
            "Open items are available to other annotators again.",
        )
        if stopped
        else (
            "There are no more items for you at the moment.",
            "Items that others do not finish become available again. Please come back later.",
        )
    )
    return f"""<section class="text"><h1>{title}</h1>
<p>You have labelled {counted(count, "image")}. Thank you! {hint}</p>
<p>Keep your code. With it you can resume later, also on another device, or withdraw. It is stored only in
your browser, and we cannot recover it.</p></section>"""


def disputed_item(item: Mapping[str, Any] | None, count: int, store: Store) -> str:
    """An item on which annotators disagree, with its votes.

    Args:
        item: a row of :func:`croc_hum.votes.votes.decide` with its votes in ``item_votes``; None if there is
            none.
        count: number of disputed items.
        store: holds the image.
    """
    if item is None:
        return """<section class="text"><h2>Disputed items</h2>
<p>There is no item to decide.</p></section>"""
    prompts = (
        # Named as the buttons of this view are; annotators saw them in either order.
        _prompt_list([("prompt", item["prompt"]), ("contrast", item["contrast_prompt"])])
        if item["task"] == "preference"
        else _prompt(item["prompt"])
    )
    votes = table(
        "Votes on this item",
        ("annotator", "answer", "reason", "seconds"),
        [
            (vote["annotator"], vote["answer"], vote["reason"], vote["duration_s"])
            for vote in item["item_votes"]
        ],
    )
    return f"""<section class="item" aria-labelledby="disputed-title">
{_image_button(store.image(item["item_id"]), "Enlarge the image")}
<div class="question"><h2 id="disputed-title">Disputed items ({count} to decide)</h2>
<p>{QUESTIONS[item["task"]]}</p>{prompts}</div></section>{votes}"""
