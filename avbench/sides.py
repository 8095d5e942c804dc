"""Turn the items of one side of a comparison into features and per-clip numbers, in parallel and in bounded memory.

Worker processes decode and compute what needs no network. Feature networks run in this process, on batches that reach
across items. What the feature cache knows is not decoded again. Nothing holds more pictures than a few batches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from avbench import levels, measure, parallel
from avbench.cache import FeatureCache
from avbench.features._base import Embedding, Feature
from avbench.inputs import Item
from avbench.measure import Job, Measured, Plan
from avbench.metrics._base import ClipSignals
from avbench.progress import SILENT, Reporter
from avbench.protocol import Protocol

BATCH = 8
"""Clips per forward pass of a feature network."""


@dataclass
class Side:
    """Features and per-clip numbers of one side.

    Attributes:
        window_ids: Name of each window.
        items: Item of each window.
        clusters: Cluster of each window; windows of one cluster are not independent.
        start_s: Where each window begins in its item, seconds.
        native_fps: Frame rate each clip had before it was brought to the protocol's; 0 where it states none.
        notes: What a reader may want to know of each window, such as ``silent``.
        embeddings: Feature name to rows; ``owner`` is the window number.
        faults: Feature name to window number to reason: windows the feature cannot describe.
        evidence: Per-clip metric to what its number rests on, one item per window.
        failed: Item to reason.
        distinct: Windows that differ; fewer than all where the protocol repeats clips to reach N.
    """

    window_ids: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    native_fps: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    embeddings: dict[str, Embedding] = field(default_factory=dict)
    faults: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    evidence: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[str, str] = field(default_factory=dict)
    distinct: int = 0

    def rows(self, feature: str) -> tuple[np.ndarray, list[str]]:
        """All rows of a feature, float32 (n, d), and the cluster of each row."""
        if feature not in self.embeddings:
            return np.zeros((0, 1), np.float32), []
        values, owner = self.embeddings[feature]
        return values, [self.clusters[i] for i in owner]

    def take(self, order: np.ndarray) -> Side:
        """The windows with these numbers, in this order; a number may come again."""
        taken = Side(
            [self.window_ids[i] for i in order],
            [self.items[i] for i in order],
            [self.clusters[i] for i in order],
            [self.start_s[i] for i in order],
            [self.native_fps[i] for i in order],
            [self.notes[i] for i in order],
            failed=self.failed,
            distinct=min(self.distinct, len(np.unique(order))),
        )
        for name, (values, owner) in self.embeddings.items():
            places = [np.flatnonzero(owner == i) for i in range(len(self.window_ids))]
            picked = [places[i] for i in order]
            owners = np.repeat(np.arange(len(order)), [len(p) for p in picked])
            rows = np.concatenate(picked) if picked else np.zeros(0, np.int64)
            taken.embeddings[name] = Embedding(values[rows], owners)
        for name, faults in self.faults.items():
            taken.faults[name] = {k: faults[i] for k, i in enumerate(order) if i in faults}
        for name, evidence in self.evidence.items():
            taken.evidence[name] = [evidence[i] for i in order]
        return taken


def collect(
    items: Sequence[Item],
    protocol: Protocol,
    networks: Mapping[str, Feature],
    *,
    per_clip: bool,
    cache: FeatureCache | None = None,
    workers: int = 1,
    reporter: Reporter = SILENT,
    description: str = "",
) -> Side:
    """Measure the windows of ``items``, at most ``protocol.n``.

    Args:
        items: What to decode.
        protocol: How.
        networks: Feature networks by name.
        per_clip: Also gather the evidence of the protocol's per-clip metrics.
        cache: Where measured parts are kept and found again; None measures everything.
        workers: Processes.
        reporter: Progress.
        description: Label of the progress bar.
    """
    plan = measure.plan_for(protocol, networks, per_clip=per_clip)
    collector = _Collector(plan, networks, cache)
    known = [
        collector.look_up(item, share) for item, share in zip(items, measure.shares(protocol, len(items)), strict=True)
    ]
    jobs = [job for _, job in known if job is not None]
    outcomes = parallel.run(
        measure.measure,
        jobs,
        item_id=_name,
        workers=workers,
        reporter=reporter,
        description=description,
        ordered=True,
        own_core=not networks,
    )
    failed = {}
    measured: list[Measured] = []
    for found, job in known:
        outcome = next(outcomes) if job is not None else None
        if outcome is not None and outcome.value is None:
            failed[outcome.item_id] = outcome.error
            continue
        if outcome is not None and outcome.value is not None:
            collector.add(found, outcome.value)
        measured.append(found)
    collector.finish()
    side = _assemble(measured)
    side.failed = failed
    if protocol.repeat_to_n and 0 < side.distinct < protocol.n:
        return side.take(np.arange(protocol.n) % side.distinct)
    return side


def _name(job: Job) -> str:
    return job.item.item_id


class _Collector:
    """Looks items up in the cache, feeds the networks whole batches, and stores what is complete."""

    def __init__(self, plan: Plan, networks: Mapping[str, Feature], cache: FeatureCache | None) -> None:
        self.plan, self.networks, self.cache = plan, networks, cache
        self._keys: dict[int, dict[str, str]] = {}
        self._queues: dict[str, list[tuple[Measured, int, ClipSignals]]] = {name: [] for name in networks}
        self._open: dict[int, int] = {}

    def look_up(self, item: Item, share: int) -> tuple[Measured, Job | None]:
        """What the cache knows of an item, and the job that finds out the rest, if any is missing."""
        known = Measured(item.item_id)
        if self.cache is not None:
            try:
                keys = self.plan.keys(item, share)
            except OSError:
                keys = {}  # the job will fail on the same file and say why
            found = self.cache.get(list(keys.values()))
            for part in [part for part, key in keys.items() if key in found]:
                measure.unpack(known, part, found[keys.pop(part)])
            self._keys[id(known)] = keys
        cheap = tuple(name for name in self.plan.cheap if name not in known.embeddings)
        evidence = tuple(name for name in self.plan.evidence if name not in known.evidence)
        unseen = any(name not in known.embeddings for name in self.networks)
        if not (cheap or evidence or unseen) and known.windows:
            return known, None
        return known, Job(item, share, self.plan, cheap, evidence, keep_clips=unseen)

    def add(self, known: Measured, fresh: Measured) -> None:
        """Put what a worker found into ``known``, and its clips before the networks that have not seen them."""
        waiting = [name for name in self.networks if name not in known.embeddings]
        known.windows = fresh.windows
        known.embeddings |= fresh.embeddings
        known.faults |= fresh.faults
        known.evidence |= fresh.evidence
        self._open[id(known)] = len(waiting) * len(fresh.clips)
        if not self._open[id(known)]:
            self._store(known)
        for name in waiting:
            network = self.networks[name]
            known.embeddings[name] = measure.join([], network.dim)
            self._queues[name] += [(known, place, clip) for place, clip in enumerate(fresh.clips)]
            while len(self._queues[name]) >= _batch_size(network):
                self._run(name)

    def finish(self) -> None:
        """Run what is left of each batch and write the cache."""
        for name in self.networks:
            while self._queues[name]:
                self._run(name)
        if self.cache is not None:
            self.cache.flush()

    def _run(self, name: str) -> None:
        """One batch through one network."""
        network, size = self.networks[name], _batch_size(self.networks[name])
        batch, self._queues[name] = self._queues[name][:size], self._queues[name][size:]
        clips = [clip for _, _, clip in batch]
        if network.modality == "video":
            clips = [replace(c, video=levels.apply(c.video, self.plan.protocol.levels)) for c in clips]
        rows, faults = measure.embed(network, clips)
        for at, (known, place, _) in enumerate(batch):
            mine = rows.values[rows.owner == at]
            part = Embedding(mine, np.full(len(mine), place))
            known.embeddings[name] = measure.join([known.embeddings[name], part], network.dim)
            if at in faults:
                known.faults.setdefault(name, {})[place] = faults[at]
            self._open[id(known)] -= 1
            if not self._open[id(known)]:
                self._store(known)

    def _store(self, known: Measured) -> None:
        """Keep the parts of an item that the cache did not have."""
        if self.cache is not None:
            for part, key in self._keys.pop(id(known), {}).items():
                self.cache.put(key, measure.pack(known, part))


def _batch_size(network: Feature) -> int:
    return network.batch_size or BATCH


def _assemble(measured: Sequence[Measured]) -> Side:
    """All items of a side, in their order."""
    side = Side()
    rows: dict[str, list[Embedding]] = defaultdict(list)
    for found in measured:
        first = len(side.window_ids)
        for facts in found.windows:
            side.window_ids.append(facts.window_id)
            side.items.append(found.item_id)
            side.clusters.append(facts.cluster)
            side.start_s.append(facts.start_s)
            side.native_fps.append(facts.native_fps)
            side.notes.append(facts.notes)
        for name, part in found.embeddings.items():
            rows[name].append(part._replace(owner=part.owner + first))
        for name, faults in found.faults.items():
            side.faults[name] |= {place + first: reason for place, reason in faults.items()}
        for name, evidence in found.evidence.items():
            side.evidence[name] += evidence
    side.embeddings = {name: measure.join(parts, parts[0].values.shape[1]) for name, parts in rows.items()}
    side.distinct = len(side.window_ids)
    return side


def subset(items: Sequence[Item], n: int, seed: int) -> list[Item]:
    """At most ``n`` items: a seeded subsample in the order of the items."""
    if len(items) <= n:
        return list(items)
    chosen = np.random.default_rng(seed).choice(len(items), n, replace=False)
    return [items[i] for i in sorted(chosen)]
