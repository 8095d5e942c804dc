"""The only downloader of network weights: what they are, where they live, and whether the file here is the right one.

Published weights never travel with avbench. They are fetched once into a cache folder (``$AVBENCH_WEIGHTS``, else
``~/.cache/avbench/weights``) and their sha256 is checked at every use. Where nobody has published a digest, the first
fetch (or the first use of a file placed by hand) writes it to ``<file>.sha256``; from then on the file must keep it.
Result records carry the digest, so that two scores can be told apart by the weights behind them.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import pickle
import re
import struct
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.errors import EnvironmentFault, UserError, WeightsMissing
from avbench.progress import SILENT, Reporter
from avbench.workspace import file_sha256, free_bytes, publish, write_text

if TYPE_CHECKING:
    from torch import Tensor

FOLDER_VARIABLE = "AVBENCH_WEIGHTS"
SCHEMES = ("https", "http", "file")
_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
_DAMAGED = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    OverflowError,
)
"""What reading a file that holds no plain tensors may raise."""


@dataclass(frozen=True)
class Weight:
    """One file of published weights.

    Attributes:
        name: What ``avbench weights fetch NAME`` calls it.
        file: File name in the cache folder.
        urls: Where it can be downloaded, tried in order.
        sha256: Hex digest of the file, or None where none is published (trust on first use).
        size_bytes: Size, for messages and the disk check; exact only as far as the publisher states it.
        licence: Licence of the weights.
        note: Where they come from, and where the digest was published.
    """

    name: str
    file: str
    urls: tuple[str, ...]
    sha256: str | None
    size_bytes: int
    licence: str
    note: str = ""


class _Refused(Exception):
    """One address did not give the file; the reason is the message."""


def folder() -> Path:
    """The cache folder: ``$AVBENCH_WEIGHTS``, else ``~/.cache/avbench/weights``."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "avbench" / "weights"


def is_present(weight: Weight) -> bool:
    """Whether the file is in the cache folder, without reading it (`locate` checks its digest)."""
    return (folder() / weight.file).is_file()


def locate(weight: Weight) -> Path:
    """Path of the file, its digest checked.

    Raises:
        WeightsMissing: The file is not here; says which, from where, how large and how to get it.
        UserError: The file is here but has another digest.
    """
    path = folder() / weight.file
    if not path.is_file():
        raise WeightsMissing(
            f"{weight.name}: the weights {weight.file} ({megabytes(weight.size_bytes)}, {weight.licence}) are not on "
            f"this machine; fetch them with `avbench weights fetch {weight.name}`, or download {weight.urls[0]} and "
            f"place the file in {_shown(path.parent)}"
        )
    _check(weight, path, file_sha256(path))
    return path


def digest(weight: Weight) -> str:
    """Hex sha256 of the file in the cache folder: the published one, else the one recorded at first use.

    Raises:
        WeightsMissing: The file is not here.
    """
    if weight.sha256 is not None and is_present(weight):
        return weight.sha256
    path = locate(weight)
    record = _record(path)
    return record.read_text().strip() if record.is_file() else file_sha256(path)


def fetch(weight: Weight, reporter: Reporter = SILENT) -> Path:
    """Download the file into the cache folder unless the right one is there already.

    Args:
        weight: What to fetch.
        reporter: Where progress goes.

    Returns:
        Path of the checked file.

    Raises:
        UserError: A wrong file is in the way, or no address gave the right one.
        EnvironmentFault: The cache folder cannot be written, or its disk has no room.
    """
    if is_present(weight):
        return locate(weight)
    path = folder() / weight.file
    _prepare(path.parent, weight)
    faults = []
    for url in weight.urls:
        try:
            found = _download(weight, url, path, reporter)
        except (_Refused, OSError, http.client.HTTPException) as error:
            faults.append(f"{url} ({_reason(error)})")
        else:
            _check(weight, path, found)
            return path
    raise UserError(
        f"{weight.name}: {weight.file} could not be fetched from {' nor from '.join(faults)}; "
        f"try again, or place the file in {_shown(path.parent)} by hand"
    )


def read_tensors(path: Path, *, mapped: bool = False) -> dict[str, Tensor]:
    """Read named tensors (``.pt``, ``.pth``, ``.safetensors`` or ``.npz``) onto the CPU; no code in the file is run.

    Args:
        path: The file.
        mapped: Leave what a ``.pt`` holds on the disk until it is used, for a file that is read once and not kept.

    Raises:
        UserError: The file is not a plain table of tensors, or is cut off.
    """
    import safetensors
    import torch

    from avbench import npz
    from avbench.checkpoint import load_tensors

    try:
        if path.suffix == ".safetensors":
            tensors = load_tensors(path)
        elif path.suffix == ".npz":
            tensors = {name: torch.from_numpy(array) for name, array in npz.read(path).items()}
        else:
            mapped = mapped and zipfile.is_zipfile(path)  # older files of torch are no zip and cannot be mapped
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except MemoryError as error:
        raise UserError(f"{path}: asks for more memory than this machine has; fetch the weights again") from error
    except (*_DAMAGED, *npz.DAMAGE, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: {_refusal(path, str(error))}") from error
    if isinstance(tensors, dict) and "param_groups" in tensors:
        raise UserError(f"{path}: not a network but the state of an optimizer; give the network's file beside it")
    if not isinstance(tensors, dict) or not all(_is_plain(name, value) for name, value in tensors.items()):
        raise UserError(f"{path}: not a plain table of named tensors; give the network's state dict itself")
    return tensors


def _is_plain(name: object, value: object) -> bool:
    """A named tensor whose numbers all lie in the file: not sparse, quantised, repeated or without any."""
    import torch

    return (
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def _refusal(path: Path, error: str) -> str:
    """Why a file cannot be read, from the message of the library that tried."""
    code = re.search(r"(?:GLOBAL|global) ([\w.]+)", error)
    if code:
        return (
            f"not a file of plain tensors: reading it would run code ({code[1]}), which avbench never does; "
            "save the tensors of the network alone, or take its .safetensors"
        )
    with open(path, "rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    if (zipped and not zipfile.is_zipfile(path)) or re.search("unexpected EOF|incomplete metadata", error):
        return f"not a whole file, it ends after {path.stat().st_size} bytes; copy or download it again"
    # the library's own text on a refused pickle explains how to run the code in it
    reason = "" if error.startswith("Weights only") else error.split("\n", 1)[0]
    return f"not a file of plain tensors{f' ({reason})' if reason else ''}; fetch the weights again"


def megabytes(size_bytes: int) -> str:
    """A size for people: ``51 MB``, ``1.9 GB``."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"


def _shown(path: Path) -> str:
    """A folder for a message that may end up in a public record: the user's home is written ``~``."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _record(path: Path) -> Path:
    """Where the digest of a file without a published one is kept."""
    return path.with_name(path.name + ".sha256")


def _check(weight: Weight, path: Path, found: str) -> None:
    """Compare with the published digest, else with the recorded one, else record this one."""
    record = _record(path)
    expected = weight.sha256
    if expected is None and record.is_file():
        expected = record.read_text().strip()
    if expected is None:
        # a shared folder may be read-only: then there is nothing to compare with, and results carry the digest itself
        if os.access(path.parent, os.W_OK):
            write_text(record, found + "\n")
    elif found != expected:
        raise UserError(
            f"{path}: its sha256 is {found} but the weights {weight.name} have {expected}; "
            f"delete it and run `avbench weights fetch {weight.name}`"
        )


def _prepare(cache: Path, weight: Weight) -> None:
    """Make the cache folder and see that the file fits."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"{cache}: cannot be made ({error.strerror}); set {FOLDER_VARIABLE} elsewhere"
        ) from error
    if not os.access(cache, os.W_OK):
        raise EnvironmentFault(f"{cache}: cannot be written; set {FOLDER_VARIABLE} to a folder that can")
    free = free_bytes(cache)
    if free < weight.size_bytes:
        raise EnvironmentFault(
            f"{cache}: {weight.file} needs {megabytes(weight.size_bytes)} and the disk has {megabytes(free)} free; "
            f"free some space or set {FOLDER_VARIABLE} to another disk"
        )


def _download(weight: Weight, url: str, path: Path, reporter: Reporter) -> str:
    """Stream one address to ``path``, published only when it is whole and right; returns its sha256."""
    if urllib.parse.urlsplit(url).scheme not in SCHEMES:
        raise _Refused(f"not one of {', '.join(SCHEMES)}")
    request = urllib.request.Request(url, headers={"User-Agent": "avbench"})
    with publish(path) as temporary, urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        announced = answer.headers.get("Content-Length")
        hasher, received = hashlib.sha256(), 0
        with (
            open(temporary, "wb") as out,
            reporter.bar(weight.file, total=int(announced or weight.size_bytes), unit="B") as bar,
        ):
            while block := answer.read(_BLOCK_BYTES):
                out.write(block)
                hasher.update(block)
                received += len(block)
                bar.advance(len(block))
        if announced is not None and received != int(announced):
            raise _Refused(f"cut off after {received} of {announced} bytes")
        # an address that has died often answers 200 with a small page of text; without a digest only the size tells
        if weight.sha256 is None and received < weight.size_bytes // 2:
            raise _Refused(f"only {received} bytes, expected about {megabytes(weight.size_bytes)}")
        found = hasher.hexdigest()
        if weight.sha256 not in (None, found):
            raise _Refused(f"wrong file: its sha256 is {found}, expected {weight.sha256}")
    return found


def _reason(error: Exception) -> str:
    """Why an address failed, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
