"""What is measured of one item: its windows, their weight-free features and the evidence of per-clip metrics.

`measure` runs in a worker process, decodes once and sends back small things; pictures travel on only where a network in
the parent process is to see them. `Plan` also says under which keys each part lies in the feature cache.
"""

from __future__ import annotations

import json
import typing
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from avbench import cache, features, registry
from avbench.errors import MediaError
from avbench.features._base import Embedding, Feature
from avbench.inputs import Item, Window
from avbench.metrics._base import ClipSignals
from avbench.protocol import Protocol

_WINDOW_SETTINGS = {
    "frames", "fps", "size", "fit", "resize", "sample_rate_hz", "channel", "sound_s", "windows", "seed"
}  # fmt: skip
_MANY = ("tile", "overlap")


class Facts(NamedTuple):
    """What is known of a window beside its rows; see `avbench.inputs.Window`.

    Attributes:
        window_id: Its name.
        cluster: Windows of one cluster are not independent.
        start_s: Where it begins in its clip, seconds.
        native_fps: Frame rate the clip had before.
        notes: What a reader may want to know, such as ``silent``.
    """

    window_id: str
    cluster: str
    start_s: float
    native_fps: float
    notes: str


@dataclass
class Measured:
    """One item.

    Attributes:
        item_id: Which.
        windows: What is known of each window.
        embeddings: Feature name to rows; ``owner`` is the place in ``windows``.
        faults: Feature name to place in ``windows`` to reason: windows that the feature cannot describe.
        evidence: Per-clip metric to what its number rests on, one for each window.
        clips: The decoded windows, where a network is still to see them.
    """

    item_id: str
    windows: list[Facts] = field(default_factory=list)
    embeddings: dict[str, Embedding] = field(default_factory=dict)
    faults: dict[str, dict[int, str]] = field(default_factory=dict)
    evidence: dict[str, list[Any]] = field(default_factory=dict)
    clips: list[ClipSignals] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What is wanted of each item of one side.

    Attributes:
        protocol: How.
        cheap: Features without weights, computed by the workers.
        networks: Features with weights, and what their rows rest on beside the clip (options, weights).
        evidence: Per-clip metrics.
    """

    protocol: Protocol
    cheap: tuple[str, ...]
    networks: Mapping[str, dict[str, Any]]
    evidence: tuple[str, ...]

    def keys(self, item: Item, share: int) -> dict[str, str]:
        """Cache key of each part of an item: ``windows``, ``feature/<name>`` and ``evidence/<metric>``.

        Raises:
            OSError: The item cannot be read.
        """
        clip = {
            "item": item.item_id,
            "content": item.content_sha256(),
            "windows": self.protocol.model_dump(mode="json", include=_WINDOW_SETTINGS),
            "needs": sorted(self.protocol.modalities),
            "share": share,
        }
        keys = {"windows": cache.key(**clip, part="windows")}
        for name in self.cheap:
            options = self.protocol.features.get(name, {})
            keys[f"feature/{name}"] = cache.key(**clip, part="feature", name=name, options=options)
        for name, rests_on in self.networks.items():
            keys[f"feature/{name}"] = cache.key(**clip, part="feature", name=name, **rests_on)
        for name in self.evidence:
            keys[f"evidence/{name}"] = cache.key(**clip, part="evidence", of=_evidence_name(name))
        return keys


@dataclass(frozen=True)
class Job:
    """One item and what is still missing of it.

    Attributes:
        item: What to decode.
        share: Most windows to take of it.
        plan: What is wanted of every item.
        cheap: Weight-free features still missing.
        evidence: Per-clip metrics whose evidence is still missing.
        keep_clips: The decoded windows are to be sent back, for a network.
    """

    item: Item
    share: int
    plan: Plan
    cheap: tuple[str, ...]
    evidence: tuple[str, ...]
    keep_clips: bool


def shares(protocol: Protocol, n_items: int) -> list[int]:
    """Most windows of each item: N spread evenly over the items, so that no few long files stand for all.

    Which items give one more than others is drawn with the protocol's seed.
    """
    if protocol.windows not in _MANY:
        return [1] * n_items
    base, extra = divmod(protocol.n, max(n_items, 1))
    order = np.random.default_rng([protocol.seed, 6]).permutation(n_items)
    return [base + int(place < extra) for place in np.argsort(order)]


def plan_for(protocol: Protocol, networks: Mapping[str, Feature], *, per_clip: bool) -> Plan:
    """The plan of one side; a network whose rows depend on the batch has no key, and is never cached."""
    rests_on = {
        name: {
            "settings": network.settings,
            "weights": network.weights_sha256,
            "levels": protocol.levels if network.modality == "video" else "plain",
        }
        for name, network in networks.items()
        if not network.batch_dependent
    }
    cheap = tuple(name for name in protocol.feature_names() if registry.module("feature", name).WEIGHT is None)
    evidence = tuple(m for m in protocol.metrics if registry.module("metric", m).KIND == "per_clip")
    return Plan(protocol, cheap, rests_on, evidence if per_clip else ())


def measure(job: Job) -> Measured:
    """Decode an item, compute its weight-free features and the evidence of the per-clip metrics.

    Raises:
        MediaError: The item cannot be decoded or gives no window.
    """
    protocol = job.plan.protocol
    windows = _chosen(list(job.item.windows(protocol)), job)
    clips = [window.signals for window in windows]
    found = Measured(job.item.item_id, [_facts(window) for window in windows])
    for name in job.cheap:
        options: dict[str, Any] = dict(protocol.features.get(name, {}))
        feature = features.load(name, **options)
        found.embeddings[name], found.faults[name] = embed(feature, clips)
    gathered: dict[Any, list[Any]] = {}
    for name in job.evidence:
        evidence = registry.module("metric", name).evidence
        if evidence not in gathered:
            gathered[evidence] = [evidence(clip) for clip in clips]
        found.evidence[name] = gathered[evidence]
    if job.keep_clips:
        found.clips = clips
    return found


def embed(feature: Feature, clips: list[ClipSignals]) -> tuple[Embedding, dict[int, str]]:
    """Rows of clips, and the clips which the feature cannot describe with the reason."""
    try:
        return features.embed_clips(feature, clips), {}
    except MediaError:
        parts, faults = [], {}
        for place, clip in enumerate(clips):
            try:
                part = features.embed_clips(feature, [clip])
                parts.append(part._replace(owner=part.owner + place))
            except MediaError as error:
                faults[place] = str(error)
        return join(parts, feature.dim), faults


def join(parts: list[Embedding], dim: int) -> Embedding:
    """Several embeddings as one."""
    if not parts:
        return Embedding(np.zeros((0, dim), np.float32), np.zeros(0, np.int64))
    return Embedding(np.concatenate([p.values for p in parts]), np.concatenate([p.owner for p in parts]))


def _chosen(windows: list[Window], job: Job) -> list[Window]:
    """At most the item's share of its windows, drawn with the protocol's seed and the item's name."""
    if len(windows) <= job.share:
        return windows
    rng = np.random.default_rng([job.plan.protocol.seed, 5, zlib.crc32(job.item.item_id.encode())])
    return [windows[k] for k in sorted(rng.choice(len(windows), job.share, replace=False))]


def _facts(window: Window) -> Facts:
    return Facts(window.window_id, window.cluster, window.start_s, window.native_fps, ", ".join(window.notes))


def _evidence_name(metric: str) -> str:
    evidence = registry.module("metric", metric).evidence
    return f"{evidence.__module__}.{evidence.__qualname__}"


def pack(found: Measured, part: str) -> cache.Arrays:
    """One part of an item as the cache keeps it."""
    kind, _, name = part.partition("/")
    if kind == "windows":
        return {"json": _as_bytes(found.windows)}
    if kind == "evidence":
        return {"json": _as_bytes([item._asdict() for item in found.evidence[name]])}
    rows = found.embeddings[name]
    return {"values": rows.values, "owner": rows.owner, "json": _as_bytes(found.faults.get(name, {}))}


def unpack(found: Measured, part: str, stored: cache.Arrays) -> None:
    """Put a cached part into ``found``."""
    kind, _, name = part.partition("/")
    data = json.loads(stored["json"].tobytes())
    if kind == "windows":
        found.windows = [Facts(*facts) for facts in data]
    elif kind == "evidence":
        shape = typing.get_type_hints(registry.module("metric", name).evidence)["return"]
        found.evidence[name] = [shape(**item) for item in data]
    else:
        found.embeddings[name] = Embedding(stored["values"], stored["owner"])
        found.faults[name] = {int(place): reason for place, reason in data.items()}


def _as_bytes(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)
