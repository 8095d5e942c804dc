"""Loading a published network through the class of its library, and nothing but safetensors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from avbench.codecs._base import Origin
from avbench.errors import EnvironmentFault, UserError
from avbench.hub_weights import HubModel, commit, snapshot
from avbench.progress import Reporter
from avbench.workspace import file_sha256


def find(
    name: str, model: HubModel, subfolder: str, weights: Path | None, accept_licence: bool, reporter: Reporter
) -> tuple[Path, Origin]:
    """The folder with ``config.json`` and weights of a shipped codec, and where they come from.

    Args:
        name: Of the codec.
        model: Its files on the hub.
        subfolder: Where they lie in the repository, or ``""``.
        weights: A folder of the user's own in place of the hub's; its files may lie in ``subfolder`` or directly in it.
        accept_licence: See `avbench.hub_weights.snapshot`.
        reporter: Where the bytes are shown.

    Raises:
        UserError: The folder holds no such files; or what `avbench.hub_weights.snapshot` raises.
    """
    root = snapshot(model, accept_licence=accept_licence, reporter=reporter) if weights is None else weights
    folder = root / subfolder
    if weights is not None and not (folder / "config.json").is_file():
        folder = weights
    files = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        raise UserError(
            f"{folder}: holds no config.json with .safetensors beside it; give the folder of codec {name} as its "
            "library saves it"
        )
    digest = hashlib.sha256()
    for path in (folder / "config.json", *files):
        digest.update(f"{path.name} {file_sha256(path)}\n".encode())
    source, revision = (model.repo, commit(root)) if weights is None else ("folder", "")
    return folder, Origin(name, source, revision, model.licence, digest.hexdigest())


def load(kind: Any, folder: Path) -> nn.Module:
    """A network of a library's class with the weights of a folder, all of them.

    Args:
        kind: Class with ``from_pretrained``, of diffusers or transformers.
        folder: See `find`.

    Raises:
        UserError: The folder holds another network, or a damaged one.
    """
    try:
        network, info = kind.from_pretrained(
            str(folder), use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{folder}: cannot be loaded as {kind.__name__} ({reason}); fetch it again") from error
    # the libraries fill what is missing with random numbers and go on; tables of a quantiser are not used here
    absent = sorted(key for key in info["missing_keys"] if not key.startswith("quantizer."))
    wrong = sorted(str(entry[0]) for entry in info.get("mismatched_keys", ()))
    if absent or wrong:
        raise UserError(
            f"{folder}: is not a whole {kind.__name__}: {len(absent) + len(wrong)} tensors are missing or of another "
            f"shape, the first is {(absent + wrong)[0]}; fetch it again"
        )
    assert isinstance(network, nn.Module)
    return network


def transformers() -> Any:
    """The library transformers, which is not among the dependencies of avbench.

    Raises:
        EnvironmentFault: It is not installed.
    """
    try:
        import transformers as library
    except ImportError as error:
        raise EnvironmentFault(
            "codecs encodec and dac are computed by the library transformers, which is not installed; install it with "
            "`pip install 'avbench[codecs]'`"
        ) from error
    return library
