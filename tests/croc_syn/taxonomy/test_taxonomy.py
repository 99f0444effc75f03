"""The taxonomy: what comes with the program, files of one's own, and what a wrong file is told."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from croc.checks.schema import CATEGORIES
from croc.errors import InputError
from croc_syn import world
from croc_syn.taxonomy import taxonomy
from croc_syn.taxonomy.taxonomy import CONTRASTS, DEFAULT_FILE, drawable

GUIDE = Path(__file__).parents[3] / "docs" / "taxonomy.md"

SMALL = """\
version: 1
name: small
groups:
  home: "Rooms."
topics:
  kitchen: {group: home, definition: "Where one cooks."}
  attic: {group: home, definition: "Under the roof."}
branches:
  object: "What is shown."
  object/look: "What it looks like."
properties:
  colour:
    path: object/look
    definition: "The colour of a thing."
    contrast: swap_value
    hum_category: shapes
    values: [red, blue]
    exact: colour
entities:
  cup: {topic: kitchen, parts: [handle, rim], definition: "A vessel with a handle."}
"""


@pytest.fixture(scope="module")
def ours() -> taxonomy.Taxonomy:
    return taxonomy.load()


def loaded(tmp_path: Path, text: str | bytes) -> taxonomy.Taxonomy:
    file = tmp_path / "own.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return taxonomy.load(file)


def refusal(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, text)
    return str(caught.value).replace(f"{tmp_path}/", "")


# ---- The taxonomy that comes with the program ----


def test_it_has_the_scope_of_the_paper(ours: taxonomy.Taxonomy) -> None:
    # 51 topics, 78 contrastable properties, 158 entities: CROC (arXiv 2505.11314).
    assert (len(ours.topics), len(ours.properties), len(ours.entities)) == (51, 78, 158)
    assert len(ours.groups) == 15


def test_every_property_says_how_it_contrasts_and_whether_it_can_be_drawn(ours: taxonomy.Taxonomy) -> None:
    for prop in ours.properties.values():
        assert prop.values or prop.exact, prop.id
        assert (prop.exact is None) == (prop.exact_note is not None), prop.id
    assert {prop.contrast for prop in ours.properties.values()} == set(CONTRASTS)
    assert {prop.hum_category for prop in ours.properties.values()} == {None, *CATEGORIES}


def test_every_hum_category_has_a_property_that_the_exact_world_draws(ours: taxonomy.Taxonomy) -> None:
    drawn = {prop.hum_category for prop in ours.properties.values() if prop.exact}
    assert drawn >= set(CATEGORIES)


def test_the_text_errors_are_there_and_the_exact_world_refuses_them(ours: taxonomy.Taxonomy) -> None:
    for name in ("word_jumble", "spelling", "fluency", "pronoun", "omission"):
        assert ours.properties[name].exact is None
        assert ours.properties[name].path == "text/errors"


def test_every_entity_has_parts_and_every_topic_entities(ours: taxonomy.Taxonomy) -> None:
    assert all(len(entity.parts) >= 2 for entity in ours.entities.values())
    assert {entity.topic for entity in ours.entities.values()} == set(ours.topics)


@pytest.mark.parametrize("table", taxonomy.TABLES)
def test_everything_that_the_exact_world_draws_is_in_the_taxonomy_once(
    ours: taxonomy.Taxonomy, table: taxonomy.Table
) -> None:
    named = Counter(row.exact for row in getattr(ours, table).values() if row.exact)
    unreachable = set(drawable()[table]) - set(named)
    assert not unreachable, f"give a row of {table} in taxonomy.yaml `exact: {sorted(unreachable)[0]}`"
    assert not [key for key, times in named.items() if times > 1]


def test_a_property_has_the_hum_category_of_the_contrast_that_draws_it(ours: taxonomy.Taxonomy) -> None:
    for prop in ours.properties.values():
        if prop.exact:
            assert prop.hum_category == world.CONTRASTS[prop.exact].category, prop.id


def test_spelling_is_british(ours: taxonomy.Taxonomy) -> None:
    text = DEFAULT_FILE.read_text(encoding="utf-8")
    assert not re.search(r"color|gray|airplane|meter\b|center", text)


# ---- A file of one's own ----


def test_a_small_file_works_and_ids_are_its_keys(tmp_path: Path) -> None:
    small = loaded(tmp_path, SMALL)
    assert list(small.topics) == ["kitchen", "attic"]
    assert small.properties["colour"].property_path == "object/look/colour"
    assert small.properties["colour"].values == ("red", "blue")
    assert small.entities["cup"].name == "cup"
    assert small.entities["cup"].parts == ("handle", "rim")
    assert small.root.name == "anything"


def test_a_name_is_the_id_in_words_unless_the_file_says_another(tmp_path: Path) -> None:
    text = SMALL.replace("attic: {", "two_rooms: {").replace("cup: {", 'cup: {name: "Tasse", ')
    small = loaded(tmp_path, text)
    assert small.topics["two_rooms"].name == "two rooms"
    assert small.entities["cup"].name == "Tasse"


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode()
    assert loaded(tmp_path, text) == loaded(tmp_path, SMALL)


def test_braces_in_a_value_are_only_text(tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALL.replace("contrast: swap_value", 'contrast: "{message}{0}"'))
    assert "'{message}{0}' is not a kind of contrast" in message


def test_the_example_of_the_guide_loads(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(version: 1\n.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert loaded(tmp_path, example).properties


def test_the_guide_names_every_way_to_contrast() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for name, definition in CONTRASTS.items():
        assert f"| `{name}` | {definition} |" in text


# ---- What a wrong file is told ----

WRONG = [
    # (replace, with, what the message says): lines are counted in SMALL
    (
        "hum_category: shapes",
        "hum_category: shape",
        "line 16, properties.colour.hum_category: 'shape' is not a hum category; did you mean 'shapes'?",
    ),
    (
        "contrast: swap_value",
        "contrast: swap",
        "line 15, properties.colour.contrast: 'swap' is not a kind of contrast",
    ),
    (
        "exact: colour",
        "exact: color",
        "line 18, properties.colour.exact: 'color' is not a contrast of the exact world; "
        "did you mean 'colour'?",
    ),
    (
        "path: object/look",
        "path: object/looks",
        "line 13, properties.colour.path: 'object/looks' is not among the branches of this file; "
        "did you mean 'object/look'?",
    ),
    (
        "topic: kitchen",
        "topic: kitchn",
        "line 20, entities.cup.topic: 'kitchn' is not among the topics of this file; did you mean 'kitchen'?",
    ),
    (
        "kitchen: {group: home",
        "kitchen: {group: house",
        "line 6, topics.kitchen.group: 'house' is not among the groups of this file; did you mean 'home'?",
    ),
    ("  object: ", "  objects: ", "line 10, branches.object/look: 'object' is not among the branches"),
    (
        "    values: [red",
        "    value: [red",
        "line 17, properties.colour.value: unknown key 'value'; did you mean 'values'?",
    ),
    ("    definition:", "    id: x\n    definition:", "line 14, properties.colour.id: unknown key 'id'"),
    ("    contrast: swap_value\n", "", "line 12, properties.colour.contrast: is missing"),
    (
        "    exact: colour",
        "    path: object",
        "line 18, properties.colour.path: duplicate key, first in line 13",
    ),
    (
        "  attic: {",
        "  kitchen: {",
        "line 7, topics.kitchen: duplicate key, first in line 6",
    ),
    ("  attic: {", "  Attic: {", "line 7, topics.Attic: expected small letters, digits and _"),
    ("  attic: {", "  root: {", "line 7, topics.root: 'root' means that no topic is prescribed"),
    ("  attic: {", "  no: {", "line 7, topics: expected text as a key; put 'no' into quotes"),
    ("  attic: {", "  ? [a, b]\n  : {", "line 7, topics: expected text as a key; found a list or a mapping"),
    ("[red, blue]", "[red, red]", "line 17, properties.colour.values: 'red' is listed 2 times"),
    ("[red, blue]", "[red, on]", "line 17, properties.colour.values[1]: expected text, found true (put "),
    ("[red, blue]", "[red, 2026-01-02]", "values[1]: expected text, found 2026-01-02 (put numbers"),
    ("[red, blue]", "red", "line 17, properties.colour.values: expected a list [a, b], found 'red'"),
    ('"Rooms."', '"a\\x1b[31mb"', "line 4, groups.home: expected one line of text without control"),
    ('"Rooms."', "", "line 4, groups.home: expected text, found nothing"),
    ('"Rooms."', '"' + "x" * 501 + '"', "line 4, groups.home: expected at most 500 characters, found 501"),
    ("version: 1", "version: 2", "line 1, version: expected 1, found 2"),
    ("version: 1\n", "", "line 1, version: is missing"),
    ("name: small", "names: small", "line 2, names: unknown key 'names'; did you mean 'name'?"),
    ("name: small", "name: 7", "line 2, name: expected text, found 7 (put numbers and dates into quotes)"),
    ("entities:\n  cup:", "entities: [cup]\nx:", "entities: expected a mapping (key: value), found a list"),
    ('"Rooms."', "&a rooms", "line 4: &a: anchors and aliases are not allowed"),
    ('"Rooms."', "!!python/name:os.system x", "line 4: tag:yaml.org,2002:python/name:os.system: tags are"),
    ('"Rooms."', "[[[[[[[[[[]]]]]]]]]]", "line 4: nested more than 8 levels deep"),
    ('"Rooms."', '"Rooms', "not valid YAML: "),
    ("  home: ", "\thome: ", "line 4: not valid YAML: "),
    ('"Rooms."', '"Rooms.\x07"', "line 4: not valid YAML: "),
    ("version: 1", "---\nversion: 1\n---\nversion: 1", "not valid YAML: expected a single document"),
]


@pytest.mark.parametrize(("old", "new", "expected"), WRONG, ids=[f"{new[:24]}" for _, new, _ in WRONG])
def test_a_wrong_file_is_told_line_path_and_what_was_expected(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert SMALL.count(old) >= 1
    message = refusal(tmp_path, SMALL.replace(old, new, 1))
    assert message.startswith("own.yaml")
    assert expected in message
    assert len(message.splitlines()) <= 3


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = SMALL.replace("contrast: swap_value", "contrast: x").replace("name: small\n", "") + "name: 7\n"
    first, second = refusal(tmp_path, text).splitlines()
    assert first.startswith("own.yaml, line 14, properties.colour.contrast:")
    assert second.startswith("own.yaml, line 20, name:")


def test_many_problems_are_cut_and_counted(tmp_path: Path) -> None:
    rows = "".join(f"  e{i}: {{topic: nowhere, definition: x}}\n" for i in range(30))
    lines = refusal(tmp_path, SMALL + rows).splitlines()
    assert len(lines) == taxonomy.MAX_SHOWN + 1
    assert lines[-1] == "own.yaml: and 20 more problems"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "own.yaml, line 1: the file is empty; expected version, name"),
        (b"# nothing\n", "own.yaml, line 1: the file is empty"),
        (b"- a\n", "own.yaml, line 1: expected version, name, description"),
        (b"name: caf\xe9\n", "own.yaml, line 1: byte 0xe9 is not UTF-8"),
        (b"a: b\n\xff\n", "own.yaml, line 2: byte 0xff is not UTF-8"),
        (b"a: \x00\n", "own.yaml, line 1: not valid YAML"),
        (b"x" * 1_000_001, "own.yaml has 1,000,001 bytes; at most 1,000,000 are allowed"),
        (b"[" * 100_000, "own.yaml, line 1: nested more than 8 levels deep"),
        (b"a: " * 1000, "own.yaml, line 1: not valid YAML"),
        (b"{" * 5000, "own.yaml, line 1: nested more than 8 levels deep"),
        (b"%YAML 9.9\n---\na: b\n", "own.yaml, line 1: not valid YAML"),
    ],
)
def test_what_is_no_taxonomy_at_all_is_one_clear_sentence(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    message = refusal(tmp_path, content)
    assert message.startswith(expected)
    assert "\n" not in message


def test_a_bomb_of_aliases_is_refused(tmp_path: Path) -> None:
    # Ten levels of nine references each would stand for 9^10 scalars.
    levels = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    levels += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    assert "line 1: &a0: anchors and aliases are not allowed" in refusal(tmp_path, "\n".join(levels))


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        taxonomy.load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        taxonomy.load(tmp_path)


# ---- check and show ----


def test_check_counts_what_a_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(SMALL)
    assert taxonomy.check(file) == {
        "file": str(file),
        "name": "small",
        "groups": 1,
        "topics": {"all": 2, "exact": 0},
        "properties": {"all": 1, "exact": 1},
        "entities": {"all": 1, "exact": 0},
        "hum_categories": {"shapes": 1},
        "contrasts": {"swap_value": 1},
    }


def test_show_hangs_every_row_on_its_branch(tmp_path: Path) -> None:
    assert taxonomy.show(loaded(tmp_path, SMALL)) == "\n".join(
        [
            "small: A taxonomy of contrasts.",
            "",
            "topics (2; * the exact world can draw it)",
            "  home",
            "      kitchen: Where one cooks.",
            "      attic: Under the roof.",
            "",
            "properties (1; * the exact world can draw it)",
            "  object",
            "    look",
            "      * colour [swap_value, shapes]: The colour of a thing.",
            "",
            "entities (1; * the exact world can draw it)",
            "  home",
            "    kitchen",
            "        cup: A vessel with a handle.",
        ]
    )


def test_show_can_leave_out_tables_and_what_cannot_be_drawn(tmp_path: Path) -> None:
    shown = taxonomy.show(loaded(tmp_path, SMALL), exact_only=True)
    assert "colour" in shown
    assert "cup" not in shown
    assert "topics" not in shown
    assert "colour" not in taxonomy.show(loaded(tmp_path, SMALL), ["entities"])


def test_plain_yaml_reads_the_default_file_the_same(ours: taxonomy.Taxonomy) -> None:
    # PyYAML's own safe loader is the reference for the reader that keeps line numbers.
    plain = yaml.safe_load(DEFAULT_FILE.read_text(encoding="utf-8"))
    for table in taxonomy.TABLES:
        for key, row in getattr(ours, table).items():
            dumped = row.model_dump(exclude_unset=True, exclude={"id", "name"})
            expected = {k: tuple(v) if isinstance(v, list) else v for k, v in plain[table][key].items()}
            assert dumped == {k: v for k, v in expected.items() if k != "name"}


@settings(max_examples=400, deadline=None)
@given(
    place=st.integers(0, len(SMALL)),
    length=st.integers(0, 12),
    text=st.text(alphabet=st.sampled_from(" \n\t:{}[],&*!|>'\"#%@`?-\\abc01é\x00\u2028\ufeff"), max_size=12),
)
def test_a_damaged_file_loads_or_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, place: int, length: int, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.yaml"
    file.write_bytes((SMALL[:place] + text + SMALL[place + length :]).encode())
    try:
        taxonomy.load(file)
    except InputError as error:
        assert str(error).startswith(f"{file}, line ")
        assert str(error).isprintable() or "\n" in str(error)
