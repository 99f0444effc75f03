"""Whether a repository of the Hub can be read, found out quickly and said in one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from croc.errors import CrocError, InputError

_TIMEOUT = 10.0
_REPOSITORY = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
_LONGEST = 96

Kind = Literal["model", "dataset"]


class HubUnreachable(CrocError):
    """The Hub does not answer, so nothing is known about the repository."""


def can_be_repository(name: str) -> bool:
    """Whether a name can be a repository of the Hub: ``NAME`` or ``ORGANISATION/NAME``."""
    return len(name) <= _LONGEST and _REPOSITORY.fullmatch(name) is not None


def require_source(source: str | Path) -> None:
    """Require an existing folder of a model, or a name that can be a repository of the Hub.

    Raises:
        InputError: it is neither.
    """
    text = str(source)
    path = Path(text)
    if path.is_dir():
        return
    if path.is_file():
        raise InputError(f"{text} is a file: give the folder of the model, with config.json and its weights")
    if isinstance(source, Path) or not can_be_repository(text):
        raise InputError(
            f"{text} is not a folder here, and it cannot be a repository of the Hub (ORGANISATION/NAME)"
        )


def cached(repository: str, revision: str | None, file: str) -> bool:
    """Whether a file of a model's repository is in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, file, revision=revision), str)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the Hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def require_readable(
    repository: str, revision: str | None, file: str | None = None, kind: Kind = "model"
) -> None:
    """Require that a file of a repository can be downloaded; asks the Hub once, without retries.

    Args:
        repository: name of the repository.
        revision: commit, tag or branch; None is the newest commit.
        file: path in the repository; None asks for the repository alone.
        kind: of the repository.

    Raises:
        HubUnreachable: the Hub does not answer.
        CrocError: the file cannot be downloaded; the message says why, and what to do.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    is_model = kind == "model"
    page = _page(repository, kind)
    download = f"hf download {repository}" + ("" if is_model else " --repo-type dataset")
    download += f" --revision {revision}" if revision else ""
    place = "in the cache of this machine"
    absent = (
        f"{repository} is not {place}" if is_model else f"{repository} is neither a folder here nor {place}"
    )
    if is_offline():
        raise CrocError(
            f"{absent}, and HF_HUB_OFFLINE forbids to download it: run `{download}` where there is a network"
        )
    url = hf_hub_url(
        repository, file or "README.md", repo_type=kind, revision=revision, endpoint=constants.ENDPOINT
    )
    try:
        get_hf_file_metadata(url, endpoint=constants.ENDPOINT, timeout=_TIMEOUT, retry_on_errors=False)
    except GatedRepoError:
        raise _gated(repository, page) from None
    except RevisionNotFoundError:
        raise CrocError(f"{repository} has no revision {revision}: see {page}/commits/main") from None
    except RepositoryNotFoundError:
        raise CrocError(
            f"the Hub has no {'repository' if is_model else 'dataset'} {repository}, or it is private: check "
            "the name, or log in with `hf auth login`"
        ) from None
    except EntryNotFoundError:
        if file is not None:
            raise CrocError(f"{repository} has no {file}, so it is not such a model") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise CrocError(
                f"{page} may not be read with this access token (status {status}): log in with "
                "`hf auth login`"
            ) from None
        raise CrocError(f"{page} answered with status {status}: try again later") from None
    except UnicodeError:  # of a header; its message would show the token
        raise CrocError(
            f"{repository}: the access token contains invalid characters; copy it again"
        ) from None
    except Exception as error:
        if not is_connection_error(error):
            raise
        raise HubUnreachable(
            f"{absent}, and {constants.ENDPOINT} cannot be reached ({type(error).__name__}): check the "
            f"network, or run `{download}` on a machine that has one"
        ) from None


def _page(repository: str, kind: Kind) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'' if kind == 'model' else 'datasets/'}{repository}"


def _gated(repository: str, page: str) -> CrocError:
    return CrocError(f"{repository} is gated: accept its licence at {page} and log in with `hf auth login`")


def download_snapshot(
    repository: str,
    revision: str | None = None,
    patterns: Sequence[str] | None = None,
    kind: Kind = "dataset",
) -> Path:
    """Download a repository, or find it in the cache where the Hub cannot be reached.

    Args:
        repository: its name.
        revision: commit, tag or branch; None is the newest commit.
        patterns: of the files; None takes all.
        kind: of the repository.

    Returns:
        The folder in the cache.

    Raises:
        InputError: the name cannot be a repository of the Hub.
        CrocError: it cannot be downloaded; the message says why.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    if not can_be_repository(repository):
        raise InputError(f"{repository}: neither an existing folder nor a Hub id (ORGANISATION/NAME)")
    unreachable: HubUnreachable | None = None
    if not is_offline():
        try:
            require_readable(repository, revision, kind=kind)
        except HubUnreachable as error:
            unreachable = error
    from_cache = is_offline() or unreachable is not None
    try:
        return Path(
            snapshot_download(
                repository,
                repo_type=kind,
                revision=revision,
                allow_patterns=None if patterns is None else list(patterns),
                local_files_only=from_cache,
            )
        )
    except LocalEntryNotFoundError as error:
        if unreachable is not None:
            raise unreachable from None
        if from_cache:
            require_readable(repository, revision, kind=kind)  # says that it is forbidden
        raise HubUnreachable(f"{repository}: cannot be downloaded ({error})") from None
    except GatedRepoError:  # the card of a gated repository can be read by everyone
        raise _gated(repository, _page(repository, kind)) from None
    except (HfHubHTTPError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CrocError(f"{repository}: cannot be downloaded ({reason})") from None


def is_connection_error(error: BaseException) -> bool:
    """Whether the Hub cannot be reached; its client has changed the library that makes the request."""
    return isinstance(error, OSError) or any(
        base.__name__ == "TransportError" for base in type(error).__mro__
    )
