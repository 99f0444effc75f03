"""What a reader of Markdown, HTML or LaTeX sees: tables and texts, taken out by a parser."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from markdown_it import MarkdownIt


@dataclass
class Table:
    """The cells of a table as plain texts, the rows of the head first."""

    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    caption: str = ""


def body_of(card):
    """A card without its metadata."""
    return card.split("\n---\n", 1)[1] if card.startswith("---\n") else card


def markdown_tokens(text):
    """The tokens of GitHub's Markdown as the Hub renders it: CommonMark and tables."""
    return MarkdownIt("commonmark").enable("table").parse(body_of(text))


def plain(token):
    """The text that an inline token shows."""
    return "".join(" " if child.type == "softbreak" else child.content for child in token.children)


def markdown_tables(text):
    """The tables of a Markdown text.

    Raises:
        AssertionError: a line that looks like the row of a table is not in one.
    """
    tables, cell = [], None
    for token in markdown_tokens(text):
        if token.type == "table_open":
            tables.append(Table())
        elif token.type in ("th_open", "td_open"):
            cell = token.type
        elif token.type == "tr_open":
            row = []
        elif token.type == "inline" and cell:
            row.append(plain(token))
            cell = None
        elif token.type == "tr_close":
            if tables[-1].head:
                tables[-1].rows.append(row)
            else:
                tables[-1].head = row
        elif token.type == "inline":
            assert not token.content.lstrip().startswith("|"), f"no table: {token.content[:80]}"
    return tables


def markdown_headings(text):
    """The headings of a Markdown text."""
    tokens = markdown_tokens(text)
    return [plain(tokens[i + 1]) for i, token in enumerate(tokens) if token.type == "heading_open"]


def markdown_items(text):
    """The texts of the list items of a Markdown text."""
    tokens = markdown_tokens(text)
    return [plain(tokens[i + 2]) for i, token in enumerate(tokens) if token.type == "list_item_open"]


class Page(HTMLParser):
    """The tags, the addresses, the texts and the tables of a page."""

    _EMPTY = frozenset({"meta", "img", "br", "i", "input", "link", "hr"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.tables, self._inside = [], [], [], []
        self.addresses = []
        self.feed(text)
        self.close()

    @property
    def text(self):
        """All text, joined."""
        return "".join(self.texts)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "action")]
        if tag not in self._EMPTY:
            self._inside.append(tag)
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self._row = []
        elif tag in ("th", "td"):
            self._row.append("")

    def handle_endtag(self, tag):
        if tag in self._EMPTY:
            return
        assert self._inside.pop() == tag, f"<{tag}> is not closed in order"
        if tag == "tr":
            self._row = [cell.strip() for cell in self._row]
            if "thead" in self._inside:
                self.tables[-1].head = self._row
            else:
                self.tables[-1].rows.append(self._row)

    def handle_data(self, data):
        self.texts.append(data)
        if "caption" in self._inside:
            self.tables[-1].caption += data
        elif "tr" in self._inside and self._row:
            self._row[-1] += data


_LATEX_RULES = r"\\(?:toprule|midrule|bottomrule|addlinespace)"
_LATEX_MARKUP = r"\\(?:mathbf|textbf|textit|scriptsize)\b"
_LATEX_LETTERS = {
    r"\_": "_",
    r"\&": "&",
    r"\%": "%",
    r"\#": "#",
    r"\textbar{}": "|",
    "$": "",
    "{": "",
    "}": "",
}


def latex_tables(source):
    """The tables of LaTeX source with booktabs: rows as texts, a cell over several columns once.

    Raises:
        AssertionError: braces, dollars or environments are not balanced, or a row lacks cells.
    """
    bare = re.sub(r"\\[\\{}$&%#_]", "", source)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    opened = []
    for kind, name in re.findall(r"\\(begin|end){(\w+)}", source):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    found = re.findall(r"\\begin{tabular}{([lr|]+)}\n(.*?)\\end{tabular}", source, re.DOTALL)
    assert source.count(r"\begin{tabular}") == len(found)
    return [_latex_table(spec, body) for spec, body in found]


def _latex_table(spec, body):
    columns = len(spec.replace("|", ""))
    head, *rest = re.split(r"\\midrule", body)
    table = Table(rows=[])
    for number, part in enumerate((head, *rest)):
        lines = [line for line in re.sub(_LATEX_RULES, "", part).split("\\\\\n") if line.strip()]
        assert part.rstrip().endswith(("\\\\", r"\bottomrule"))
        for line in lines:
            assert not line.lstrip().startswith(("[", "*"))  # \\[ and \\* mean something else to LaTeX
            cells = re.split(r"(?<!\\)&", line)
            wide = sum(int(n) - 1 for n in re.findall(r"\\multicolumn{(\d+)}", line))
            assert len(cells) + wide == columns, line
            texts = [_latex_text(cell) for cell in cells]
            if number == 0:
                table.head += texts
            else:
                table.rows.append(texts)
    return table


def _latex_text(cell):
    text = re.sub(r"\\multicolumn{\d+}{\w}", "", re.sub(_LATEX_MARKUP, "", cell))
    for written, letter in _LATEX_LETTERS.items():
        text = text.replace(written, letter)
    return text.strip()


def rounded(value, decimals):
    """A JSON value with all its numbers rounded: sums differ in their last digits between machines."""
    if isinstance(value, float):
        return round(value, decimals)
    if isinstance(value, dict):
        return {key: rounded(one, decimals) for key, one in value.items()}
    return [rounded(one, decimals) for one in value] if isinstance(value, list) else value
