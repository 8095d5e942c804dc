"""Reading a finished dataset: what training, scoring and the command line know of one.

A dataset is a folder with ``shards/``: tars, ``index.parquet`` (one row per clip), ``README.md`` and
``croissant.json`` (the card, for people and for programs), and ``DATASET.json``, which is written last and therefore
says that the rest is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench import formats
from avbench.errors import UserError
from avbench.schema import SCHEMA_VERSION
from avbench.workspace import file_sha256, read_json

if TYPE_CHECKING:
    import pandas

CARD_NAME = "DATASET.json"
INDEX_NAME = "index.parquet"
README_NAME = "README.md"
CROISSANT_NAME = "croissant.json"
LATENTS_FOLDER = "latents"
"""Below the folder of a dataset: what codecs made of its clips (docs/latent.md). It can be deleted at any time."""


_MEND = "build the dataset again, or copy it again from where it is whole"

DATASETS = Path("datasets")
"""Where datasets are built unless the user says otherwise."""


def find_dataset(name: str) -> Path:
    """Folder of a dataset: a path, or a name below ``datasets/``.

    Raises:
        UserError: Neither; says how to build it.
    """
    for candidate in (Path(name), DATASETS / name):
        if is_dataset(candidate):
            return candidate
    raise UserError(
        f"{name}: is no finished dataset (looked for {Path(name) / 'shards' / 'DATASET.json'} and below {DATASETS}/); "
        f"build it with `avbench build-dataset {Path(name).name}`"
    )


def is_dataset(root: Path) -> bool:
    """True when ``root`` holds a finished dataset."""
    return (root / "shards" / CARD_NAME).is_file()


def is_begun(root: Path) -> bool:
    """True when ``root`` holds a dataset, finished or not: the films below it are those of its stages."""
    return is_dataset(root) or (root / "work" / "ledger").is_dir()


def dataset_card(root: Path) -> dict[str, Any]:
    """The dataset's ``DATASET.json``: name, version, recipe, splits, what was dropped and failed, shards and hashes.

    Args:
        root: Folder of the dataset, the parent of ``shards/``.

    Raises:
        UserError: Not a finished dataset, damaged, or made by a newer avbench.
    """
    path = root / "shards" / CARD_NAME
    if not path.is_file():
        raise UserError(
            f"{root} is not a finished dataset (no shards/{CARD_NAME}); build it with `avbench build-dataset NAME "
            f"--out {root}`"
        )
    card = read_json(path)
    version = card.get("schema_version") if isinstance(card, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: written with schema version {version}, this avbench reads {SCHEMA_VERSION}; build the dataset "
            f"again with this avbench"
        )
    found: dict[str, Any] = formats.check(card, formats.DatasetCard, path, _MEND)
    return found


def load_index(root: Path) -> pandas.DataFrame:
    """The dataset's clips, one row each, sorted by split and clip id.

    ``video_offset`` and ``audio_offset`` are the bytes in the tar ``shards/<shard>`` where the raw arrays of the
    training view begin: uint8 (view_frames, view_size, view_size, 3) and float32 (view_samples,).

    Args:
        root: Folder of the dataset.

    Raises:
        UserError: Not a finished dataset, or index and ``DATASET.json`` do not belong together.
    """
    card = dataset_card(root)
    path = root / "shards" / INDEX_NAME
    if not path.is_file() or file_sha256(path) != card["index_sha256"]:
        raise UserError(f"{path}: absent or not the one {CARD_NAME} names; run the same `avbench build-dataset` again")
    formats.check_index(path)
    import pandas

    return pandas.read_parquet(path)
