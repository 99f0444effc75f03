"""Services with OpenAI's interface: API keys, rate limits, and the meaning of errors."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from croc.errors import InputError


def api_key(variable: str) -> str:
    """Read an API key from an environment variable; keys are never arguments.

    Raises:
        InputError: the variable is not set.
    """
    key = os.environ.get(variable)
    if not key:
        raise InputError(f"the environment variable {variable} is not set; it must contain the API key")
    return key


def error_message(error: Any, most: int = 200) -> str:
    """The message of a service's error in one line, without the request."""
    body = getattr(error, "body", None)
    text = str(body["message"]) if isinstance(body, dict) and body.get("message") else str(error)
    return " ".join(text.split())[:most] or type(error).__name__


def permanent_failure(error: Exception, *, model: str, key_variable: str, address: str) -> str | None:
    """The reason why every other request would fail, too; None if another request may succeed.

    Args:
        error: of the openai client, after all its retries.
        model: name of the model in the request.
        key_variable: environment variable with the API key.
        address: address of the service.
    """
    import openai

    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return (
            f"{address} does not accept the key in {key_variable} (expired or without permission): "
            f"{error_message(error)}"
        )
    if isinstance(error, openai.NotFoundError):
        return f"{address} has no model {model}: {error_message(error)}"
    if isinstance(error, openai.APITimeoutError):
        return None
    if isinstance(error, openai.APIConnectionError):
        return f"there is no service at {address}"
    status, code = getattr(error, "status_code", None), getattr(error, "code", None)
    if status == 402 or (status == 429 and code == "insufficient_quota"):
        return f"the quota of the key in {key_variable} is exhausted: {error_message(error)}"
    return None


class RateLimiter:
    """Spaces requests evenly over time.

    :meth:`reserve` does not sleep itself, so threads and coroutines can share one limiter.

    Args:
        per_minute: requests per minute; None sets no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._interval = 0.0 if per_minute is None else 60.0 / per_minute
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Reserve the next free time for a request; return the seconds until then, 0.0 without a limit."""
        if not self._interval:
            return 0.0
        with self._lock:
            now = time.monotonic()
            reserved = max(now, self._next)
            self._next = reserved + self._interval
        return reserved - now
