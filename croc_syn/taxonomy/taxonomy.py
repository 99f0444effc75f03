"""What can be contrasted, as data: topics, properties and entities, read from a YAML file.

``taxonomy.yaml`` beside this module is the default; a user's file has the same form (docs/taxonomy.md). What
the exact world can draw is declared in ``croc_syn.world``; a taxonomy only refers to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from croc.checks.schema import CATEGORIES
from croc.errors import InputError
from croc.storage.limits import YAML_FILE
from croc.storage.plain_yaml import LOADER, refuse_unsafe_yaml
from croc.storage.text_files import require_regular
from croc.wording import counted

DEFAULT_FILE = Path(__file__).with_name("taxonomy.yaml")

ROOT = "root"
"""In place of a topic's id: no topic is prescribed."""

CONTRASTS: Mapping[str, str] = MappingProxyType(
    {
        "swap_value": "One value of the property takes the place of another; everything else stays.",
        "replace": "One kind of thing, or one word, takes the place of another kind.",
        "exchange": "Two things exchange an attribute.",
        "reverse": "A relation turns into its opposite.",
        "recount": "A number changes.",
        "negate": "Something that one prompt says is present is absent in the other.",
        "remove": "Something that the first prompt mentions is left out.",
        "reorder": "The same words stand in another order.",
        "degrade": "The quality of the picture or of the wording is lowered.",
    }
)
"""How a property contrasts: the closed vocabulary of ``contrast``."""

Table = Literal["topics", "properties", "entities"]
TABLES: tuple[Table, ...] = ("topics", "properties", "entities")

# A taxonomy has four levels.
MAX_DEPTH = 8
# More problems than a person corrects at once.
MAX_SHOWN = 10


# ---- The schema ----


def _problem(message: str) -> PydanticCustomError:
    # The second argument is a template with {fields}; a file may contain braces, so the text goes in as a
    # value.
    return PydanticCustomError("taxonomy", "{message}", {"message": message})


def _quoted(word: str) -> str:
    return repr(word if len(word) <= 60 else word[:57] + "...")


def _hint(word: str, known: Collection[str]) -> str:
    close = get_close_matches(word[:60], known, n=1) if len(known) <= 2000 else []
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(known)}" if 0 < len(known) <= 30 else ""


def _unknown(word: str, known: Collection[str], what: str) -> str:
    return f"{_quoted(word)} is not {what}{_hint(word, known)}"


def _one_line(text: str) -> str:
    if text != text.strip() or not text.isprintable() or not text:
        raise _problem("expected one line of text without control characters and without spaces around it")
    return text


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    for value, times in Counter(values).items():
        if times > 1:
            raise _problem(f"{_quoted(value)} is listed {times} times")
    return values


def _one_of(known: Callable[[], Collection[str]], what: str) -> AfterValidator:
    def check(word: str) -> str:
        if word not in known():
            raise _problem(_unknown(word, known(), what))
        return word

    return AfterValidator(check)


@cache
def drawable() -> Mapping[Table, tuple[str, ...]]:
    """What the exact world can draw: its topics, its contrasts (under ``properties``) and its kinds."""
    from croc_syn import world

    tables = {"topics": world.TOPICS, "properties": world.CONTRASTS, "entities": world.KINDS}
    return MappingProxyType({table: tuple(sorted(tables[table])) for table in TABLES})


Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Branch = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*$", max_length=200)]
Line = Annotated[str, Field(max_length=500), AfterValidator(_one_line)]
Lines = Annotated[tuple[Line, ...], AfterValidator(_distinct)]
Contrast = Annotated[str, _one_of(lambda: CONTRASTS, "a kind of contrast")]
Category = Annotated[str, _one_of(lambda: CATEGORIES, "a hum category")]
ExactTopic = Annotated[str, _one_of(lambda: drawable()["topics"], "a topic of the exact world")]
ExactContrast = Annotated[str, _one_of(lambda: drawable()["properties"], "a contrast of the exact world")]
ExactKind = Annotated[str, _one_of(lambda: drawable()["entities"], "a kind of thing in the exact world")]


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Root(_Node):
    """How to describe that no topic is prescribed."""

    name: Line = "anything"
    definition: Line = "No topic is prescribed."


class Topic(_Node):
    """A subject area of pictures.

    Attributes:
        id: its key in the file; concept ids are made from it.
        name: for people.
        group: the group of topics to which it belongs.
        definition: one line.
        exact: the corresponding topic of the exact world, or None.
    """

    id: str
    name: Line
    group: str
    definition: Line
    exact: ExactTopic | None = None


class Property(_Node):
    """A property in which two prompts can differ.

    Attributes:
        id: its key in the file; concept ids are made from it.
        name: what a person reads.
        path: its branch in the tree of properties.
        definition: one line.
        contrast: how it contrasts, a key of ``CONTRASTS``.
        hum_category: the corresponding category of the human-supervised benchmark, or None.
        values: examples of values.
        exact: the contrast of the exact world that draws it, or None.
        exact_note: why the exact world cannot draw it.
    """

    id: str
    name: Line
    path: str
    definition: Line
    contrast: Contrast
    hum_category: Category | None = None
    values: Lines = ()
    exact: ExactContrast | None = None
    exact_note: Line | None = None

    @property
    def property_path(self) -> str:
        """Its place in the tree, for example ``object/appearance/colour``."""
        return f"{self.path}/{self.id}"


class Entity(_Node):
    """A thing, an animal or a person that a picture can show.

    Attributes:
        id: its key in the file; concept ids are made from it.
        name: what a person reads.
        topic: its home topic.
        definition: one line.
        parts: its parts.
        exact: the kind in the exact world that draws it, or None.
    """

    id: str
    name: Line
    topic: str
    definition: Line
    parts: Lines = ()
    exact: ExactKind | None = None


class Taxonomy(_Node):
    """Everything that can be contrasted.

    Attributes:
        version: version of the form of the file.
        name: for people, in reports.
        description: one line.
        root: how to describe that no topic is prescribed.
        groups: definition of each group of topics, by id.
        topics: by id.
        branches: definition of each inner node of the tree of properties, by path.
        properties: by id.
        entities: by id.
    """

    version: Literal[1]
    name: Line
    description: Line = "A taxonomy of contrasts."
    root: Root = Root()
    groups: dict[Id, Line]
    topics: Annotated[dict[Id, Topic], Field(min_length=1)]
    branches: dict[Branch, Line] = {}
    properties: dict[Id, Property] = {}
    entities: dict[Id, Entity] = {}


# ---- Reading ----


def load(path: str | Path | None = None) -> Taxonomy:
    """Read and check a taxonomy.

    Args:
        path: the file; None reads the one that comes with the package.

    Raises:
        InputError: the file cannot be read, is not plain YAML, or does not fit the schema. Each line of the
            message is one problem: file, line, path inside the file, and what was expected.
    """
    file = DEFAULT_FILE if path is None else Path(path)
    tree, lines = _parse(_text(file), file)
    if not isinstance(tree, dict):
        raise InputError(f"{file}, line 1: expected {', '.join(_keys_of(Taxonomy))}; found {_describe(tree)}")
    problems = list(_add_ids(tree))
    taxonomy = None
    try:
        taxonomy = Taxonomy.model_validate(tree)
    except ValidationError as error:
        problems += [_explain(detail) for detail in error.errors(include_url=False)]
    if taxonomy is not None:
        problems += _broken_references(taxonomy)
    if taxonomy is None or problems:
        raise InputError(_message(problems, lines, file))
    return taxonomy


_KeyPath = tuple[str | int, ...]
_Problem = tuple[_KeyPath, str]


def _text(file: Path) -> str:
    try:
        size = file.stat().st_size
        if size > YAML_FILE:
            raise InputError(f"{file} has {size:,} bytes; at most {YAML_FILE:,} are allowed")
        require_regular(file)
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); expected a taxonomy in YAML") from None
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{file}, line {line}: byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from None


def _parse(text: str, file: Path) -> tuple[Any, dict[_KeyPath, int]]:
    """Plain data, and the line number of each item by its path of keys and indices."""
    lines: dict[_KeyPath, int] = {(): 1}
    try:
        refuse_unsafe_yaml(text, str(file), depth=MAX_DEPTH)
        loader = LOADER(text)
        try:
            node = loader.get_single_node()
            if node is None:
                keys = ", ".join(_keys_of(Taxonomy))
                raise InputError(f"{file}, line 1: the file is empty; expected {keys}")
            return _to_data(loader, node, (), lines, file), lines
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        reason = "; ".join(part for part in (error.context, error.problem) if part)
        raise InputError(f"{file}{where}: not valid YAML: {reason}") from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)
        where = "" if position is None else f", line {text.count(chr(10), 0, position) + 1}"
        reason = getattr(error, "reason", "it cannot be parsed")
        raise InputError(f"{file}{where}: not valid YAML: {reason}") from None


def _to_data(loader: Any, node: yaml.Node, key_path: _KeyPath, lines: dict[_KeyPath, int], file: Path) -> Any:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[*key_path, index] = item.start_mark.line + 1
        return tuple(
            _to_data(loader, item, (*key_path, index), lines, file) for index, item in enumerate(node.value)
        )
    if isinstance(node, yaml.MappingNode):
        table: dict[str, Any] = {}
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            key = _scalar(loader, key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                shown = getattr(key_node, "value", None)
                what = f"put {shown!r} into quotes" if isinstance(shown, str) else "found a list or a mapping"
                raise InputError(_at(file, line, key_path) + f"expected text as a key; {what}")
            if key in table:
                first = lines[*key_path, key]
                raise InputError(_at(file, line, (*key_path, key)) + f"duplicate key, first in line {first}")
            lines[*key_path, key] = line
            table[key] = _to_data(loader, value, (*key_path, key), lines, file)
        return table
    return _scalar(loader, node)


def _scalar(loader: Any, node: yaml.Node) -> Any:
    try:
        return loader.construct_object(node)
    except ValueError:
        # YAML reads 2026-13-45 as a date and then fails on it; here it is text.
        return node.value


def _add_ids(tree: dict[str, Any]) -> Iterator[_Problem]:
    """Give every row its key as ``id``, and a ``name`` where it has none."""
    for table in TABLES:
        rows = tree.get(table)
        if not isinstance(rows, dict):
            continue
        for key, row in rows.items():
            if isinstance(row, dict):
                if "id" in row:
                    yield (table, key, "id"), f"unknown key 'id'; the id is {key!r}, the key of the row"
                rows[key] = {"name": key.replace("_", " "), **row, "id": key}


def _broken_references(taxonomy: Taxonomy) -> list[_Problem]:
    """References to groups, branches and topics that do not exist."""
    groups, topics, branches = taxonomy.groups, taxonomy.topics, taxonomy.branches
    parents = {path: path.rpartition("/")[0] for path in branches}
    references: list[tuple[_KeyPath, str, Collection[str], str]] = [
        *((("topics", row.id, "group"), row.group, groups, "groups") for row in topics.values()),
        *((("branches", path), parent, branches, "branches") for path, parent in parents.items() if parent),
        *(
            (("properties", row.id, "path"), row.path, branches, "branches")
            for row in taxonomy.properties.values()
        ),
        *((("entities", row.id, "topic"), row.topic, topics, "topics") for row in taxonomy.entities.values()),
    ]
    wrong = [item for item in references if item[1] not in item[2]]
    # Suggestions for thousands of them take minutes, and only the first are shown.
    suggest = len(wrong) <= 100
    problems: list[_Problem] = [
        (key_path, _unknown(word, known if suggest else (), f"among the {what} of this file"))
        for key_path, word, known, what in wrong
    ]
    if ROOT in topics:
        problems.append(
            (("topics", ROOT), f"{ROOT!r} means that no topic is prescribed; give this topic another id")
        )
    return problems


# ---- Error messages ----

_MODELS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {"topics": Topic, "properties": Property, "entities": Entity, "root": Root}
)


def _keys_of(model: type[BaseModel]) -> list[str]:
    return [name for name in model.model_fields if name != "id"]


def _describe(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case tuple():
            return "a list"
        case bool():
            return f"{str(value).lower()} (put yes, no, on, off, true and false into quotes)"
        case str():
            return _quoted(value)
        case _:
            return f"{value} (put numbers and dates into quotes)"


def _explain(detail: ErrorDetails) -> _Problem:
    """One of pydantic's problems, in the terms of the file."""
    key_path, value = tuple(detail["loc"]), detail["input"]
    is_key = key_path[-1:] == ("[key]",)
    if is_key:
        key_path = key_path[:-1]
    limits = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            model = _MODELS.get(str(key_path[0]), Taxonomy) if len(key_path) > 1 else Taxonomy
            key = str(key_path[-1])
            return key_path, f"unknown key {_quoted(key)}{_hint(key, _keys_of(model))}"
        case "missing":
            return key_path, "is missing"
        case "string_type":
            return key_path, f"expected text, found {_describe(value)}"
        case "string_pattern_mismatch":
            slash = ", and / between levels" if key_path[0] == "branches" else ""
            return key_path, f"expected small letters, digits and _ in a key{slash}, starting with a letter"
        case "string_too_long":
            return key_path, f"expected at most {limits['max_length']} characters, found {len(value)}"
        case "tuple_type":
            return key_path, f"expected a list [a, b], found {_describe(value)}"
        case "dict_type" | "model_type":
            return key_path, f"expected a mapping (key: value), found {_describe(value)}"
        case "literal_error":
            return key_path, f"expected {limits['expected']}, found {_describe(value)}"
        case "too_short":
            return key_path, "expected at least one entry"
        case _:
            return key_path, detail["msg"]


def _dotted(key_path: _KeyPath) -> str:
    text = ""
    for step in key_path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if len(step) <= 60 else step[:57] + "...")
    return text if text.isprintable() else ascii(text)


def _at(file: Path, line: int, key_path: _KeyPath) -> str:
    return f"{file}, line {line}, {_dotted(key_path)}: " if key_path else f"{file}, line {line}: "


def _message(problems: list[_Problem], lines: Mapping[_KeyPath, int], file: Path) -> str:
    def line_of(key_path: _KeyPath) -> int:
        while key_path not in lines:
            key_path = key_path[:-1]
        return lines[key_path]

    placed = sorted(
        (line_of(key_path), _at(file, line_of(key_path), key_path) + what) for key_path, what in problems
    )
    shown = [text for _, text in placed[:MAX_SHOWN]]
    if len(placed) > MAX_SHOWN:
        shown.append(f"{file}: and {counted(len(placed) - MAX_SHOWN, 'more problem')}")
    return "\n".join(shown)


# ---- Showing ----


def check(path: str | Path | None = None) -> dict[str, Any]:
    """Read a taxonomy and count its rows.

    Returns:
        ``file``, ``name``, and per table ``{"all": n, "exact": n}``; ``groups``; ``hum_categories`` and
        ``contrasts`` with the number of properties of each.

    Raises:
        InputError: as :func:`load`.
    """
    taxonomy = load(path)
    tables = {table: getattr(taxonomy, table).values() for table in TABLES}
    properties = taxonomy.properties.values()
    return {
        "file": str(DEFAULT_FILE if path is None else path),
        "name": taxonomy.name,
        "groups": len(taxonomy.groups),
        **{
            table: {"all": len(rows), "exact": sum(row.exact is not None for row in rows)}
            for table, rows in tables.items()
        },
        "hum_categories": dict(sorted(Counter(p.hum_category for p in properties if p.hum_category).items())),
        "contrasts": dict(sorted(Counter(p.contrast for p in properties).items())),
    }


def show(taxonomy: Taxonomy, tables: Collection[Table] = TABLES, *, exact_only: bool = False) -> str:
    """The taxonomy as a tree in plain text; a star marks what the exact world can draw.

    Args:
        taxonomy: what to show.
        tables: which of topics, properties and entities to show.
        exact_only: show only what the exact world can draw.
    """
    out: list[str] = [f"{taxonomy.name}: {taxonomy.description}"]
    for table in TABLES:
        rows = [row for row in getattr(taxonomy, table).values() if row.exact or not exact_only]
        if table not in tables or not rows:
            continue
        out += ["", f"{table} ({len(rows)}; * the exact world can draw it)"]
        leaves: dict[str, list[str]] = {}
        for row in rows:
            place, label = _leaf(taxonomy, row)
            star = "*" if row.exact else " "
            leaves.setdefault(place, []).append(f"{star} {label}: {row.definition}")
        out += _tree(leaves)
    return "\n".join(out)


def _leaf(taxonomy: Taxonomy, row: Topic | Property | Entity) -> tuple[str, str]:
    """The branch of a row, and its label."""
    match row:
        case Topic():
            return row.group, row.id
        case Property():
            category = f", {row.hum_category}" if row.hum_category else ""
            return row.path, f"{row.id} [{row.contrast}{category}]"
        case Entity():
            return f"{taxonomy.topics[row.topic].group}/{row.topic}", row.id


def _tree(leaves: Mapping[str, list[str]]) -> Iterator[str]:
    written: set[str] = set()
    # A branch comes before the branches inside it, whatever characters their names have.
    for branch in sorted(leaves, key=lambda path: path.split("/")):
        steps = branch.split("/")
        for depth in range(len(steps)):
            prefix = "/".join(steps[: depth + 1])
            if prefix not in written:
                written.add(prefix)
                yield f"{'  ' * (depth + 1)}{steps[depth]}"
        yield from (f"{'  ' * (len(steps) + 1)}{leaf}" for leaf in leaves[branch])
