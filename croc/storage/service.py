"""Services that speak OpenAI's interface: where their key is, how fast to ask, what an error means."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from croc.errors import InputError


def key_of(variable: str) -> str:
    """The key in an environment variable; keys are never arguments.

    Raises:
        InputError: it is not set.
    """
    key = os.environ.get(variable)
    if not key:
        raise InputError(f"the environment variable {variable} is not set: put the API key there")
    return key


def said(error: Any, most: int = 200) -> str:
    """What a service says of an error, in one line, without what was sent to it."""
    body = getattr(error, "body", None)
    text = str(body["message"]) if isinstance(body, dict) and body.get("message") else str(error)
    return " ".join(text.split())[:most] or type(error).__name__


def hopeless(error: Exception, *, model: str, key_variable: str, address: str) -> str | None:
    """Why no other request would fare better than the one that failed; None where it might.

    Args:
        error: of the openai client, after all its retries.
        model: what the service was asked for.
        key_variable: where its key is.
        address: where it should be.
    """
    import openai

    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return f"{address} does not take the key in {key_variable} (expired, or not for this): {said(error)}"
    if isinstance(error, openai.NotFoundError):
        return f"{address} has no model {model}: {said(error)}"
    if isinstance(error, openai.APITimeoutError):
        return None
    if isinstance(error, openai.APIConnectionError):
        return f"no service answers at {address}"
    status, code = getattr(error, "status_code", None), getattr(error, "code", None)
    if status == 402 or (status == 429 and code == "insufficient_quota"):
        return f"the account behind {key_variable} is used up: {said(error)}"
    return None


class Pace:
    """Gives out turns, so many a minute, evenly: who takes one is told how long to wait for it.

    Threads and coroutines take turns alike, as each sleeps in its own way.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._step = 0.0 if per_minute is None else 60.0 / per_minute
        self._next = 0.0
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Seconds from now to the turn that is taken hereby; 0.0 without a limit."""
        if not self._step:
            return 0.0
        with self._lock:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + self._step
        return mine - now
