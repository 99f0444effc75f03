"""Services that speak OpenAI's interface: where their key is, and what their errors mean for a run."""

from __future__ import annotations

import os
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
