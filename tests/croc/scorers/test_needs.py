"""What ``croc scorers list`` says that a scorer needs here, found out and not written down."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
import tiny_models as tiny
from click.testing import CliRunner

from croc.cli import main
from croc.scorers import needs
from croc.scorers.needs import missing_packages, needs_of
from croc.scorers.registry import ScorerEntry, available, info

COMMIT = "0" * 40


@pytest.fixture
def cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entry(**changes: Any) -> ScorerEntry:
    given = {
        "name": "tiny",
        "family": "croc.scorers.dual_encoder:DualEncoder",
        "model": "org/tiny",
        "revision": COMMIT,
    }
    return ScorerEntry(**{**given, **changes})


def without(monkeypatch, *names: str, **other: str) -> None:
    """An installation without packages, or with other versions of them."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name in names:
            raise PackageNotFoundError(name)
        return other.get(name) or real(name)

    monkeypatch.setattr(needs, "version", version)


def test_absent_packages_of_the_extra_are_named_with_the_command_that_installs_them(cache, monkeypatch):
    assert missing_packages("score") == []
    without(monkeypatch, "torch", "openai", transformers="4.0.0")
    assert missing_packages("score") == ["openai", "torch", "transformers>=5.10 (4.0.0 is installed)"]
    assert needs_of(entry(extra="score", model=None, revision=None)) == [
        'missing openai, torch, transformers>=5.10 (4.0.0 is installed): pip install "croc-t2i[score]"'
    ]


def test_packages_of_an_option_are_looked_for(cache, monkeypatch):
    bvqa = {"family": "croc.scorers.bvqa:BlipVqa", "model": None, "revision": None}
    monkeypatch.setattr(needs, "find_spec", lambda module: None if module == "spacy" else object())
    assert needs_of(entry(**bvqa, options={"chunker": "spacy:en_core_web_sm"})) == [
        "missing spacy: pip install spacy"
    ]
    monkeypatch.setattr(needs, "find_spec", lambda module: object() if module == "spacy" else None)
    assert needs_of(entry(**bvqa, options={"chunker": "spacy:en_core_web_sm"})) == [
        "missing en_core_web_sm: python -m spacy download en_core_web_sm"
    ]
    assert needs_of(entry(**bvqa, options={"chunker": "rules"})) == []


@pytest.mark.parametrize(
    "family", ["api:ApiVqaScore", "api_rating:ApiRatingJudge", "api_pairwise:ApiPairwiseJudge"]
)
def test_the_key_of_a_service_is_looked_for(family, monkeypatch):
    family = f"croc.scorers.{family}"
    api = entry(family=family, model=None, revision=None)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert needs_of(api) == ["missing a key of the service: set the environment variable OPENAI_API_KEY"]
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert needs_of(api) == []
    other = api.model_copy(update={"options": {"key_variable": "MY_KEY"}})
    assert needs_of(other) == ["missing a key of the service: set the environment variable MY_KEY"]


def test_weights_that_are_not_here_are_downloaded_and_their_memory_is_estimated(cache):
    # 151 M weights: 0.604 GB in float32, the dual encoders' own; half of it in bfloat16.
    assert needs_of(entry(parameters=151)) == [
        "downloads its weights",
        "604 MB of GPU memory for the weights in float32",
    ]
    assert needs_of(entry(parameters=151, options={"dtype": "bfloat16"}))[1].startswith("302 MB")
    vqa = entry(family="croc.scorers.vqa:VqaScore", parameters=8292)
    assert needs_of(vqa)[1] == "16.6 GB of GPU memory for the weights in bfloat16"
    assert needs_of(entry()) == ["downloads its weights"]


@pytest.mark.parametrize("where", ["cache", "folder"])
def test_weights_that_are_here_are_counted(where, cache, tmp_path):
    model, processor = tiny.clip()
    folder = cache / "models--org--tiny" / "snapshots" / COMMIT if where == "cache" else tmp_path / "tiny"
    folder.mkdir(parents=True)
    tiny.save(model, processor, folder)
    count = sum(tensor.numel() for tensor in model.state_dict().values())
    size = (folder / "model.safetensors").stat().st_size
    local = {"model": str(folder)} if where == "folder" else {}
    # The numbers of the entry are for weights that are not here.
    said = needs_of(entry(parameters=10**6, gated=True, **local))
    assert said == [
        f"{size / 1000:.3g} kB of weights are here already",
        f"{count * 4 / 1000:.3g} kB of GPU memory for the weights in float32",
    ]


def test_a_licence_has_to_be_accepted_where_nobody_is_logged_in(cache, monkeypatch):
    monkeypatch.setattr(needs, "_has_token", lambda: False)
    assert needs_of(entry(gated=True))[0].endswith("/org/tiny and log in with `hf auth login`")
    monkeypatch.setattr(needs, "_has_token", lambda: True)
    assert needs_of(entry(gated=True)) == ["downloads its weights"]


def test_a_family_that_cannot_be_imported_says_why(tmp_path):
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    said = needs_of(entry(family=f"{tmp_path / 'broken.py'}:A", model=None, revision=None))
    assert len(said) == 1
    assert "no module named 'nothing_of_this_name'" in said[0]


def test_every_registered_model_has_an_estimate_of_its_memory(cache):
    for known in available():
        if known.model is not None:
            assert any("GPU memory" in need for need in needs_of(known)), known.name


def test_a_baseline_needs_nothing():
    assert needs_of(info("random")) == []


def test_the_list_and_the_page_of_a_scorer_have_its_needs(cache, monkeypatch):
    without(monkeypatch, "torch")
    monkeypatch.setenv("COLUMNS", "400")
    listed = CliRunner().invoke(main, ["scorers", "list"], env={"COLUMNS": "400"}).output
    (line,) = [line for line in listed.splitlines() if line.split()[:1] == ["clipscore-b32"]]
    for need in needs_of(info("clipscore-b32")):
        assert need in line
    assert 'missing torch: pip install "croc-t2i[score]"' in line
    shown = CliRunner().invoke(main, ["scorers", "show", "clipscore-b32"]).output.splitlines()
    assert [text.removeprefix("needs:").strip() for text in shown if text.startswith("needs:")] == needs_of(
        info("clipscore-b32")
    )
