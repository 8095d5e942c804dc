"""Score generated clips against a reference under a protocol.

A number comes with its interval, with the distance between two halves of the reference (the floor) or its chance level,
and with what a reader must know before using it. A network whose weights are not here leaves its cells empty, with the
reason.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from avbench import context, features, heap, inputs, registry, statistics
from avbench.cache import FeatureCache
from avbench.errors import UserError, WeightsMissing
from avbench.features._base import Feature
from avbench.inputs import Item
from avbench.metrics._frechet import rank_warning
from avbench.processor import warn_of_imitation
from avbench.progress import SILENT, Reporter
from avbench.protocol import Protocol
from avbench.schema import Score
from avbench.sides import Side, collect, subset
from avbench.statistics import Header


@dataclass(frozen=True)
class ScoreResult:
    """Everything a result record needs from scoring.

    Attributes:
        scores: One per metric of the protocol, absent ones with their reason.
        n_asked: Windows the protocol asks for.
        n_used: Generated windows scored.
        n_reference: Reference windows.
        failed: Generated file to reason.
        reference: Name, version, sha256 and split of the reference.
        weights: Feature network to sha256 of the weights used.
        memorisation: Feature to how near the generated clips lie to the training set, beside real clips.
        per_clip: Per window: ids, cluster, start, the per-clip metrics, the distance to the reference in each feature.
        generated: The generated side as measured.
        items: The generated clips.
        real: The reference side as measured.
        header: Where the rows of both sides come from.
        seconds: Wall time.
    """

    scores: tuple[Score, ...]
    n_asked: int
    n_used: int
    n_reference: int
    failed: dict[str, str]
    reference: dict[str, str]
    weights: dict[str, str]
    memorisation: dict[str, dict[str, float]]
    per_clip: list[dict[str, Any]]
    generated: Side
    items: list[Item]
    real: Side
    header: Header
    seconds: float


@dataclass
class Scorer:
    """One protocol on one machine: the networks it has, and how sides are measured.

    Attributes:
        protocol: How.
        workers: Processes for decoding and weight-free features.
        device: Where feature networks run.
        cache: Feature cache, or None.
        reporter: Progress.
        networks: Feature networks with published weights on this machine.
        missing: Feature to the sentence that says which weights are missing.
    """

    protocol: Protocol
    workers: int = 1
    device: str = "cpu"
    cache: FeatureCache | None = None
    reporter: Reporter = SILENT
    networks: dict[str, Feature] = field(init=False)
    missing: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.networks, self.missing = {}, {}
        if self.device == "cpu":
            heap.keep_freed_memory()
        for name in self.protocol.feature_names():
            if registry.module("feature", name).WEIGHT is None:
                continue
            try:
                options: dict[str, Any] = dict(self.protocol.features.get(name, {}))
                self.networks[name] = features.load(name, device=self.device, **options)
                if options.get("precision") == "bfloat16":
                    told = f"protocol {self.protocol.name}", "another protocol has the feature in float32"
                    warn_of_imitation(self.device, self.reporter, *told)
            except WeightsMissing as error:
                self.missing[name] = str(error)

    @property
    def weights(self) -> dict[str, str]:
        """Feature network to sha256 of its weights."""
        return {name: network.weights_sha256 or "" for name, network in self.networks.items()}

    def generated(self, outputs: Path, description: str = "generated clips") -> tuple[Side, list[Item]]:
        """Measure a folder of clips; the clips themselves come with what was measured.

        Raises:
            UserError: No clips, or fewer usable windows than the protocol needs.
        """
        items, unreadable = inputs.outputs(outputs, self.protocol)
        side = self._collect(items, per_clip=True, description=description)
        side.failed = {**unreadable, **side.failed}
        self._require(outputs, side)
        rates = sorted({round(rate, 2) for rate in side.native_fps if rate})
        if len(rates) > 1:
            listed = ", ".join(f"{rate:g}" for rate in rates[:5])
            self.reporter.warn(
                f"{outputs}: its clips have different frame rates ({listed} fps); all were brought to one"
            )
        return side, items

    def reference(
        self, where: Path, description: str = "reference clips", split: str = ""
    ) -> tuple[Side, dict[str, str], list[Item]]:
        """Measure a dataset or a folder, or read statistics that were measured before.

        Gives what was measured, what is known of the data, and its clips (none for statistics).

        Args:
            where: Which.
            description: Label of the progress bar.
            split: Split of a dataset; empty takes the protocol's.

        Raises:
            UserError: None of these, of another protocol, or fewer usable windows than the protocol needs.
        """
        if where.suffix == statistics.SUFFIX and where.is_file():
            return self._stored_reference(where)
        rules = self.protocol.model_copy(update={"reference_split": split}) if split else self.protocol
        items, about = inputs.reference(where, rules)
        side = self._collect(items, per_clip=False, description=description)
        self._require(where, side)
        for item, reason in side.failed.items():
            self.reporter.warn(f"reference {item} left out: {reason}")
        return side, about, items

    def _stored_reference(self, where: Path) -> tuple[Side, dict[str, str], list[Item]]:
        sides, head = statistics.load(where)
        statistics.require(where, head, self.protocol)
        if "reference" not in sides:
            raise UserError(f"{where}: holds no reference side; make one with `avbench reference build`")
        for name, found in self.weights.items():
            if head.weights.get(name, found) != found:
                raise UserError(
                    f"{where}: its {name} rows were made with weights {head.weights[name][:12]}, this machine has "
                    f"{found[:12]}; build it again with `avbench reference build`"
                )
            if name in head.missing:
                raise UserError(
                    f"{where}: holds no rows of {name}, whose weights are on this machine but were not where it was "
                    "made; build it again with `avbench reference build`"
                )
        return sides["reference"], head.about, []

    def _collect(self, items: list[Item], *, per_clip: bool, description: str) -> Side:
        return collect(
            subset(items, self.protocol.n, self.protocol.seed),
            self.protocol,
            self.networks,
            per_clip=per_clip,
            cache=self.cache,
            workers=self.workers,
            reporter=self.reporter,
            description=description,
        )

    def _require(self, where: Path, side: Side) -> None:
        """Refuse a side with fewer usable windows than the protocol needs."""
        if side.distinct >= self.protocol.min_n:
            return
        first = next(iter(side.failed.values()), "")
        raise UserError(
            f"{where}: gives {side.distinct} usable windows of {self.protocol.frames} frames and the protocol "
            f"{self.protocol.name} needs {self.protocol.min_n}"
            + (f"; {len(side.failed)} files failed, the first: {first}" if first else "")
        )


def score(
    outputs: Path,
    reference: Path,
    protocol: Protocol,
    *,
    training_set: Path | None = None,
    reconstructions: Path | None = None,
    prompts_table: Path | None = None,
    workers: int = 1,
    device: str = "cpu",
    cache: FeatureCache | None = None,
    reporter: Reporter = SILENT,
) -> ScoreResult:
    """Score ``outputs`` against ``reference``.

    Args:
        outputs: Folder of generated clips.
        reference: A finished dataset of avbench, a folder of real clips, or statistics by `avbench.statistics.save`.
        protocol: How.
        training_set: What the model was trained on, for the memorisation check.
        reconstructions: Real clips that went through the model's codec and back; their score is the codec's floor.
        prompts_table: File of prompts, such as the ``.csv`` of JavisBench; None reads what lies beside the clips.
        workers: Processes for decoding and weight-free features.
        device: Where feature networks run.
        cache: Feature cache; None measures everything anew.
        reporter: Progress.

    Raises:
        UserError: Nothing to score, or too little of it is usable.
    """
    begun = time.monotonic()
    if outputs.resolve() == reference.resolve():
        raise UserError(f"{outputs}: is given both as outputs and as reference; a set is at distance 0 from itself")
    scorer = Scorer(protocol, workers, device, cache, reporter)
    generated, items = scorer.generated(outputs)
    real, about, real_items = scorer.reference(reference)
    same = inputs.same_content(items, real_items)
    if same:
        reporter.warn(
            f"{len(same)} generated clips are reference clips to the byte, such as {same[0][0]} = {same[0][1]}"
        )
    if protocol.equal_n:
        shorter = min(len(generated.window_ids), len(real.window_ids))
        generated, real = generated.take(np.arange(shorter)), real.take(np.arange(shorter))
    prompts, given = inputs.prompts(outputs, generated.items, prompts_table), inputs.read_given(outputs)
    scores = [_score(name, generated, real, scorer, prompts, given.refusal(name)) for name in protocol.metrics]
    if reconstructions is not None:
        decoded, _ = scorer.generated(reconstructions, "reconstructions")
        scores = [_with_codec_floor(item, decoded, real, scorer) for item in scores]
    memorisation: dict[str, dict[str, float]] = {}
    if training_set is not None:
        seen, _, _ = scorer.reference(training_set, "training set", split="train")
        memorisation, warnings = context.memorised(generated, real, seen)
        for warning in warnings:
            reporter.warn(warning)
    return ScoreResult(
        scores=tuple(scores),
        n_asked=protocol.n,
        n_used=generated.distinct,
        n_reference=real.distinct,
        failed=generated.failed,
        reference=about,
        weights=scorer.weights,
        memorisation=memorisation,
        per_clip=_per_clip_rows(generated, real, scorer, prompts),
        generated=generated,
        items=items,
        real=real,
        header=statistics.header(protocol, about, scorer.weights, scorer.missing),
        seconds=time.monotonic() - begun,
    )


def _score(
    name: str, generated: Side, real: Side, scorer: Scorer, prompts: Mapping[str, str], refusal: str = ""
) -> Score:
    """One metric of the protocol, or the reason why it is absent; ``refusal`` is one that is known before."""
    module, protocol = registry.module("metric", name), scorer.protocol
    if refusal:
        return Score(name, None, protocol.n, 0, reason=refusal)
    if module.FEATURE in scorer.missing:
        return Score(name, None, protocol.n, 0, reason=scorer.missing[module.FEATURE])
    if module.KIND == "distance":
        return distance_score(name, generated, real, protocol)
    if module.KIND == "prompted" and not any(item in prompts for item in generated.items):
        return Score(name, None, protocol.n, 0, reason="no prompts: samples.json in the outputs folder names none")
    pair, what = _pairing(name, generated, scorer, prompts)
    values = np.array([pair(i, i) for i in range(len(generated.window_ids))], dtype=np.float64)
    chance = context.chance(pair, generated.clusters, protocol.seed, what)
    return mean_score(name, values, generated, protocol, chance)


def _pairing(
    name: str, side: Side, scorer: Scorer, prompts: Mapping[str, str]
) -> tuple[Callable[[int, int], float], str]:
    """Score of one part of window i with the other part of window j, and what that first part is.

    With i = j it is the score of a clip, NaN where it is not defined.
    """
    module = registry.module("metric", name)
    if module.KIND == "per_clip":
        evidence, options = side.evidence[name], scorer.protocol.estimators.get(name, {})
        return lambda i, j: float(module.pair(evidence[i], evidence[j], **options)), "sound"
    known = sorted({prompts[item] for item in side.items if item in prompts})
    network: Any = scorer.networks[module.FEATURE]
    texts = network.embed_text(known)
    of_window = [known.index(prompts[item]) if item in prompts else None for item in side.items]
    values, owner = side.embeddings[module.FEATURE]
    rows = dict(zip(owner.tolist(), values, strict=True))

    def pair(i: int, j: int) -> float:
        text = of_window[i]
        return (
            float("nan")
            if text is None or j not in rows
            else float(module.compute(rows[j][None], texts[text][None])[0])
        )

    return pair, "prompt"


def distance_score(name: str, generated: Side, real: Side, protocol: Protocol) -> Score:
    """A distance between two measured sides, with interval and floor: a function of rows and protocol alone."""
    module = registry.module("metric", name)
    x, y = generated.rows(module.FEATURE), real.rows(module.FEATURE)
    faults = generated.faults.get(module.FEATURE, {})
    if min(len(x[0]), len(y[0])) < 2:
        why = next(iter([*faults.values(), *real.faults.get(module.FEATURE, {}).values()]), "")
        reason = f"{len(x[0])} generated and {len(y[0])} reference feature rows; at least 2 of each are needed"
        return Score(name, None, protocol.n, 0, reason=f"{reason} ({why})" if why else reason)
    compute = functools.partial(module.compute, **protocol.estimators.get(name, {}))
    try:
        value = float(compute(x[0], y[0]))
    except UserError as error:
        return Score(name, None, protocol.n, 0, reason=str(error))
    warnings = _count_warnings(generated, real, protocol)
    if faults:
        warnings.append(f"{name}: {len(faults)} windows could not be described ({next(iter(faults.values()))})")
    if module.ESTIMATOR == "frechet" and (warning := rank_warning(min(len(x[0]), len(y[0])), x[0].shape[1])):
        warnings.append(f"{name}: {warning}")
    draws = min(protocol.interval_draws, getattr(module, "INTERVAL_DRAWS", protocol.interval_draws))
    subsets = getattr(module, "compute_subsets", None)
    interval, kind, why = context.of_distance(
        compute,
        x,
        y,
        seed=protocol.seed,
        draws=draws,
        of_subsets=functools.partial(subsets, **protocol.estimators.get(name, {})) if subsets else None,
        value=value,
    )
    if why:
        warnings.append(f"{name}: no interval ({why})")
    floor, floor_kind = context.floor(compute, y, len(x[0]), seed=protocol.seed)
    details = getattr(module, "details", None)
    return Score(
        metric=name,
        value=value,
        n_asked=protocol.n,
        n_used=generated.distinct - len(faults),
        interval=interval,
        interval_kind=kind,
        floor=floor,
        floor_kind=floor_kind,
        warnings=tuple(warnings),
        details=details(x[0], y[0], **protocol.estimators.get(name, {})) if details else {},
    )


def _count_warnings(generated: Side, real: Side, protocol: Protocol) -> list[str]:
    n, m = generated.distinct, real.distinct
    if protocol.repeat_to_n and min(n, m) < protocol.n:
        return [f"{n} distinct generated and {m} distinct reference windows were repeated to {protocol.n} of each"]
    if min(n, m) >= protocol.n:
        return []
    return [f"N = {n} generated and {m} reference windows where the protocol asks for {protocol.n} of each"]


def mean_score(
    name: str, values: np.ndarray, generated: Side, protocol: Protocol, chance: tuple[float | None, str]
) -> Score:
    """Mean over the windows where the metric is defined; the others are counted, not averaged as zero.

    Args:
        name: The metric.
        values: One per window of ``generated``, float64, NaN where it is not defined.
        generated: The windows, for their clusters.
        protocol: How.
        chance: The chance level and what it is.
    """
    defined = np.isfinite(values)
    if not defined.any():
        return Score(name, None, protocol.n, 0, reason=f"undefined on all {len(values)} windows")
    warnings = [] if defined.all() else [f"{name}: undefined on {(~defined).sum()} of {len(values)} windows, left out"]
    groups = [g for g, use in zip(generated.clusters, defined, strict=True) if use]
    interval, kind, why = context.of_mean(values[defined], groups, seed=protocol.seed)
    if why:
        warnings.append(f"{name}: no interval ({why})")
    return Score(
        metric=name,
        value=float(values[defined].mean()),
        n_asked=protocol.n,
        n_used=min(int(defined.sum()), generated.distinct),
        interval=interval,
        interval_kind=kind,
        floor=chance[0],
        floor_kind=chance[1],
        warnings=tuple(warnings),
    )


def _with_codec_floor(item: Score, decoded: Side, real: Side, scorer: Scorer) -> Score:
    """The score with, among its details, what the real clips get after the codec: no model behind it can do better."""
    module = registry.module("metric", item.metric)
    if item.value is None or module.KIND == "prompted":
        return item
    options = scorer.protocol.estimators.get(item.metric, {})
    if module.KIND == "distance":
        try:
            value = float(module.compute(decoded.rows(module.FEATURE)[0], real.rows(module.FEATURE)[0], **options))
        except UserError as error:
            return replace(item, warnings=(*item.warnings, f"{item.metric}: no codec floor ({error})"))
    else:
        value = float(np.nanmean([module.pair(found, found, **options) for found in decoded.evidence[item.metric]]))
    return replace(item, details={**item.details, "codec_floor": value})


def _per_clip_rows(generated: Side, real: Side, scorer: Scorer, prompts: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row per window for the per-clip table."""
    columns: dict[str, list[Any]] = {
        "window_id": generated.window_ids,
        "item_id": generated.items,
        "cluster": generated.clusters,
        "start_s": generated.start_s,
        "notes": generated.notes,
    }
    if prompts:
        columns["prompt"] = [prompts.get(item, "") for item in generated.items]
    windows = range(generated.distinct)
    for name in scorer.protocol.metrics:
        kind, feature = registry.module("metric", name).KIND, registry.module("metric", name).FEATURE
        if kind == "per_clip" or (kind == "prompted" and prompts and feature not in scorer.missing):
            pair, _ = _pairing(name, generated, scorer, prompts)
            columns[name] = [pair(i, i) for i in windows]
        elif kind == "distance" and len(real.rows(feature)[0]) and len(generated.rows(feature)[0]):
            columns[f"{feature}_outlier"] = context.outliers(generated, real, feature).tolist()
    return [{name: values[i] for name, values in columns.items()} for i in windows]
