"""From kept clips to tars: what each shard holds, its training views, and its bytes.

A shard is planned before a frame is decoded: the size of every member is known. So a finished shard is recognised by
its plan and never made twice, and only the views of the shard being written are on disk beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from avbench import parallel
from avbench.curate import _views
from avbench.curate._tar import TarWriter, archive_bytes, member_bytes, npy_header
from avbench.curate._views import View
from avbench.curate.tombstones import Hole
from avbench.progress import Reporter
from avbench.recipe import ShardRecipe, canonical, sha256
from avbench.schema import SCHEMA_VERSION, Outcome
from avbench.workspace import Workspace, publish

STAGE = "shard"


@dataclass(frozen=True)
class PackedClip:
    """One clip on its way into a shard.

    Attributes:
        row: What the index and the sample's JSON say of it, offsets and shard aside.
        file: The finished clip.
        view: Its training view.
    """

    row: dict[str, Any]
    file: Path
    view: View

    @property
    def clip_id(self) -> str:
        """Its id, the WebDataset key."""
        return str(self.row["clip_id"])

    @cached_property
    def json(self) -> bytes:
        """The sample's JSON member."""
        return (canonical(self.row) + "\n").encode()

    @cached_property
    def headers(self) -> tuple[bytes, bytes]:
        """npy headers of the video and the audio array."""
        return npy_header("u1", self.view.shape), npy_header("<f4", (self.view.samples,))

    @property
    def tar_bytes(self) -> int:
        """What the four members take in a tar."""
        video, audio = (len(header) for header in self.headers)
        sizes = (self.row["bytes"], video + self.view.video_bytes, audio + self.view.audio_bytes, len(self.json))
        return sum(member_bytes(size) for size in sizes)

    @property
    def view_name(self) -> str:
        """Name of its view file: the same only for the same clip and the same view."""
        return _views.name(self.clip_id, self.view, self.row["sha256"])


@dataclass(frozen=True)
class ShardPlan:
    """One shard before it is made: its file name and its clips, in their order in the tar."""

    file: str
    clips: tuple[PackedClip, ...]

    @property
    def params(self) -> str:
        """What its bytes depend on."""
        return shard_params(self.file, [clip.row for clip in self.clips])


@dataclass(frozen=True)
class ShardRecord:
    """One shard that is made, as its ledger record tells it.

    Attributes:
        file: Its name.
        params: `ShardPlan.params` of what it was made from.
        bytes: Its size.
        sha256: Its digest.
        offsets: Clip id to the offsets of the raw video and audio arrays.
        failed: Clip id to the reason why it is not in it.
    """

    file: str
    params: str
    bytes: int
    sha256: str
    offsets: dict[str, list[int]]
    failed: dict[str, str]


def read_row(member: bytes) -> dict[str, Any]:
    """What the JSON member of a sample says: `PackedClip.row`."""
    row: dict[str, Any] = json.loads(member)
    return row


def shard_params(file: str, rows: Sequence[dict[str, Any]]) -> str:
    """Digest of what the bytes of a shard depend on: its name and what is said of its clips, in their order."""
    return sha256({"schema_version": SCHEMA_VERSION, "file": file, "rows": list(rows)})


def plan(split: str, clips: Sequence[PackedClip], recipe: ShardRecipe, holes: Sequence[Hole] = ()) -> list[ShardPlan]:
    """Divide the clips of one split into shards of at most ``max_bytes`` (a larger clip has a shard of its own).

    The order is drawn from the seed and the clip's id, so that neighbours in a tar come from different sources. A clip
    that was taken down keeps its place in the reckoning, so that the others stay in the shards they are in.
    """
    present = {clip.clip_id for clip in clips}
    places: list[PackedClip | Hole] = [*clips, *(hole for hole in holes if hole.clip_id not in present)]
    places.sort(key=lambda place: hashlib.sha256(f"{recipe.seed}:{place.clip_id}".encode()).digest())
    shards: list[list[PackedClip]] = []
    taken = 0
    for place in places:
        if not shards or archive_bytes(taken + place.tar_bytes) > recipe.max_bytes:
            shards.append([])
            taken = 0
        if isinstance(place, PackedClip):
            shards[-1].append(place)
        taken += place.tar_bytes
    return [ShardPlan(f"{split}-{number:05d}.tar", tuple(held)) for number, held in enumerate(shards) if held]


def build(
    ws: Workspace, plans: Sequence[ShardPlan], folder: Path, *, workers: int, reporter: Reporter
) -> Iterator[ShardRecord]:
    """Make the shards in ``folder`` one after the other, their views in parallel, and yield each once it is published.

    Raises:
        EnvironmentFault: The run cannot go on; shards and views that are finished stay finished.
    """
    views = _views.folder(ws)
    clips = [clip for shard in plans for clip in shard.clips]
    all_there = all((views / clip.view_name).exists() for clip in clips)  # then processes would start for nothing
    outcomes = parallel.run(
        partial(_make_view, folder=views),
        clips,
        item_id=lambda clip: clip.clip_id,
        workers=1 if all_there else workers,
        reporter=reporter,
        description="shard",
    )
    with closing(_in_order(clips, outcomes)) as ready:
        for shard in plans:
            with publish(folder / shard.file) as temporary:
                offsets, failed = _write(temporary, shard, ready, views)
                with open(temporary, "rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                size = temporary.stat().st_size
            for clip in shard.clips:
                (views / clip.view_name).unlink(missing_ok=True)
            yield ShardRecord(shard.file, shard.params, size, digest, offsets, failed)


def _make_view(clip: PackedClip, folder: Path) -> None:
    _views.make(folder / clip.view_name, clip.file, clip.view)


def _in_order(clips: Sequence[PackedClip], outcomes: Iterator[Outcome[None]]) -> Generator[Outcome[None], None, None]:
    """The outcomes in the order of ``clips`` instead of the order in which they finish."""
    waiting: dict[str, Outcome[None]] = {}
    for clip in clips:
        while clip.clip_id not in waiting:
            outcome = next(outcomes)
            waiting[outcome.item_id] = outcome
        yield waiting.pop(clip.clip_id)


def _write(
    path: Path, shard: ShardPlan, ready: Iterator[Outcome[None]], views: Path
) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Write the tar; returns offsets of the clips in it and reasons of those that are not."""
    offsets: dict[str, list[int]] = {}
    failed: dict[str, str] = {}
    with TarWriter(path) as tar:
        for clip in shard.clips:
            outcome = next(ready)
            if outcome.ok:
                offsets[clip.clip_id] = _add(tar, clip, views / clip.view_name)
            else:
                failed[clip.clip_id] = outcome.error
    return offsets, failed


def _add(tar: TarWriter, clip: PackedClip, view: Path) -> list[int]:
    """Append the four members of a clip, next to each other as WebDataset wants them."""
    raw = view.read_bytes()
    video, audio = raw[: clip.view.video_bytes], raw[clip.view.video_bytes :]
    video_header, audio_header = clip.headers
    with open(clip.file, "rb") as stream:
        tar.add(f"{clip.clip_id}.mp4", stream, clip.row["bytes"])
    at_video = tar.add(f"{clip.clip_id}.video.npy", video_header + video) + len(video_header)
    at_audio = tar.add(f"{clip.clip_id}.audio.npy", audio_header + audio) + len(audio_header)
    tar.add(f"{clip.clip_id}.json", clip.json)
    return [at_video, at_audio]
