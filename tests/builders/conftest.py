"""A release of the authors as a folder."""

import pytest
from release_files import HEADER, LINES, PICTURES, tar


@pytest.fixture(name="folder")
def release_folder(tmp_path):
    source = tmp_path / "release"
    source.mkdir()
    (source / "croc_hum.tsv").write_text("\n".join([HEADER, *LINES]) + "\n")
    tar(source / "images.tar.gz", PICTURES.items())
    return source
