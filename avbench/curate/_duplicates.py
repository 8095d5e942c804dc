"""Which clips of a dataset repeat clips of another source, and which sources belong together for that reason.

Clips are compared in two steps. An index of landmarks and of parts of picture hashes gives the few pairs that could be
alike, a block of clips at a time, so that memory does not grow with the number of pairs. Those pairs are then compared
second by second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from avbench.errors import UserError
from avbench.filters._fingerprints import Likeness, Prints, expand, likeness
from avbench.filters.duplicate import Filter
from avbench.progress import SILENT, Reporter
from avbench.schema import Verdict

BLOCK = 128
"""Clips looked up at once, fewer where that gives more than `MAX_HITS`."""

MIN_LANDMARKS = 4
"""Landmarks at one shift that make a pair worth comparing; unrelated recordings reach 2 to 5."""

MIN_BANDS = 0.03
"""Share of a clip's parts of hashes that must stand in the other clip to make a pair worth comparing."""

CROWD = 400
"""A landmark or part that occurs more often than this tells nothing: it is left out of the search for pairs."""

MAX_HITS = 2_000_000
"""Hits held at once: about 100 MB while they are sorted."""

MAX_CLIPS = 1 << 20
"""Clips that one comparison can tell apart: an entry of an index has 20 bits for its clip."""


PAIRS_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("clip_id", "source_id", "other_clip_id", "other_source_id", "what")]
    + [(name, pa.float64()) for name in ("both", "sound", "picture")]
    + [("views", pa.int64()), ("shift_s", pa.float64())]
)
"""Columns of ``work/alike.parquet``: two clips, what is alike, and the fields of `Likeness`."""


@dataclass(frozen=True)
class Alike:
    """Two clips that are alike in something.

    Attributes:
        clip: Number of the clip that comes later.
        other: Number of the clip that it repeats.
        found: How much of it.
        what: ``picture and sound``, ``sound`` or ``picture``; empty where all of it is under the threshold.
    """

    clip: int
    other: int
    found: Likeness
    what: str


@dataclass
class Repeats:
    """What a comparison of all clips found.

    Attributes:
        verdicts: By clip id.
        pairs: A row per pair of clips that are alike, see `PAIRS_SCHEMA`.
        groups: Split group by source id, of the sources that were joined.
    """

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)


def compare(
    filter_: Filter, clips: Sequence[dict[str, Any]], prints: Sequence[dict[str, str]], reporter: Reporter = SILENT
) -> Repeats:
    """Compare clips of all sources with each other.

    Args:
        filter_: Thresholds.
        clips: Fields of `avbench.schema.Clip`, sources in the order of the manifest and clips in the order of their
            start: what comes first is kept.
        prints: Fingerprints of each clip as text.
        reporter: Where progress goes.

    Returns:
        Verdicts, pairs and groups; the same for the same input.

    Raises:
        UserError: More than `MAX_CLIPS` clips.
    """
    if len(clips) > MAX_CLIPS:
        raise UserError(
            f"filter duplicate: {len(clips):,} clips are more than the {MAX_CLIPS:,} that can be compared with each "
            "other; divide the manifest into several datasets, or leave duplicate out of the recipe"
        )
    result = Repeats()
    sources = list(dict.fromkeys(clip["source_id"] for clip in clips))
    joined = _Joined({clip["source_id"]: clip["group"] or clip["source_id"] for clip in clips}, sources)
    dropped: set[int] = set()
    alike: dict[int, list[Alike]] = {}
    for pair in _alike(filter_, clips, prints, reporter):
        alike.setdefault(pair.clip, []).append(pair)
        if not pair.what:
            continue
        joined.join(clips[pair.clip]["source_id"], clips[pair.other]["source_id"])
        result.pairs.append(_row(pair, clips))
    for number, clip in enumerate(clips):
        # a clip that is dropped itself gives nothing to the dataset that this one could repeat
        best = max(
            (pair for pair in alike.get(number, []) if pair.other not in dropped),
            key=lambda pair: (pair.found.both, -pair.other),
            default=None,
        )
        value = best.found.both if best else 0.0
        reason = filter_.reason(value, clips[best.other]["clip_id"]) if best else ""
        if reason:
            dropped.add(number)
        result.verdicts[clip["clip_id"]] = filter_.verdict(value, reason)
    result.groups = joined.groups()
    return result


def _row(pair: Alike, clips: Sequence[dict[str, Any]]) -> dict[str, Any]:
    clip, other, found = clips[pair.clip], clips[pair.other], pair.found
    ids = {"clip_id": clip["clip_id"], "source_id": clip["source_id"]}
    others = {"other_clip_id": other["clip_id"], "other_source_id": other["source_id"], "what": pair.what}
    shares = {"both": found.both, "sound": found.sound, "picture": found.picture}
    return {**ids, **others, **shares, "views": found.views, "shift_s": found.shift_s}


def _alike(
    filter_: Filter, clips: Sequence[dict[str, Any]], prints: Sequence[dict[str, str]], reporter: Reporter
) -> Iterator[Alike]:
    """Pairs of clips that share anything, the later clip first, in order."""
    read = lru_cache(maxsize=4 * BLOCK)(lambda number: Prints.from_text(prints[number]))
    numbers = {source_id: n for n, source_id in enumerate(dict.fromkeys(clip["source_id"] for clip in clips))}
    sources = np.array([numbers[clip["source_id"]] for clip in clips], np.int32)
    sounds = _Index(Prints.from_text(text).landmarks for text in prints)
    pictures = _Index((_quarters(Prints.from_text(text).hashes), 0) for text in prints)
    with reporter.bar("duplicates", total=len(clips)) as bar:
        for first in range(0, len(clips), BLOCK):
            block = range(first, min(first + BLOCK, len(clips)))
            for number, other in sorted({*_by_sound(sounds, block), *_by_picture(pictures, block)}):
                if not _comparable(filter_, clips, sources, number, other):
                    continue
                like = likeness(read(number), read(other), filter_.max_bits)
                what = filter_.what(like)
                if what or like.both:
                    yield Alike(number, other, like, what)
            bar.advance(len(block), clips[block[-1]]["clip_id"])


def _comparable(filter_: Filter, clips: Sequence[dict[str, Any]], sources: np.ndarray, number: int, other: int) -> bool:
    """Whether ``other`` comes before, and is of another source (or does not overlap, where the recipe asks for it)."""
    if sources[other] != sources[number]:
        return bool(sources[other] < sources[number])
    mine, theirs = clips[number], clips[other]
    return filter_.within_source and other < number and theirs["start_s"] + theirs["clip_s"] <= mine["start_s"]


_CLIP, _KEY = np.uint64(22), np.uint64(42)
"""An entry of an index is one number, ``key << 42 | clip << 22 | step``, so that sorting needs no second list."""


class _Index:
    """What every clip holds, sorted by key, then clip."""

    def __init__(self, keys: Iterable[tuple[np.ndarray, np.ndarray | int]]) -> None:
        """Args: keys: keys and steps of each clip."""
        self.held = [
            key.astype(np.uint64) << _KEY | np.uint64(number) << _CLIP | np.asarray(step).astype(np.uint64)
            for number, (key, step) in enumerate(keys)
        ]
        self.sizes = np.array([len(own) for own in self.held])
        self.sorted = np.concatenate([np.zeros(0, np.uint64), *self.held])
        self.sorted.sort()

    def hits(self, block: range) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Every key of the clips of ``block`` that a clip before holds too, the clips divided where they are too many.

        Yields:
            Clip, other clip and difference of time of each hit.
        """
        own = np.sort(np.concatenate([self.held[number] for number in block]))
        first = np.searchsorted(self.sorted, own >> _KEY << _KEY)
        last = np.searchsorted(self.sorted, own >> _CLIP << _CLIP)  # where this clip's own entries begin
        last = np.where(last - first > CROWD, first, last)
        if (last - first).sum() > MAX_HITS and len(block) > 1:
            half = len(block) // 2
            yield from self.hits(block[:half])
            yield from self.hits(block[half:])
            return
        at, where = expand(first, last)
        mine, theirs = own[at], self.sorted[where]
        yield _clip(mine), _clip(theirs), _step(theirs) - _step(mine)


def _clip(entries: np.ndarray) -> np.ndarray:
    return (entries >> _CLIP & np.uint64(0xFFFFF)).astype(np.int64)


def _step(entries: np.ndarray) -> np.ndarray:
    return (entries & np.uint64(0x3FFFFF)).astype(np.int64)


def _by_sound(index: _Index, block: range) -> Iterator[tuple[int, int]]:
    """Pairs with `MIN_LANDMARKS` landmarks or more at one shift (to within 4 steps, an eighth of a second)."""
    count = len(index.held)
    for mine, other, shift in index.hits(block):
        span = int(abs(shift).max(initial=0)) // 4 + 2
        cells, sizes = np.unique((mine * count + other) * (2 * span) + shift // 4 + span, return_counts=True)
        for pair in np.unique(cells[sizes >= MIN_LANDMARKS] // (2 * span)):
            yield divmod(int(pair), count)


def _quarters(hashes: np.ndarray) -> np.ndarray:
    """The different quarters of a clip's hashes; a hash within a few bits of another shares one with it."""
    told = hashes[hashes != 0]
    return np.unique([told >> np.uint64(16 * n) & np.uint64(0xFFFF) | np.uint64(n << 16) for n in range(4)])


def _by_picture(index: _Index, block: range) -> Iterator[tuple[int, int]]:
    """Pairs that share enough quarters of hashes for the number of pictures the clip has."""
    count = len(index.held)
    for mine, other, _ in index.hits(block):
        cells, sizes = np.unique(mine * count + other, return_counts=True)
        for pair in cells[sizes >= np.ceil(MIN_BANDS * index.sizes[cells // count])]:
            yield divmod(int(pair), count)


class _Joined:
    """Sources in sets: those of one manifest group stand together from the start."""

    def __init__(self, group_of: dict[str, str], order: Sequence[str]) -> None:
        self.group_of = group_of
        self.place = {source_id: n for n, source_id in enumerate(order)}
        self.parent = {group: group for group in group_of.values()}
        self.first = {group: n for n, group in reversed(list(enumerate(group_of.values())))}

    def _root(self, group: str) -> str:
        while self.parent[group] != group:
            group = self.parent[group]
        return group

    def join(self, one: str, other: str) -> None:
        """Put two sources and their groups together; the group that comes first in the manifest gives the name."""
        roots = sorted({self._root(self.group_of[one]), self._root(self.group_of[other])}, key=self.first.__getitem__)
        for root in roots[1:]:
            self.parent[root] = roots[0]

    def groups(self) -> dict[str, str]:
        """Group by source, of every source whose group was put together with another."""
        changed = {self._root(group) for group in self.parent if self._root(group) != group}
        roots = {source_id: self._root(group) for source_id, group in self.group_of.items()}
        return {source_id: root for source_id, root in sorted(roots.items()) if root in changed}
