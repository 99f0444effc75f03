"""How a name becomes a scorer, and what is said when it does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from croc.errors import InputError
from croc.scorers import Scorer, registry
from croc.scorers.baselines import Constant, Random
from croc.scorers.registry import available, info, load, parse_entry, takes

PAIR = ([Image.new("RGB", (2, 2))] * 2, ["a", "bbb"])


class Mine:
    """A scorer as somebody else would write it."""

    name = "mine"

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def score(self, images: Sequence[Any], prompts: Sequence[str]) -> list[float]:
        return [self.factor * len(prompt) for prompt in prompts]


class Complete(Mine):
    def fields(self) -> dict[str, str]:
        return {"revision": "7"}


def lengths(images: Sequence[Any], prompts: Sequence[str]) -> list[float]:
    return [len(prompt) for prompt in prompts]


def test_every_listed_scorer_has_a_family_that_exists() -> None:
    listed = available()
    assert {"random", "constant", "prompt-length", "text-only", "image-only", "colour-words"} <= {
        entry.name for entry in listed
    }
    for entry in listed:
        assert callable(registry._imported(entry.family)), entry.name
        assert entry.model is None or (entry.revision and entry.licence and entry.source), entry.name


def test_listing_imports_no_family() -> None:
    code = (
        "import sys; from croc.scorers.registry import available; available(); "
        "assert not {'torch', 'transformers', 'evaluate', 'croc.scorers.baselines'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_an_alias_and_options_find_their_scorer() -> None:
    assert load("random", seed=5).fields() == {"seed": "5"}
    assert load("color-words").name == load("colour-words").name == info("color-words").name == "colour-words"
    assert load("random", name="dice").name == "dice"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("randm", "did you mean random"),
        ("Constant", "did you mean constant"),
        ("zzzzzz", "croc scorers list"),
        ("no_such_module:Thing", "no module named 'no_such_module'"),
        ("croc.scorers.baselines:Randm", "did you mean Random"),
        ("nowhere.py:score", "no such file"),
        ("croc.scorers.baselines:hashlib", "is no scorer"),
        (":x", "module:Class"),
        (
            "vqascore",
            "no scorer is called 'vqascore': name its model, one of vqascore-4o, vqascore-clip-flant5-xl",
        ),
        ("hpsv2", r"name its model, one of hpsv2\.0, hpsv2\.1$"),
    ],
)
def test_an_unknown_name_is_one_sentence_with_a_suggestion(spec: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(spec)


def test_a_file_that_was_named_as_a_module_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metric_of_mine.py").write_text("class Mine: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with pytest.raises(InputError, match=r"in this folder write metric_of_mine\.py:Mine$"):
        load("metric_of_mine:Mine")


def test_an_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"sede.*its options are seed, name"):
        load("random", sede=1)


def test_which_options_a_scorer_takes_is_known_before_it_is_made() -> None:
    assert takes("random", "seed")
    assert not takes("random", "device")
    assert takes("clipscore-b32", "device")
    assert takes(f"{__name__}:Mine", "factor")
    assert not takes(f"{__name__}:lengths", "factor")
    assert not takes(Mine, "factor")
    with pytest.raises(InputError, match="did you mean random"):
        takes("randm", "seed")


def test_an_error_inside_a_scorer_is_not_taken_for_a_wrong_option() -> None:
    class Broken(Mine):
        def __init__(self) -> None:
            raise TypeError("something else")

    with pytest.raises(TypeError, match="something else"):
        load(Broken)


@pytest.mark.parametrize(
    "spec", [Mine, Mine(), Complete, Complete(), lengths, f"{__name__}:Mine", f"{__name__}:lengths"]
)
def test_objects_classes_and_functions_become_scorers(spec: Any) -> None:
    scorer = load(spec)
    assert isinstance(scorer, Scorer)
    assert list(scorer.score(*PAIR)) == [1, 3]
    assert scorer.name in ("mine", "lengths")


def test_a_scorer_given_as_such_is_left_as_it_is() -> None:
    scorer = Random()
    assert load(scorer) is scorer
    with pytest.raises(InputError, match="is an object and takes no options"):
        load(scorer, seed=3)


def test_options_reach_a_class_and_not_a_function() -> None:
    assert list(load(f"{__name__}:Mine", factor=2.0).score(*PAIR)) == [2, 6]
    assert load(lengths, name="len").name == "len"
    with pytest.raises(InputError, match="takes no option factor"):
        load(lengths, factor=2.0)


def test_an_edited_function_has_another_revision(tmp_path: Path) -> None:
    revisions = []
    for body in ("len(prompt)", "-len(prompt)"):
        file = tmp_path / "metric.py"
        file.write_text(f"def score(images, prompts):\n    return [{body} for prompt in prompts]\n")
        import linecache

        linecache.clearcache()
        scorer = load(f"{file}:score")
        revisions.append(scorer.fields()["revision"])
    assert revisions[0].startswith("source:")
    assert revisions[0] != revisions[1]
    assert list(scorer.score(*PAIR)) == [-1, -3]


def test_a_plug_in_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "theirs": EntryPoint("theirs", f"{__name__}:Complete", registry.ENTRY_POINTS),
        "gone": EntryPoint("gone", "no_such_module:X", registry.ENTRY_POINTS),
    }
    monkeypatch.setattr(registry, "_plugins", lambda: points)
    assert [entry.name for entry in available()][-2:] == ["gone", "theirs"]
    assert info("theirs").family == f"{__name__}:Complete"
    assert load("theirs", factor=3.0).score(*PAIR)[1] == 9
    with pytest.raises(InputError, match="plug-in gone"):
        load("gone")
    with pytest.raises(InputError, match="did you mean theirs"):
        load("theires")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nmae": "x"}, "unknown key 'nmae'; did you mean name"),
        ({"name": None}, "name is missing"),
        ({"name": "CLIP Score"}, "lower-case"),
        ({"family": "croc.scorers.baselines"}, "module:Class"),
        ({"model": "openai/clip", "revision": "main"}, "40 hexadecimal digits"),
        ({"model": "openai/clip"}, "40 hexadecimal digits"),
        ({"options": ["x"]}, "options must be a mapping"),
        ({"aliases": "x"}, "aliases must be a list of names, not 'x'"),
        ({"baseline": "maybe"}, "baseline must be true or false, not 'maybe'"),
        ({"summary": 3}, "summary is missing or not a text"),
    ],
)
def test_a_bad_entry_names_its_file_and_key(change: dict[str, Any], says: str) -> None:
    entry = {"name": "x", "family": "a:B", **change}
    with pytest.raises(InputError, match=says) as caught:
        parse_entry(entry, "models.yaml, entry 3")
    assert str(caught.value).startswith("models.yaml, entry 3: ")


def test_an_evaluate_module_is_a_scorer_by_the_types_of_its_inputs(tmp_path: Path) -> None:
    folder = tmp_path / "brightness"
    folder.mkdir()
    (folder / "brightness.py").write_text(
        """
import datasets
import evaluate
import numpy as np


class Brightness(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"pictures": datasets.Image(), "captions": datasets.Value("string")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, pictures, captions):
        scores = [float(np.asarray(p).mean()) + len(c) for p, c in zip(pictures, captions)]
        return {"brightness": sum(scores), "scores": scores}
"""
    )
    images = [Image.new("RGB", (2, 2), (9, 9, 9)), Image.new("RGB", (2, 2), "white")]
    scorer = load(f"evaluate:{folder}")
    assert np.asarray(scorer.score(images, ["a", "bb"])).tolist() == [10, 257]
    assert scorer.name == "brightness"
    assert scorer.fields()["revision"].startswith("source:")
    import evaluate

    assert load(evaluate.load(str(folder))).score(images[:1], [""])[0] == 9


def test_an_evaluate_module_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "words.py").write_text(
        """
import datasets
import evaluate


class Words(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions):
        return {"n": 1}
"""
    )
    with pytest.raises(InputError, match="one input of type Image"):
        load(f"evaluate:{folder}")
    with pytest.raises(InputError, match="cannot be loaded"):
        load("evaluate:/nowhere/at/all")


def test_constant_is_the_registered_class() -> None:
    assert isinstance(load("constant"), Constant)
