"""What the JSON files and tables of a dataset must hold, so that a damaged or hostile one is a sentence, no surprise.

The models name what avbench reads; a file may hold more. Names of files hold no folder, so that none leads elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    RootModel,
    ValidationError,
    create_model,
    model_validator,
)

from avbench.errors import UserError
from avbench.schema import Clip

if TYPE_CHECKING:
    import pyarrow

_ID = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")]
_PLAIN = r"^[^/\\\x00-\x1f]{1,250}$"
_FileName = Annotated[str, Field(pattern=_PLAIN)]
_MOST = 1 << 53
_LARGEST_VIEW = 8192
"""Pixels."""
_SHOWN = 60
_FILTER_AGAIN = "delete it and filter.json beside it, and run the same command again"


class _Stored(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Source(_Stored):
    source_id: _ID
    url: str = ""
    group: str = ""
    title: str = ""
    licence: str = ""


class _Download(_Stored):
    status: Literal["done", "failed"]
    source: _Source | None = None
    params: str = ""
    file: str = Field("", pattern=r"^[^/\\\x00-\x1f]{0,250}$")
    bytes: NonNegativeInt = 0
    sha256: str = ""
    error: str = ""
    kind: str = ""


def _fields_of_clip(**narrower: Any) -> dict[str, Any]:
    """Type and default of each field of `Clip`, for a model; some with a narrower type."""
    types = get_type_hints(Clip) | narrower
    return {each.name: (types[each.name], ... if each.default is MISSING else each.default) for each in fields(Clip)}


_Clip = create_model(
    "_Clip",
    __base__=_Stored,
    **_fields_of_clip(
        clip_s=PositiveFloat,
        fps=PositiveFloat,
        width=NonNegativeInt,
        height=NonNegativeInt,
        sample_rate_hz=NonNegativeInt,
        channels=NonNegativeInt,
        file=_FileName,
    ),
)
_CutClip = create_model("_CutClip", __base__=_Clip, clip_id=(_ID, ...), source_id=(_ID, ...))


class _Segment(_Stored):
    source_id: str = ""
    status: Literal["done", "dropped", "failed"]
    clips: list[_CutClip]  # type: ignore[valid-type]  # made of the fields of Clip
    reason: str = ""
    failed_clips: dict[str, str] = {}
    params: str


class _Verdict(_Stored):
    filter: str
    keep: bool
    value: float
    reason: str


class _Judged(_Stored):
    clip: _Clip  # type: ignore[valid-type]  # the same
    error: str
    verdicts: list[_Verdict]
    prints: dict[str, Any] | list[Any]


class _Filter(_Stored):
    clips: list[_Judged]
    params: str


class _ShardRecord(_Stored):
    file: _FileName
    params: str
    bytes: NonNegativeInt
    sha256: str
    offsets: dict[str, Annotated[list[NonNegativeInt], Field(min_length=2, max_length=2)]]
    failed: dict[str, str]


class _Shard(_Stored):
    file: _FileName
    bytes: NonNegativeInt


class _Counted(_Stored):
    clips: NonNegativeInt


class _WholeShard(_Shard, _Counted):
    sha256: str


class _Split(_Stored):
    clips: NonNegativeInt
    sources: NonNegativeInt = 0
    hours: NonNegativeFloat = 0.0


class Marked(_Stored):
    """The part of ``DATASET.json`` that says what was taken down; of any version."""

    tombstones: list[dict[str, Any]] = []


class Packed(_Stored):
    """The part of ``DATASET.json`` that says how many clips there are; of any version."""

    dataset_sha256: str = ""
    shards: list[_Counted] = []


class DatasetCard(_Stored):
    """``DATASET.json``, as far as reading clips needs it."""

    name: str
    version: str
    splits: dict[str, _Split]
    shards: list[_Shard]
    recipe: dict[str, Any] = {}
    index_sha256: str
    dataset_sha256: str
    files: dict[_FileName, str] = {}
    dropped: dict[str, int] = {}
    failed: dict[str, str] = {}
    tombstones: list[dict[str, Any]] = []


class _WholeSplit(_Stored):
    clips: NonNegativeInt
    sources: NonNegativeInt
    hours: NonNegativeFloat


class ShownCard(DatasetCard):
    """``DATASET.json``, as far as a page shows it."""

    splits: dict[str, _WholeSplit]  # type: ignore[assignment]  # of which each is more


class WholeCard(ShownCard):
    """``DATASET.json``, as far as checking, publishing and changing a dataset needs it."""

    manifest_version: str
    licence: str
    generation: NonNegativeInt
    recipe: dict[str, Any]
    recipe_sha256: str
    shards: list[_WholeShard]  # type: ignore[assignment]  # of which each is more


class SitePause(_Stored):
    """A site that is left alone, below ``work/sites``."""

    site: str
    until_epoch_s: float
    reason: str
    since_epoch_s: float = 0.0


class Filtered(_Stored):
    """``work/filter.json``: the sources that the tables of the filter stage are about."""

    source_ids: list[_ID]


class Groups(RootModel[dict[str, str]]):
    """``work/groups.json``: split group by source."""

    model_config = ConfigDict(strict=True)


class _LatentStatistics(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    video_mean: list[float]
    video_std: list[float]
    audio_mean: list[float]
    audio_std: list[float]
    video_largest: float = 0.0
    audio_largest: float = 0.0


class Latents(_Stored):
    """``LATENTS.json``."""

    split: str
    window: dict[str, Annotated[float, Field(gt=0, lt=1e9)]]
    shape: dict[Literal["video", "audio"], list[Annotated[int, Field(gt=0, lt=1 << 20)]]]
    statistics: _LatentStatistics
    files: dict[_FileName, str]


class StatisticsHeader(_Stored):
    """Where stored feature rows come from."""

    protocol_id: str
    settings: dict[str, Any]
    about: dict[str, str]
    weights: dict[str, str]
    missing: dict[str, str]


class StatisticsWindows(_Stored):
    """The windows of one side of stored feature rows; every list has one entry per window."""

    ids: list[str]
    items: list[str]
    clusters: list[str]
    start_s: list[float]
    native_fps: list[float]
    notes: list[str]
    distinct: NonNegativeInt

    @model_validator(mode="after")
    def _one_each(self) -> StatisticsWindows:
        lists = (self.items, self.clusters, self.start_s, self.native_fps, self.notes)
        if {len(each) for each in lists} != {len(self.ids)}:
            raise ValueError("its lists have other lengths than its windows")
        return self


RECORDS: dict[str, type[BaseModel]] = {
    "download": _Download,
    "segment": _Segment,
    "filter": _Filter,
    "shard": _ShardRecord,
}
"""Record of one item in the ledger, by stage."""


def check(
    data: Any, model: type[BaseModel], path: Path, way_out: str = "delete it and run the same command again"
) -> Any:
    """``data`` as it is, once it holds what ``model`` says.

    Args:
        data: What was read.
        model: What it must hold.
        path: Where it stands.
        way_out: For the message.

    Raises:
        UserError: It does not; the message names file, place and value.
    """
    try:
        model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its content"
        shown = repr(first.get("input"))
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        raise UserError(f"{path}: damaged ({place} = {shown}: {first['msg']}); {way_out}") from error
    return data


INDEX_TEXTS = ("clip_id", "source_id", "split", "shard")
INDEX_WHOLE = ("view_frames", "view_size", "view_samples", "view_sample_rate_hz", "video_offset", "audio_offset")
INDEX_NUMBERS = ("view_fps",)


def check_table(
    path: Path,
    texts: Collection[str] = (),
    whole: Collection[str] = (),
    numbers: Collection[str] = (),
    way_out: str = "run the same command again that made it",
) -> pyarrow.Table:
    """Read a Parquet file of which some columns must be there, without empty cells.

    Args:
        path: The file.
        texts: Columns of text.
        whole: Columns of whole numbers from 0.
        numbers: Columns of finite numbers.
        way_out: For the message.

    Returns:
        All of its columns.

    Raises:
        UserError: Not such a file.
    """
    import pyarrow
    from pyarrow import compute, parquet, types

    def fault(why: str) -> UserError:
        return UserError(f"{path}: damaged ({why}); {way_out}")

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise fault(str(error).splitlines()[0] if str(error) else "not a Parquet file") from error
    for name in (*texts, *whole, *numbers):
        if table.column_names.count(name) != 1:
            raise fault(f"it has no column {name}")
        column = table[name]
        kind = column.type
        is_text = types.is_string(kind) or types.is_large_string(kind)
        is_number = types.is_integer(kind) or (name not in whole and types.is_floating(kind))
        if not (is_text if name in texts else is_number):
            raise fault(f"its column {name} is {kind}")
        if column.null_count:
            raise fault(f"its column {name} has an empty cell")
        if name in texts or not len(column):
            continue
        ends = compute.min_max(column).as_py()
        if name in whole and not 0 <= ends["min"] <= ends["max"] < _MOST:
            raise fault(f"its column {name} goes from {ends['min']} to {ends['max']}")
        if name in numbers and not compute.all(compute.is_finite(column)).as_py():
            raise fault(f"its column {name} holds what is no number")
    return table


def read_clips(path: Path) -> pyarrow.Table:
    """``work/kept.parquet``: a row per clip that passed every filter.

    Raises:
        UserError: See `check_table`.
    """
    return check_table(
        path,
        ("clip_id", "source_id", "group", "file", "licence"),
        ("width", "height", "sample_rate_hz", "channels"),
        ("start_s", "clip_s", "fps"),
        _FILTER_AGAIN,
    )


def read_drops(path: Path) -> pyarrow.Table:
    """``work/dropped.parquet``: a row per drop.

    Raises:
        UserError: See `check_table`.
    """
    return check_table(path, ("clip_id", "source_id", "filter", "reason"), (), ("value",), _FILTER_AGAIN)


def check_shown_index(path: Path) -> None:
    """Refuse an ``index.parquet`` that does not tell what a page shows of a clip.

    Raises:
        UserError: See `check_table`.
    """
    way_out = "build the dataset again with this avbench"
    whole = ("width", "height", "sample_rate_hz", "channels")
    check_table(path, ("clip_id", "source_id", "group", "licence"), whole, ("start_s", "clip_s", "fps"), way_out)


def check_index(path: Path) -> None:
    """Refuse an ``index.parquet`` whose columns a loader cannot use.

    Raises:
        UserError: See `check_table`; or a picture beyond all measure.
    """
    from pyarrow import compute

    way_out = "build the dataset again, or copy it again from where it is whole"
    table = check_table(path, INDEX_TEXTS, INDEX_WHOLE, INDEX_NUMBERS, way_out)
    for name in compute.unique(table["shard"]).to_pylist():
        if not re.fullmatch(_PLAIN, name):
            raise UserError(f"{path}: damaged (its shard {name!r} is no name of a file); {way_out}")
    largest = compute.max(table["view_size"]).as_py() or 0
    if largest > _LARGEST_VIEW:
        raise UserError(f"{path}: damaged (its column view_size goes up to {largest} pixels); {way_out}")
