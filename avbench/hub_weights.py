"""Published models that are several files of a Hugging Face hub repository: fetched once, then read from this machine.

The files lie where every library of the hub looks for them (``HF_HOME``, else ``~/.cache/huggingface``). What is there
is used as it is and asks nobody: a branch that moved on the hub changes no result behind anybody's back, and the folder
that is returned is named for its commit. ``HF_ENDPOINT`` is honoured at the time of the call.

A single file with a known address and digest is `avbench.weights`' instead.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from avbench.errors import EnvironmentFault, TransientFault, UserError, WeightsMissing
from avbench.progress import SILENT, Bar, Reporter
from avbench.weights import megabytes
from avbench.workspace import free_bytes

# huggingface_hub takes most of a second to import: only who asks for a model pays

_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class HubModel:
    """Some files of one repository.

    Attributes:
        repo: ``owner/name``.
        revision: Commit, tag or branch.
        licence: Licence of the weights.
        non_commercial: It forbids commercial use: fetched only where that was accepted.
        patterns: Which files, as shell patterns on their paths; each must match at least one.
        gated: The hub gives it only to signed-in users who accepted its terms there.
    """

    repo: str
    revision: str
    licence: str
    non_commercial: bool
    patterns: tuple[str, ...]
    gated: bool = False


def snapshot(model: HubModel, *, accept_licence: bool = False, reporter: Reporter = SILENT) -> Path:
    """The folder that holds the files of a model under their paths in the repository, fetched where they are missing.

    Args:
        model: Which.
        accept_licence: The user accepts a licence that forbids commercial use.
        reporter: Where the bytes are shown; warned where the revision is a branch or a tag, which may move.

    Returns:
        A folder named for the commit, see `commit`. It may hold files that were not asked for.

    Raises:
        UserError: The licence was not accepted; the repository, revision or a file is not there, or not for this user.
        WeightsMissing: Files are missing and the hub cannot be reached.
        TransientFault: The transfer broke off; the next call goes on where it stopped.
        EnvironmentFault: The disk has no room.
    """
    require_licence(model, accept_licence)
    found = present(model)
    if found is None:
        found = _fetched(model, reporter)
    if not _COMMIT.fullmatch(model.revision):
        reporter.warn(
            f"{model.repo}: {model.revision} is no commit and may move on the hub; these files are {commit(found)}, "
            "write that as the revision into a recipe of your own to keep them"
        )
    return found


def _fetched(model: HubModel, reporter: Reporter) -> Path:
    """The folder of `snapshot`, fetched; what is there of it already is not fetched again."""
    from huggingface_hub import snapshot_download

    asked = _asked(model)
    size = missing_bytes(model)
    _require_room(model, size)
    reporter.note(f"{model.repo}: {megabytes(size)} to fetch; licence {model.licence}")
    try:
        with reporter.bar(model.repo, total=size, unit="B") as bar:
            found = Path(snapshot_download(**asked, endpoint=endpoint(), tqdm_class=_into(bar)))
    except _network_errors() as error:
        raise _fault(model, error) from error
    absent = _unmatched(model, [path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()])
    if absent:
        raise UserError(
            f"{model.repo}: holds no {absent} at {commit(found)[:12]}; it is not the model that avbench knows, "
            "name another revision or folder"
        )
    return found


def present(model: HubModel) -> Path | None:
    """The folder of `snapshot` where all files are on this machine, else None; asks no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(**_asked(model), local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    files = [path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()]
    return None if _unmatched(model, files) else found


def missing_bytes(model: HubModel) -> int:
    """Bytes that `snapshot` would fetch; the hub is asked for the sizes.

    Raises:
        UserError: See `snapshot`.
    """
    from huggingface_hub import snapshot_download

    try:
        files: Any = snapshot_download(**_asked(model), endpoint=endpoint(), dry_run=True, tqdm_class=_into(Bar()))
    except _network_errors() as error:
        raise _fault(model, error) from error
    return sum(file.file_size or 0 for file in files if file.will_download)


def require_licence(model: HubModel, accepted: bool) -> None:
    """Refuse a licence that forbids commercial use unless it was accepted.

    Raises:
        UserError: It was not; names the licence and where it stands.
    """
    if model.non_commercial and not accepted:
        raise UserError(
            f"{model.repo}: its licence, {model.licence}, forbids commercial use; read it at "
            f"{_page(model)} and give --accept-license"
        )


def commit(folder: Path) -> str:
    """Commit hash that a folder of `snapshot` holds."""
    return folder.name


def shown(revision: str) -> str:
    """A revision for a line of text: of a commit the first characters."""
    return revision[:12] if _COMMIT.fullmatch(revision) else revision


def endpoint() -> str:
    """Address of the hub: ``HF_ENDPOINT``, else the public one."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _asked(model: HubModel) -> dict[str, Any]:
    return {"repo_id": model.repo, "revision": model.revision, "allow_patterns": list(model.patterns)}


def _page(model: HubModel) -> str:
    return f"https://huggingface.co/{model.repo}"


def _unmatched(model: HubModel, files: list[str]) -> str:
    """The first pattern that no file matches, or an empty string."""
    return next((p for p in model.patterns if not any(fnmatch(name, p) for name in files)), "")


def _require_room(model: HubModel, size: int) -> None:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    if (free := free_bytes(cache)) < size:
        raise EnvironmentFault(
            f"{cache}: {model.repo} needs {megabytes(size)} and the disk has {megabytes(free)} free; free some space, "
            "or set HF_HOME to another disk"
        )


def _into(bar: Bar) -> Any:
    """A progress bar class that draws nothing; of the three the library makes, that of file bytes goes to ``bar``."""
    from huggingface_hub.utils import logging, tqdm

    # its retries are announced on stderr through logging, across our own bar
    logging.set_verbosity_error()

    class Passing(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts = str(kwargs.get("name")).endswith(".snapshot_download")
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts:
                bar.advance(n or 0)
            return None

    return Passing


def _network_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises. It has changed its HTTP library before: its base is named through its own class."""
    from huggingface_hub.errors import HfHubHTTPError

    return (HfHubHTTPError.__bases__[0], OSError, ValueError)


def _fault(model: HubModel, error: BaseException) -> Exception:
    """One sentence for what the hub's client raised."""
    from huggingface_hub.errors import (
        DisabledRepoError,
        DryRunError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    while isinstance(error, DryRunError | LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentFault(f"{model.repo}: the disk is full; free some space, or set HF_HOME to another disk")
    host = re.sub(r"^https?://", "", endpoint()).rpartition("@")[2]
    if isinstance(error, GatedRepoError):
        return UserError(
            f"{model.repo}: the hub gives it only to signed-in users who accepted its terms ({model.licence}); accept "
            f"them at {_page(model)}, run 'hf auth login' and try again"
        )
    if isinstance(error, RepositoryNotFoundError | DisabledRepoError):
        return UserError(
            f"{model.repo}: the hub {host} has no such repository, or it is private; check the name, or run "
            "'hf auth login'"
        )
    if isinstance(error, RevisionNotFoundError):
        return UserError(f"{model.repo}: the hub {host} has no revision {model.revision!r} of it; name another")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return TransientFault(f"{model.repo}: the hub {host} answered with HTTP {status}; try again later")
    if type(error).__name__ in ("ConnectError", "ConnectTimeout", "OfflineModeIsEnabled", "LocalEntryNotFoundError"):
        files = " ".join(f"--include '{pattern}'" for pattern in model.patterns)
        return WeightsMissing(
            f"{model.repo}: its weights ({model.licence}) are not on this machine and the hub {host} cannot be "
            f"reached; check the network, HF_ENDPOINT and HF_HUB_OFFLINE, or fetch them elsewhere with `hf download "
            f"{model.repo} --revision {model.revision} {files}` and copy that cache folder"
        )
    detail = str(error).split("\n")[0] or type(error).__name__
    return TransientFault(
        f"{model.repo}: the transfer from {host} broke off ({detail}); run the same command again, it goes on there"
    )
