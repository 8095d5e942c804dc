"""What can be scored: a folder of clips, a dataset of avbench, WebDataset shards. All become windows of one shape.

An item is one clip; `Item.windows` decodes it into windows at the protocol's frame rate, picture size and audio rate. A
clip that cannot give one is a failure with its reason; nothing is padded, repeated or replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol as Interface

from avbench import recipe
from avbench.dataset import is_begun, is_dataset
from avbench.errors import UserError
from avbench.inputs.card import Card, read_card
from avbench.inputs.datasets import DatasetItem, dataset_items
from avbench.inputs.files import AUDIO_SUFFIXES, VIDEO_SUFFIXES, FileItem
from avbench.inputs.frames import FramesItem
from avbench.inputs.given import Given, GivenItem, read_given
from avbench.inputs.prompt_tables import find_prompt, prompt_beside, prompt_table, tables
from avbench.inputs.scan import RefusedItem, Scan, scan
from avbench.inputs.shards import ShardItem
from avbench.inputs.window import Window
from avbench.protocol import Protocol

__all__ = [
    "AUDIO_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Card",
    "DatasetItem",
    "FileItem",
    "FramesItem",
    "Given",
    "GivenItem",
    "Item",
    "RefusedItem",
    "ShardItem",
    "Window",
    "outputs",
    "prompts",
    "read_card",
    "read_given",
    "reference",
    "same_content",
]


class Item(Interface):
    """One clip, wherever it lies."""

    @property
    def item_id(self) -> str:
        """Its name in the folder or dataset, safe to print."""

    def content_sha256(self) -> str:
        """Digest of what its windows are made from, without decoding; equal for equal content."""

    def windows(self, protocol: Protocol) -> Iterator[Window]:
        """Its windows.

        Raises:
            MediaError: It gives none; the reason begins with its name.
        """


def outputs(folder: Path, protocol: Protocol) -> tuple[list[Item], dict[str, str]]:
    """The clips to score, and what looks like a clip and is none, with the reason.

    Of clips of which a part was given, windows are cut from what was made (`avbench.inputs.given`).

    Args:
        folder: A folder of clips in any layout of docs/inputs.md, or a finished dataset, of which every split counts.
        protocol: What it needs of a clip decides what counts as one.

    Raises:
        UserError: No folder, no clips, one clip, a damaged ``samples.json``, or a dataset that is not whole.
    """
    if is_dataset(folder):
        return list(dataset_items(folder, protocol, "all")[0]), {}
    _refuse_unfinished(folder)
    found = _scan(folder, protocol)
    items: list[Item] = [item for item in found.items if not isinstance(item, RefusedItem)]
    if len(items) < 2:
        raise UserError(
            f"{folder}: holds {_what(items)}; a score needs at least {protocol.min_n} clips (docs/inputs.md)"
            f"{_hint(found)}"
        )
    given = read_given(folder)
    refused = {item.item_id: item.reason for item in found.items if isinstance(item, RefusedItem)}
    return [given.item(item) for item in items], refused


def reference(where: Path, protocol: Protocol) -> tuple[list[Item], dict[str, str]]:
    """The reference side: a finished dataset, or a folder of clips.

    Returns:
        Items, and what is known of the reference for the record (name, version, sha256, split).

    Raises:
        UserError: Neither, the dataset's split is empty, or the dataset is not whole.
    """
    if is_dataset(where):
        split = protocol.reference_split
        clips, card = dataset_items(where, protocol, split)
        about = {"name": card["name"], "version": card["version"], "sha256": card["dataset_sha256"], "split": split}
        return list(clips), about
    _refuse_unfinished(where)
    found = _scan(where, protocol)
    if not found.items:
        raise UserError(
            f"{where}: neither a finished dataset (no shards/DATASET.json) nor a folder of clips{_hint(found)}"
        )
    digest = recipe.sha256({item.item_id: _content(item) for item in found.items})
    return list(found.items), {"name": where.resolve().name, "version": "", "sha256": digest, "split": ""}


def _refuse_unfinished(folder: Path) -> None:
    """Say so where a dataset has no shards, instead of taking what its stages left for a folder of clips."""
    if is_begun(folder):
        raise UserError(
            f"{folder}: is a dataset without its shards (no shards/DATASET.json); copy it again from where the dataset "
            "is whole, or run the same `avbench build-dataset` again"
        )


def prompts(folder: Path, items: Sequence[str], table: Path | None = None) -> dict[str, str]:
    """The prompt of each clip that has one, by item id.

    Args:
        folder: Where the clips lie; ``samples.json``, ``prompts.json`` and tables in it are read.
        items: Item ids.
        table: A table to read instead, such as the .csv of JavisBench or the prompts.json of T2AV-Compass.

    Raises:
        UserError: A table is damaged or has another format.
    """
    known = [prompt_table(table)] if table is not None else list(tables(folder))
    found = {}
    for name in dict.fromkeys(items):
        texts = (find_prompt(entry, name) for entry in known)
        text = next((text for text in texts if text), "") or prompt_beside(folder, name)
        if text:
            found[name] = text
    return found


def same_content(items: Sequence[Item], others: Sequence[Item] | None = None) -> list[tuple[str, str]]:
    """Clips whose content is that of another: (clip, the one it equals).

    Args:
        items: Clips to look at.
        others: Where to look for their content; None looks for repeats among ``items`` themselves.
    """
    known: dict[str, str] = {} if others is None else {_content(i): i.item_id for i in reversed(others)}
    found = []
    for item in items:
        digest = _content(item)
        if not digest:
            continue
        if digest in known:
            found.append((item.item_id, known[digest]))
        elif others is None:
            known[digest] = item.item_id
    return found


def _scan(folder: Path, protocol: Protocol) -> Scan:
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    return scan(folder, protocol, read_card(folder).stated)


def _what(items: Sequence[Item]) -> str:
    return "no clip" if not items else f"one clip ({items[0].item_id})"


def _hint(found: Scan) -> str:
    """What else is there, when there are no clips."""
    refused = next((item.reason for item in found.items if isinstance(item, RefusedItem)), "")
    pickles = sum(found.left_out[suffix] for suffix in (".pt", ".pth", ".pkl", ".pickle"))
    if pickles:
        return f"; it holds {pickles} pickled files, which are not opened: save the tensors as .npz or .safetensors"
    if found.left_out[".gz"] or found.left_out[".zip"]:
        return "; it holds archives, which are not opened: unpack them (a plain .tar is read as a shard)"
    return f"; {refused}" if refused else ""


def _content(item: Item) -> str:
    """Its digest, or nothing for a file that cannot be read; decoding will say why."""
    try:
        return item.content_sha256()
    except OSError:
        return ""
