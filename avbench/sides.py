"""Turn the items of one side of a comparison into features and per-clip numbers, in parallel and in bounded memory.

Worker processes decode and compute what needs no network. Feature networks run in this process, a batch at a time.
Nothing holds more pictures than a few items give.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from avbench import features, parallel, registry
from avbench.features._base import Embedding, Feature
from avbench.inputs import Item
from avbench.metrics._base import ClipSignals
from avbench.progress import SILENT, Reporter
from avbench.protocol import Protocol
from avbench.schema import Outcome

BATCH = 8
"""Clips per forward pass of a feature network."""


@dataclass
class Side:
    """Features and per-clip numbers of one side.

    Attributes:
        window_ids: Name of each window.
        clusters: Cluster of each window; windows of one cluster are not independent.
        embeddings: Feature name to embeddings whose ``owner`` is the window number.
        evidence: Per-clip metric to what its number rests on, one item per window.
        failed: Item to reason.
    """

    window_ids: list[str] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    embeddings: dict[str, list[Embedding]] = field(default_factory=lambda: defaultdict(list))
    evidence: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[str, str] = field(default_factory=dict)

    def rows(self, feature: str) -> tuple[np.ndarray, list[str]]:
        """All rows of a feature, float32 (n, d), and the cluster of each row."""
        parts = self.embeddings[feature]
        if not parts:
            return np.zeros((0, 1), np.float32), []
        owner = np.concatenate([part.owner for part in parts])
        return np.concatenate([part.values for part in parts]), [self.clusters[i] for i in owner]


@dataclass(frozen=True)
class _Measured:
    """What a worker sends back of one item; ``clips`` is empty unless a network needs them."""

    window_ids: list[str]
    clusters: list[str]
    clips: list[ClipSignals]
    cheap: dict[str, Embedding]
    evidence: dict[str, list[Any]]


def feature_names(protocol: Protocol, *, with_weights: bool) -> list[str]:
    """Features the protocol's distances need: those with published weights, or those without."""
    found = {registry.module("metric", metric).FEATURE for metric in protocol.metrics} - {None}
    return sorted(n for n in found if (registry.module("feature", n).WEIGHT is not None) is with_weights)


def collect(
    items: Sequence[Item],
    protocol: Protocol,
    networks: dict[str, Feature],
    *,
    per_clip: bool,
    workers: int = 1,
    reporter: Reporter = SILENT,
    description: str = "",
) -> Side:
    """Measure all windows of ``items``, at most ``protocol.n``.

    Args:
        items: What to decode.
        protocol: How.
        networks: Feature networks by name.
        per_clip: Also compute the protocol's per-clip metrics.
        workers: Processes.
        reporter: Progress.
        description: Label of the progress bar.
    """
    side = Side()
    function = functools.partial(_measure, protocol=protocol, per_clip=per_clip, keep_clips=bool(networks))
    outcomes = parallel.run(function, items, item_id=_name, workers=workers, reporter=reporter, description=description)
    for outcome in _in_order(outcomes, [item.item_id for item in items]):
        if outcome.value is None:
            side.failed[outcome.item_id] = outcome.error
        else:
            _add(side, outcome.value, networks, protocol.n)
    return side


def _name(item: Item) -> str:
    return item.item_id


def _measure(item: Item, *, protocol: Protocol, per_clip: bool, keep_clips: bool) -> _Measured:
    """Decode one item; compute weight-free features and, when asked, the per-clip metrics."""
    windows = list(item.windows(protocol))
    clips = [window.signals for window in windows]
    cheap = {
        name: features.embed_clips(features.load(name), clips) for name in feature_names(protocol, with_weights=False)
    }
    evidence = {}
    for name in protocol.metrics if per_clip else ():
        module = registry.module("metric", name)
        if module.KIND == "per_clip":
            evidence[name] = [module.evidence(clip) for clip in clips]
    ids, clusters = [w.window_id for w in windows], [w.cluster for w in windows]
    return _Measured(ids, clusters, clips if keep_clips else [], cheap, evidence)


def _in_order(outcomes: Iterable[Outcome[_Measured]], order: list[str]) -> Iterator[Outcome[_Measured]]:
    """Yield outcomes in the order of their items, so that no number depends on which process was faster."""
    waiting: dict[str, Outcome[_Measured]] = {}
    place = 0
    for outcome in outcomes:
        waiting[outcome.item_id] = outcome
        while place < len(order) and order[place] in waiting:
            yield waiting.pop(order[place])
            place += 1


def _add(side: Side, measured: _Measured, networks: dict[str, Feature], limit: int) -> None:
    """Append one item's windows, up to ``limit`` in all."""
    first = len(side.window_ids)
    room = min(len(measured.window_ids), limit - first)
    if room <= 0:
        return
    side.window_ids += measured.window_ids[:room]
    side.clusters += measured.clusters[:room]
    for name, found in measured.evidence.items():
        side.evidence[name] += found[:room]
    for name, part in measured.cheap.items():
        mask = part.owner < room
        side.embeddings[name].append(Embedding(part.values[mask], part.owner[mask] + first))
    for name, network in networks.items():
        for at in range(0, room, BATCH):
            part = features.embed_clips(network, measured.clips[at : min(at + BATCH, room)])
            side.embeddings[name].append(part._replace(owner=part.owner + first + at))


def subset(items: Sequence[Item], n: int, seed: int) -> list[Item]:
    """At most ``n`` items: a seeded subsample in the order of the items."""
    if len(items) <= n:
        return list(items)
    chosen = np.random.default_rng(seed).choice(len(items), n, replace=False)
    return [items[i] for i in sorted(chosen)]
