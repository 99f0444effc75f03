"""Whether a repository of models can be read, found out quickly and said in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

from croc.errors import CrocError, InputError

_TIMEOUT = 10.0
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")


class HubUnreachable(CrocError):
    """The Hub does not answer, so nothing is known about the repository."""


def require_source(source: str | Path) -> None:
    """Require an existing folder, or a name that can be a repository of the Hub.

    Raises:
        InputError: it is neither.
    """
    text = str(source)
    path = Path(text)
    if path.is_dir():
        return
    if path.is_file():
        raise InputError(f"{text} is a file: give the folder of the model, with config.json and its weights")
    if isinstance(source, Path) or not _REPOSITORY.fullmatch(text) or text.startswith("."):
        raise InputError(
            f"{text} is not a folder here, and it cannot be a repository of the Hub (ORGANISATION/NAME)"
        )


def cached(repository: str, revision: str | None, file: str) -> bool:
    """Whether a file of a repository is in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, file, revision=revision), str)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the Hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def require_readable(repository: str, revision: str | None, file: str) -> None:
    """Require that a file of a repository can be downloaded; asks the Hub once, without retries.

    Raises:
        CrocError: it cannot; the message says why, and what to do.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{repository}"
    download = f"hf download {repository}" + (f" --revision {revision}" if revision else "")
    absent = f"{repository} is not in the cache of this machine"
    if is_offline():
        raise CrocError(
            f"{absent}, and HF_HUB_OFFLINE forbids to download it: run `{download}` where there is a network"
        )
    try:
        get_hf_file_metadata(
            hf_hub_url(repository, file, revision=revision, endpoint=constants.ENDPOINT),
            endpoint=constants.ENDPOINT,
            timeout=_TIMEOUT,
            retry_on_errors=False,
        )
    except GatedRepoError:
        raise CrocError(
            f"{repository} is gated: accept its licence at {page} and log in with `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise CrocError(f"{repository} has no revision {revision}: see {page}/commits/main") from None
    except RepositoryNotFoundError:
        raise CrocError(
            f"the Hub has no repository {repository}, or it is private: check the name, "
            "or log in with `hf auth login`"
        ) from None
    except EntryNotFoundError:
        raise CrocError(f"{repository} has no {file}: it does not hold a model of transformers") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise CrocError(f"{page} answered with status {status}: try again later") from None
    except Exception as error:
        if not _is_connection_error(error):
            raise
        raise HubUnreachable(
            f"{absent}, and {constants.ENDPOINT} cannot be reached ({type(error).__name__}): check the "
            f"network, or run `{download}` on a machine that has one"
        ) from None


def _is_connection_error(error: Exception) -> bool:
    """Whether the Hub cannot be reached; its client has changed the library that makes the request."""
    return isinstance(error, OSError) or any(
        base.__name__ == "TransportError" for base in type(error).__mro__
    )
