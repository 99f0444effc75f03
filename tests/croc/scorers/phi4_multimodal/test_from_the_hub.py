"""Imports by Hub id: what is downloaded, where the result is found, what the command says."""

from __future__ import annotations

from pathlib import Path

import microsoft_phi4 as microsoft
import pytest
from click.testing import CliRunner
from hub_server import Hub, online, use_hub

from croc.cli import main
from croc.errors import CrocError
from croc.scorers.phi4_multimodal.importing import import_checkpoint
from croc.scorers.yes_no import YesNo


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("hub")
    microsoft.write(home / "base", mixed=False)
    microsoft.write(home / "trained", audio=False, with_tokenizer=False, seed=1, files=1)
    with Hub(home / "files") as running:
        running.home = home
        yield running


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    from huggingface_hub import HfApi

    server.forget()
    use_hub(monkeypatch, server, tmp_path)
    with online(monkeypatch):
        api = HfApi(endpoint=server.endpoint, token="hf_writer")
        for name in ("base", "trained"):
            api.create_repo(f"org/{name}")
            api.upload_folder(repo_id=f"org/{name}", folder_path=server.home / name)
        yield server


def commit(hub, name: str) -> str:
    from huggingface_hub import HfApi

    return str(HfApi(endpoint=hub.endpoint).model_info(f"org/{name}").sha)


def downloaded(cache: Path, name: str) -> set[str]:
    return {path.name for path in (cache / f"models--org--{name}" / "snapshots").glob("*/*")}


def test_an_imported_repository_is_found_by_its_name_with_its_commit(hub, tmp_path, monkeypatch):
    lines: list[str] = []
    out = import_checkpoint("org/trained", base="org/base", progress=False, log=lines.append)
    assert out == tmp_path / "home" / "croc" / "imported" / "org--trained" / commit(hub, "trained")
    assert lines[0].startswith(f"org/trained@{commit(hub, 'trained')}: ")
    assert lines[-1] == f"audio part: 59 weights of org/base@{commit(hub, 'base')}"
    # Of the base model only what is needed: the files with the audio part, and the tokenizer.
    assert downloaded(tmp_path / "cache", "base") == {
        "config.json",
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    revision, before = commit(hub, "trained"), len(hub.calls)
    fields = YesNo("org/trained", device="cpu").fields()
    assert (fields["model"], fields["revision"]) == ("org/trained", revision)
    assert YesNo("org/trained", revision=revision, device="cpu").fields() == fields
    assert hub.calls[before:] == [], "nothing is asked of the Hub"


def test_a_repository_in_microsofts_layout_is_recognised_by_its_configuration(hub):
    revision = commit(hub, "base")
    for use in (lambda checkpoint: checkpoint.model, lambda checkpoint: checkpoint.processor):
        with pytest.raises(CrocError) as refused:
            use(YesNo("org/base", revision=revision, device="cpu").checkpoint)
        assert f"run `croc import-checkpoint org/base --revision {revision}` once" in str(refused.value)


def test_for_training_the_import_with_a_separate_adapter_is_found(hub, tmp_path):
    out = import_checkpoint("org/base", keep_adapter=True, progress=False)
    assert out.parts[-3] == "imported-for-training"
    with pytest.raises(CrocError, match=r"run `croc import-checkpoint org/base` once"):
        YesNo("org/base", device="cpu").fields()
    assert YesNo("org/base", device="cpu", without_adapter=True).checkpoint.processor
    merged = import_checkpoint("org/base", progress=False)
    assert merged != out and YesNo("org/base", device="cpu").fields()["revision"] == commit(hub, "base")


def test_a_download_that_fails_is_one_sentence_and_the_next_run_resumes(hub, tmp_path):
    hub.fail("HEAD", "model-00002-of-00003.safetensors", status=403, times=1, X_Error_Code="GatedRepo")
    with pytest.raises(CrocError, match=r"^org/base is gated: accept its licence at .* and log in with .*$"):
        import_checkpoint("org/base", progress=False)
    assert import_checkpoint("org/base", progress=False).is_dir()


def test_a_repository_that_does_not_exist_is_named(hub):
    with pytest.raises(CrocError, match="the Hub has no repository org/nothing, or it is private"):
        import_checkpoint("org/nothing", progress=False)


def test_the_command_prints_the_folder_and_reports_on_standard_error(hub, tmp_path):
    done = CliRunner().invoke(
        main, ["import-checkpoint", "org/trained", "--base", "org/base", "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'out'}\n"
    assert "vision LoRA (r 4, alpha 8) of 8 layers: merged into the weights" in done.stderr
    failed = CliRunner().invoke(main, ["import-checkpoint", "org/nothing"])
    assert failed.exit_code == 2 and failed.stderr.startswith("croc: the Hub has no repository org/nothing")
