"""What running language models and image models has in common: loading, memory, failures of services."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from croc.errors import CrocError
from croc.jobs.parts import Abort
from croc.jobs.worker_state import keep_one
from croc.storage.files import canonical
from croc.storage.hub_access import cached, is_offline, require_readable, require_source
from croc.storage.service import error_message, permanent_failure
from croc_syn.model_settings import Endpoint, Model

log = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")


def load_once(make: Callable[..., Loaded], *settings: BaseModel) -> Loaded:
    """The model that ``make`` loads with these settings, kept in the process for the next part.

    Only one model is kept: another one takes its place before it is loaded.
    """
    key = canonical([repr(make), *(section.model_dump(mode="json") for section in settings)])
    return keep_one("croc_syn", key, lambda: make(*settings))


def halve_batch(error: Exception, batch_size: int, model: str, *, item: str, advice: str) -> int:
    """The batch size to continue with after an error: half of it when memory ran out.

    Args:
        error: raised by a batch; raised again unless memory ran out.
        batch_size: of the batch that failed.
        model: its name, for messages.
        item: what a batch consists of, in the singular.
        advice: what needs less memory.

    Raises:
        Abort: memory is short for a single item.
    """
    short = type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower()
    if not (short or isinstance(error, MemoryError)):
        raise error
    if batch_size == 1:
        raise Abort(f"{model}: out of memory with a single {item}; {advice}") from error
    half = batch_size // 2
    log.warning("%s: out of memory with batches of %d, continuing with %d", model, batch_size, half)
    error.__traceback__ = None  # its frames hold what is to be freed
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return half


def warn_unpinned(model: Model) -> None:
    """Warn about a model of the Hub without a revision."""
    if model.revision is None and not model.is_local:
        log.warning("%s: no revision is given, so the model may differ on another day", model.model)


def require_download(source: str, revision: str | None, file: str, kind: str) -> None:
    """Ask the Hub once whether a model can be downloaded; its libraries would retry for half a minute.

    Args:
        source: folder or Hub id.
        revision: commit of the repository.
        file: that is downloaded first.
        kind: what the model is called in the message.

    Raises:
        Abort: it cannot; the sentence says why.
    """
    if Path(source).is_dir() or is_offline() or cached(source, revision, file):
        return
    try:
        require_source(source)
        require_readable(source, revision, file)
    except CrocError as error:
        raise Abort(f"{kind}: {error}") from None


def loading_failed(error: Exception, model: Model, kind: str) -> Abort:
    """The exception for a model that cannot be loaded, with a hint where the reason is known."""
    where = model.model if model.is_local else f"{model.model} at {model.revision or 'its newest revision'}"
    text = f"{type(error).__name__} {error}".lower()
    hint = ""
    if "gated" in text or "401" in text or "403" in text:
        hint = "; accept its licence on the Hub and log in with `hf auth login`"
    elif "revision" in text:
        hint = "; the revision may not exist"
    return Abort(f"{kind} {where}: cannot be loaded ({first_line(error)}){hint}")


def first_line(error: Exception, most: int = 300) -> str:
    """The first line of an error's message, or its type if there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


def service_failure(error: Exception, model: Model, settings: Endpoint, address: object) -> str:
    """The reason why a service gave no response, after all retries of the client.

    Raises:
        Abort: no other request would succeed either: the key, the model's name, the address.
    """
    reason = permanent_failure(
        error, model=model.model, key_variable=settings.key_variable, address=str(address)
    )
    if reason is not None:
        raise Abort(f"{model.name}: {reason}") from error
    return f"the service failed, after all retries: {error_message(error)}"
