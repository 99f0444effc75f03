"""A repository that cannot be read: one quick question, one sentence with the reason and what to do."""

from __future__ import annotations

import os
import time
import warnings

import pytest
import tiny_models as tiny
from hub_server import Hub, online, use_hub

from croc.checks.sources import open_checks
from croc.errors import CrocError, InputError
from croc.scorers.dual_encoder import DualEncoder
from croc.scorers.yes_no import YesNo
from croc.storage.hub_access import download_snapshot, require_readable, require_source

REVISION = "0" * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    from huggingface_hub import HfApi

    server.forget()
    use_hub(monkeypatch, server, tmp_path)
    with online(monkeypatch):
        api = HfApi(endpoint=server.endpoint, token="hf_writer")
        api.create_repo("org/clip")
        tiny.save(*tiny.clip(), tmp_path / "clip")
        api.upload_folder(repo_id="org/clip", folder_path=tmp_path / "clip")
        yield server


def requests(hub) -> list[str]:
    return [path for _, path, _ in hub.calls if "/resolve/" in path]


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "GatedRepo", r"org/clip is gated: accept its licence at http.*/org/clip and log in"),
        (401, "GatedRepo", r"org/clip is gated: accept its licence"),
        (404, "RevisionNotFound", rf"org/clip has no revision {REVISION}: see http.*/org/clip/commits/main"),
        (
            404,
            "RepoNotFound",
            r"the Hub has no repository org/clip, or it is private: check the name, or log",
        ),
        (404, "EntryNotFound", r"org/clip has no config\.json"),
        (401, "", r"/org/clip may not be read with this access token \(status 401\): log in"),
        (503, "", r"/org/clip answered with status 503: try again later"),
    ],
)
def test_a_refusal_of_the_hub_is_one_sentence_after_one_request(hub, status, code, says):
    hub.fail("HEAD", "/resolve/", status=status, times=100, X_Error_Code=code)
    before = len(requests(hub))
    with pytest.raises(CrocError, match=says) as error:
        _ = DualEncoder("org/clip", revision=REVISION, device="cpu").checkpoint.model
    assert "\n" not in str(error.value)
    assert len(requests(hub)) == before + 1
    with pytest.raises(CrocError, match=says.replace("config", "tokenizer_config")):
        _ = DualEncoder("org/clip", revision=REVISION, device="cpu").checkpoint.processor


@pytest.fixture
def no_network(monkeypatch):
    """A Hub at a port where nobody listens."""
    import datasets
    from huggingface_hub import constants

    endpoint = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    with online(monkeypatch):
        yield


@pytest.mark.parametrize("use", [open_checks, download_snapshot])
def test_without_a_network_it_is_said_at_once_of_a_dataset(no_network, use):
    import datasets

    started = time.monotonic()
    expected = r"^org/none is neither a folder here nor in the cache .*127\.0\.0\.1:9 cannot be reached"
    with pytest.raises(CrocError, match=expected):
        use("org/none")
    assert time.monotonic() - started < 5
    assert datasets.config.HF_HUB_OFFLINE is False


def test_a_dataset_that_the_hub_does_not_have_is_said_after_one_request(hub, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    before = len(requests(hub))
    for use in (open_checks, download_snapshot):
        with pytest.raises(CrocError, match=r"^the Hub has no dataset org/none, or it is private: check the"):
            use("org/none")
    assert len(requests(hub)) == before + 2


@pytest.mark.parametrize("name", ["./missing", "a/b/c", "/no/such/folder", "~/checks", "a b", "x" * 97])
@pytest.mark.parametrize("use", [open_checks, download_snapshot])
def test_a_dataset_at_a_path_that_does_not_exist_is_said_without_a_request(no_network, use, name):
    with pytest.raises(InputError, match="neither an existing folder nor a Hub id"):
        use(name)


def test_without_a_network_it_is_said_at_once(no_network):
    started = time.monotonic()
    with pytest.raises(CrocError, match=r"is not in the cache .*127\.0\.0\.1:9 cannot be reached") as error:
        require_readable("org/clip", REVISION, "config.json")
    assert time.monotonic() - started < 5
    assert f"hf download org/clip --revision {REVISION}" in str(error.value)


def test_offline_mode_is_named_as_the_reason():
    with pytest.raises(CrocError, match=r"HF_HUB_OFFLINE forbids .* run `hf download org/other`"):
        require_readable("org/other", None, "config.json")


def test_what_is_in_the_cache_is_loaded_without_a_request(hub, monkeypatch):
    from huggingface_hub import HfApi

    commit = HfApi(endpoint=hub.endpoint).model_info("org/clip").sha
    images, prompts = [tiny.picture(1)], ["a dog"]
    first = DualEncoder("org/clip", revision=commit, device="cpu").score(images, prompts)
    before = len(hub.calls)
    again = DualEncoder("org/clip", revision=commit, device="cpu")
    assert again.score(images, prompts) == pytest.approx(first, abs=1e-7)
    assert hub.calls[before:] == []
    assert again.fields()["revision"] == commit


def test_without_a_commit_the_hub_is_asked_and_the_cache_is_for_when_it_does_not_answer(hub, monkeypatch):
    from huggingface_hub import constants

    images, prompts = [tiny.picture(1)], ["a dog"]
    with pytest.warns(UserWarning, match="loaded without a revision"):
        first = DualEncoder("org/clip", device="cpu").score(images, prompts)
    before = len(requests(hub))
    with pytest.warns(UserWarning, match="loaded without a revision"):
        _ = DualEncoder("org/clip", device="cpu").score(images, prompts)
    assert len(requests(hub)) > before, "main can have moved"
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.warns(UserWarning, match="loaded without a revision"):
        assert DualEncoder("org/clip", device="cpu").score(images, prompts) == pytest.approx(first, abs=1e-7)


@pytest.mark.parametrize("source", ["./missing", "runs/model/final", "/no/such/folder", "a b", "~/model"])
def test_a_path_that_does_not_exist_is_said_at_once(source):
    with pytest.raises(InputError, match="is not a folder here, and it cannot be a repository of the Hub"):
        require_source(source)
    with warnings.catch_warnings(), pytest.raises(InputError, match="is not a folder here"):
        warnings.simplefilter("ignore")
        _ = YesNo(source).checkpoint.model


def test_a_file_is_not_a_model(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(InputError, match=r"model\.safetensors is a file: give the folder of the model"):
        require_source(os.fspath(file))
