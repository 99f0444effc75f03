"""A release of the authors as a folder, and a Hub to publish to."""

import pytest
from hub_server import Hub, online
from release_files import HEADER, LINES, PICTURES, tar


@pytest.fixture(name="folder")
def release_folder(tmp_path):
    source = tmp_path / "release"
    source.mkdir()
    (source / "croc_hum.tsv").write_text("\n".join([HEADER, *LINES]) + "\n")
    tar(source / "images.tar.gz", PICTURES.items())
    return source


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def hub(server, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    server.forget(page=3)
    with online(monkeypatch):
        yield server
