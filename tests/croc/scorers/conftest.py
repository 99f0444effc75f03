"""What tests of scorers share."""

from __future__ import annotations

import pytest
from vision_endpoint import KEY, Endpoint


@pytest.fixture
def endpoint(monkeypatch):
    """A chat endpoint on loopback, and its key in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    found = Endpoint()
    yield found
    found.server.shutdown()
    found.server.server_close()
