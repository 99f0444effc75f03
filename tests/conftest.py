"""What every test shares: no network, caches in a temporary folder, the reference data where it is given."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest

# Before any Hub library is imported: they read these once, at import.
_CACHE = tempfile.mkdtemp(prefix="croc-tests-")
os.environ.update(
    HF_HOME=_CACHE,
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_EVALUATE_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
)
for _name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True)
def _no_answers_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for the answers of paid services; the folder is made when it is needed."""
    monkeypatch.setenv("CROC_CACHE", str(Path(_CACHE) / uuid4().hex))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Reference data that is not part of the project: ``CROC_SHARED_DATA`` or ``../shared/data``."""
    folder = Path(os.environ.get("CROC_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs the reference data in {folder} (or CROC_SHARED_DATA)")
    return folder
