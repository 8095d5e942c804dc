"""Whether trained runs have learnt that sound and picture belong together, as a page with pictures.

    python -m benchmarks.learning_evidence runs/coupled runs/uncoupled --dataset demo > docs/learning.md

Takes a run with cross-attention and one without. Of each it samples clips, and sounds for real pictures (v2a), beside
the real clips themselves. The alignment of every set stands beside its chance level: the same pictures with the sounds
of all other clips of the set. Intervals are percentiles over recordings drawn with replacement, the same draws for a
value and for its chance level, so that their difference has an interval too.

Samples go to --work and stay there; the same command goes on where it stopped, and the runs are not touched. Figures go
to --figures. The page is printed; progress goes to the error stream.

256 clips of each set of the tiny preset in 20 steps take about 45 minutes of one core; --method replace, which needs no
gradients, about 25.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from avbench import inputs, npz, parallel, protocol as protocols, provenance, recipe as recipes, registry, scoring
from avbench.baselines import _base
from avbench.baselines._base import GeneratedClip
from avbench.cache import FeatureCache
from avbench.dataset import dataset_card, find_dataset
from avbench.errors import UserError
from avbench.inputs.conditions import Conditions
from avbench.metrics._interval import MIN_GROUPS
from avbench.progress import SILENT
from avbench.recipe_baseline import BaselineRecipe, ConditionRecipe, SampleRecipe
from avbench.schema import Score
from avbench.scored import pick_device
from avbench.sides import Side, collect, subset
from avbench.training import checkpoint, curves
from avbench.training.log import MODALITIES, edge_losses, loss_name, read_log
from avbench.training.preview import write_sheet
from avbench.workspace import publish, read_json

ALIGNMENT = "av_align"
DISTANCES = {"mel_fd": "mel-fd", "flow_fd": "flow-fd"}
DRAWS = 2000
SHOWN = 3
"""Clips of a set on the contact sheet."""
NAMES = ("coupled", "uncoupled")
COLOURS = {"coupled": "#0b5f8a", "uncoupled": "#a0561c"}


class Estimate(NamedTuple):
    """A mean and its 95% interval; NaN at both ends where too few recordings tell one."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]" if self.low == self.low else f"{self.value:.3f}"


class Alignment(NamedTuple):
    """Alignment of a set: of its clips, of its pictures with other sounds, and the first less the second."""

    own: Estimate
    chance: Estimate
    above: Estimate


def intervals(table: NDArray[np.float64], recordings: Sequence[str], seed: int, draws: int = DRAWS) -> Alignment:
    """Alignment with intervals from the score of every sound (rows) with every picture (columns).

    Args:
        table: float64 (n, n); NaN where a score is not defined.
        recordings: Recording of each clip; a pair within one is neither the clip's own nor chance.
        seed: Of the draws.
        draws: Bootstrap samples of recordings.
    """
    names, group = np.unique(np.asarray(recordings), return_inverse=True)
    defined = np.isfinite(table)
    values, is_other = np.where(defined, table, 0.0), group[:, None] != group[None, :]
    own, own_defined = np.diag(values), np.diag(defined).astype(float)
    other, other_defined = values * is_other, (defined & is_other).astype(float)

    def means(counts: NDArray[np.float64]) -> tuple[float, float, float]:
        each = counts[group]
        aligned = float(each @ own) / max(float(each @ own_defined), 1e-12)
        chance = float(each @ other @ each) / max(float(each @ other_defined @ each), 1e-12)
        return aligned, chance, aligned - chance

    rng, even = np.random.default_rng([seed, 11]), np.full(len(names), 1 / len(names))
    drawn = np.array([means(rng.multinomial(len(names), even).astype(float)) for _ in range(draws)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    if len(names) < MIN_GROUPS:
        low = high = np.full(3, np.nan)
    at = means(np.ones(len(names)))
    return Alignment(*(Estimate(*map(float, three)) for three in zip(at, low, high, strict=True)))


@dataclass(frozen=True)
class Clips:
    """One set of clips and what was measured of it.

    Attributes:
        name: As the page calls it.
        folder: Where they lie; None for the real ones.
        side: Evidence of alignment by window.
        distances: Distances to the real clips by metric.
        aligned: AV-align.
    """

    name: str
    folder: Path | None
    side: Side
    distances: dict[str, Score]
    aligned: Alignment


@dataclass(frozen=True)
class Job:
    """What the command line asked for."""

    runs: tuple[Path, Path]
    dataset: Path
    rules: protocols.Protocol
    sampling: dict[str, Any]
    condition: dict[str, Any]
    work: Path
    figures: Path
    device: Any
    workers: int


def told(text: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def recipe_of(run: Path) -> BaselineRecipe:
    path = run / "recipe.json"
    return recipes.parse(read_json(path), BaselineRecipe, str(path))


def sampled(job: Job, name: str, task: str | None) -> Path:
    """Sample what is missing of a set, with the newest checkpoint of a run."""
    run, work = job.runs[NAMES.index(name)], job.work / name
    work.mkdir(parents=True, exist_ok=True)
    link = work / "checkpoints"
    if not link.is_symlink():
        link.symlink_to((run / "checkpoints").resolve(), target_is_directory=True)
    recipe = recipe_of(run)
    condition = ConditionRecipe.model_validate({"task": task, **job.condition}) if task else None
    data = {**recipe.sample.model_dump(), **job.sampling, "condition": condition and condition.model_dump()}
    recipe = recipe.model_copy(update={"sample": recipes.parse(data, SampleRecipe, "sample")})
    given = Conditions(job.dataset, condition, _base.given_window(work, recipe)) if condition else None
    begun = time.monotonic()
    made, before = _base.write_samples(work, recipe, device=job.device, conditions=given)
    told(f"{name} {task or 'joint'}: {made} clips made in {time.monotonic() - begun:.0f} s, {before} were there")
    return _base.samples_folder(work, recipe)


def measured(job: Job, name: str, folder: Path | None, cache: FeatureCache) -> Clips:
    """Measure a set of generated clips, or the real ones."""
    scores: dict[str, Score] = {}
    if folder is None:
        real = job.rules.model_copy(update={"reference_split": job.condition["split"]})
        items = subset(inputs.reference(job.dataset, real)[0], real.n, real.seed)
        side = collect(items, real, {}, per_clip=True, cache=cache, workers=job.workers, reporter=SILENT)
    else:
        result = scoring.score(folder, job.dataset, job.rules, workers=job.workers, device=str(job.device), cache=cache)
        side, scores = result.generated, {score.metric: score for score in result.scores}
    if not side.window_ids:
        raise UserError(f"{name}: gives no window ({next(iter(side.failed.values()), 'the split is empty')})")
    pair, evidence = registry.module("metric", ALIGNMENT).pair, side.evidence[ALIGNMENT]
    table = np.array([[pair(sound, picture) for picture in evidence] for sound in evidence], np.float64)
    aligned = intervals(table, side.clusters, job.rules.seed)
    told(f"{name}: AV-align {aligned.own}, chance {aligned.chance}")
    return Clips(name, folder, side, scores, aligned)


def draw_losses(job: Job, path: Path) -> None:
    """Losses of both runs on the same axes, smoothed as on the page of a run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.2), dpi=110, layout="constrained")
    for axes, modality in zip(figure.subplots(1, len(MODALITIES), squeeze=False)[0], MODALITIES, strict=True):
        for name, run in zip(NAMES, job.runs, strict=True):
            steps, losses = curves.series(pd.DataFrame(read_log(run / "log.jsonl")), loss_name(modality))
            if len(steps):
                axes.plot(steps, curves.smoothed(losses), color=COLOURS[name], label=name)
        axes.set(xscale="log", yscale="log", xlabel="optimizer step", title=f"loss of the {modality}")
        axes.grid(True, which="both", alpha=0.25, linewidth=0.5)
        axes.legend(frameon=False)
    with publish(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


def draw_alignment(sets: Sequence[Clips], path: Path) -> None:
    """Alignment of every set beside its chance level, with intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 0.5 * len(sets) + 1.2), dpi=110, layout="constrained")
    axes, rows = figure.subplots(), np.arange(len(sets))[::-1]
    for shift, part, colour, what in ((0.12, 0, "#0b5f8a", "own sound"), (-0.12, 1, "#8a8a8a", "chance")):
        found = [each.aligned[part] for each in sets]
        middle = np.array([estimate.value for estimate in found])
        reach = [middle - [e.low for e in found], np.array([e.high for e in found]) - middle]
        axes.errorbar(
            middle, rows + shift, xerr=np.abs(np.nan_to_num(reach)), fmt="o", color=colour, capsize=3, label=what
        )
    axes.set_yticks(rows, [each.name for each in sets])
    axes.set(xlabel="AV-align", ylim=(-0.6, len(sets) - 0.4))
    axes.grid(True, axis="x", alpha=0.25, linewidth=0.5)
    figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    with publish(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


def draw_clips(sets: Sequence[Clips], path: Path) -> None:
    """The first clips of every generated set, one below the other."""
    clips = []
    for each in sets:
        for file in sorted(each.folder.glob("*.npz"))[:SHOWN] if each.folder else ():
            with np.load(file) as data:
                rate = int(data["sample_rate_hz"])
                clips.append(GeneratedClip(file.stem, data["video"], float(data["fps"]), data["audio"], rate))
    write_sheet(clips, path)


def losses_table(job: Job) -> list[str]:
    """First and last losses of both runs."""
    lines = ["| run | steps | parameters | loss of | first twentieth | last twentieth |", "|---|---|---|---|---|---|"]
    for name, run in zip(NAMES, job.runs, strict=True):
        rows, found = read_log(run / "log.jsonl"), checkpoint.latest(run / "checkpoints")
        assert found is not None
        count = sum(tensor.numel() for tensor in found.weights("ema").values())
        for modality in MODALITIES:
            first, last = edge_losses([row[loss_name(modality)] for row in rows])
            lines.append(f"| {name} | {found.step:,} | {count:,} | {modality} | {first:.4f} | {last:.4f} |")
    return lines


def alignment_table(sets: Sequence[Clips]) -> list[str]:
    """AV-align of every set with its chance level and their difference."""
    lines = ["| clips | N | recordings | AV-align | chance | above chance |", "|---|---|---|---|---|---|"]
    for each in sets:
        cells = " | ".join(map(str, each.aligned))
        lines.append(f"| {each.name} | {each.side.distinct} | {len(set(each.side.clusters))} | {cells} |")
    return lines


def distance_table(sets: Sequence[Clips]) -> list[str]:
    lines = [f"| clips | {' | '.join(DISTANCES.values())} |", "|---" * (1 + len(DISTANCES)) + "|"]
    lines += [f"| {s.name} | {' | '.join(shown(s.distances[m]) for m in DISTANCES)} |" for s in sets if s.distances]
    return lines


def shown(score: Score) -> str:
    """A distance with its interval and its floor, or why there is none."""
    if score.value is None:
        return score.reason
    interval = f" [{score.interval[0]:.4g}, {score.interval[1]:.4g}]" if score.interval else ""
    return f"{score.value:.4g}{interval}" + (f", floor {score.floor:.4g}" if score.floor is not None else "")


def claims(job: Job, by_name: dict[str, Clips]) -> list[str]:
    """What was to be shown, and whether these clips show it."""
    lines = ["| claim | measured | shown |", "|---|---|---|"]

    def add(claim: str, measured_as: str, holds: bool) -> None:
        lines.append(f"| {claim} | {measured_as} | {'yes' if holds else 'no'} |")

    for name, run in zip(NAMES, job.runs, strict=True):
        edges = [edge_losses([row[loss_name(m)] for row in read_log(run / "log.jsonl")]) for m in MODALITIES]
        told_as = ", ".join(f"{m} {a:.3f} to {b:.3f}" for m, (a, b) in zip(MODALITIES, edges, strict=True))
        add(f"losses fall ({name})", told_as, all(last < first for first, last in edges))
    joint, cut, given, blind = (
        by_name[name].aligned for name in ("coupled", "uncoupled", "coupled v2a", "uncoupled v2a")
    )
    apart, helped = f"{joint.own} against {joint.chance}", f"{given.own} against {joint.own}"
    add("AV-align: coupled above chance, intervals apart", apart, joint.own.low > joint.chance.high)
    add("AV-align: coupled above chance, difference", str(joint.above), joint.above.low > 0)
    add("AV-align: uncoupled not above chance", str(cut.above), cut.above.low <= 0)
    add("AV-align: sounds for real pictures above chance", str(given.above), given.above.low > 0)
    same, of = same_sounds(by_name["uncoupled"], by_name["uncoupled v2a"])
    told_as = f"{same} of {of} sounds as without it, to the bit; AV-align less chance {blind.above}"
    add("without cross-attention a given picture changes no sound", told_as, same == of)
    add("AV-align: a given picture helps", helped, given.own.low > joint.own.high)
    before, after = (by_name[name].distances["mel_fd"] for name in ("coupled", "coupled v2a"))
    holds = bool(before.interval and after.interval and after.interval[1] < before.interval[0])
    add("mel-fd: sounds for real pictures nearer to real ones", f"{shown(after)} against {shown(before)}", holds)
    return lines


def same_sounds(one: Clips, other: Clips) -> tuple[int, int]:
    """How many clips of two sets have the same sound to the bit, and how many there are."""
    here, there = one.folder, other.folder
    assert here is not None
    assert there is not None
    names = sorted(path.name for path in here.glob("*.npz"))
    same = sum(np.array_equal(npz.read(here / name)["audio"], npz.read(there / name)["audio"]) for name in names)
    return same, len(names)


def page(job: Job, sets: Sequence[Clips]) -> str:
    """All of it as Markdown."""
    card, machine = dataset_card(job.dataset), provenance.environment(str(job.device))
    figures = {name: (job.figures / f"learning-{name}.png") for name in ("losses", "alignment", "clips")}
    draw_losses(job, figures["losses"])
    draw_alignment(sets, figures["alignment"])
    draw_clips(sets, figures["clips"])
    place = f"{job.figures.name}/"
    chosen = recipe_of(job.runs[0]).sample.model_copy(update=job.sampling)
    how = f"{chosen.scheduler}, {chosen.steps} steps ({chosen.spacing}), seed {chosen.seed}"
    given = ", ".join(f"{name} {value}" for name, value in job.condition.items() if name != "source")
    lines = [
        "# Does it learn? Measured",
        "",
        f"Dataset {card['name']} {card['version']} (sha256 {card['dataset_sha256'][:16]}), protocol {job.rules.name}, "
        f"{job.rules.n} clips of each set at most. Sampled with {how}; a picture is given by {given}. "
        f"{machine['cpu']}, {machine['device']}, torch {machine['torch']}, {provenance.utc_now()[:10]}.",
        "",
        "Intervals are 95%, over recordings drawn with replacement; fewer than "
        f"{MIN_GROUPS} recordings tell none. Chance: the same pictures with the sounds of other recordings of the set. "
        "*v2a* are sounds made for real pictures.",
        "",
        *claims(job, {each.name: each for each in sets}),
        "",
        "## Losses",
        "",
        *losses_table(job),
        "",
        f"![Losses of both runs]({place}{figures['losses'].name})",
        "",
        "## Alignment",
        "",
        *alignment_table(sets),
        "",
        f"![Alignment beside chance]({place}{figures['alignment'].name})",
        "",
        "## Distances to the real clips",
        "",
        *distance_table(sets),
        "",
        "## Clips",
        "",
        f"The first {SHOWN} of each set ({', '.join(s.name for s in sets if s.folder)}), frames and spectrogram:",
        "",
        f"![Clips]({place}{figures['clips'].name})",
    ]
    return "\n".join(lines)


def job_of(words: Sequence[str] | None = None) -> Job:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coupled", type=Path, help="folder of a run with cross-attention")
    parser.add_argument("uncoupled", type=Path, help="folder of the same run without")
    parser.add_argument("--dataset", default="demo", help="name or folder of the dataset")
    parser.add_argument("--protocol", default="demo-v1")
    parser.add_argument("--n", type=int, default=256, help="clips of each set")
    parser.add_argument("--scheduler", help="as the recipe of each run says, where left out")
    parser.add_argument("--steps", type=int, help="solver steps, likewise")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="test", help="whose pictures are given")
    parser.add_argument("--method", default="both", help="how a picture is given: replace, guide or both")
    parser.add_argument("--scale", type=float, default=2.0, help="weight of the guidance")
    parser.add_argument("--work", type=Path, default=Path("runs/learning-evidence"))
    parser.add_argument("--figures", type=Path, default=Path("docs/figures"))
    parser.add_argument("--device")
    parser.add_argument("--workers", type=int, default=parallel.default_workers())
    args = parser.parse_args(words)
    dataset = find_dataset(args.dataset)
    rules = protocols.load(args.protocol)
    rules = rules.model_copy(update={"metrics": (ALIGNMENT, *DISTANCES), "n": args.n, "min_n": 2})
    solver = {name: value for name in ("scheduler", "steps") if (value := getattr(args, name)) is not None}
    sampling = {"n": args.n, "batch_size": args.batch_size, **solver}
    scale = {} if args.method == "replace" else {"scale": args.scale}
    condition = {"source": str(dataset), "split": args.split, "method": args.method, **scale}
    return Job(
        runs=(args.coupled, args.uncoupled),
        dataset=dataset,
        rules=rules,
        sampling={**sampling, "seed": args.seed},
        condition=condition,
        work=args.work,
        figures=args.figures,
        device=pick_device(args.device),
        workers=args.workers,
    )


def main(words: Sequence[str] | None = None) -> None:
    job = job_of(words)
    with FeatureCache() as cache:
        sets = [measured(job, f"real, {job.condition['split']}", None, cache)]
        for task in (None, "v2a"):
            for name in NAMES:
                label = f"{name} {task}" if task else name
                sets.append(measured(job, label, sampled(job, name, task), cache))
    print(page(job, sets))


if __name__ == "__main__":
    main()
