"""What every baseline file provides, and how its clips are written.

A baseline module has ``train(dataset, recipe, run, *, device, reporter)`` and
``sample(run, recipe, numbers, *, device, bar)``; `write_samples` does the rest. One that can be given a part of a clip
also takes ``given`` and has ``clip_window(run, recipe)``, which says what clips it must be given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from avbench import media, registry
from avbench.dataset import dataset_card
from avbench.diffusion.conditioning import GivenClip
from avbench.diffusion.noise_schedule import TRAIN_TIMESTEPS
from avbench.diffusion.sampling import SolverOptions
from avbench.diffusion.solvers import timesteps
from avbench.errors import UserError
from avbench.models.bfloat16 import bfloat16_by_float32
from avbench.progress import SILENT, Reporter
from avbench.recipe_baseline import BaselineRecipe, ConditionRecipe, SampleRecipe
from avbench.training import checkpoint
from avbench.training.loader import WindowSpec
from avbench.workspace import TEMPORARY, alone, publish, read_json, write_json


@dataclass(frozen=True)
class GeneratedClip:
    """One generated clip.

    Attributes:
        clip_id: File stem.
        video: uint8 (T, H, W, 3) RGB.
        fps: Frames per second.
        audio: float32 (C, L) in [-1, 1].
        sample_rate_hz: Audio rate.
        source: What it was given and from where; empty when nothing was.
    """

    clip_id: str
    video: np.ndarray
    fps: float
    audio: np.ndarray
    sample_rate_hz: int
    source: Mapping[str, Any] = field(default_factory=dict)


class Conditions(Protocol):
    """The clips that samples are given; `avbench.inputs.conditions.Conditions` reads them."""

    @property
    def about(self) -> dict[str, Any]:
        """What they come from, for the record."""

    def clip(self, number: int) -> GivenClip:
        """What sample ``number`` is given."""


class Baseline(Protocol):
    """The functions of a baseline module (checked by a contract test)."""

    def train(
        self, dataset: Path, recipe: BaselineRecipe, run: Path, *, device: torch.device, reporter: Reporter
    ) -> Any:
        """Train, or go on training."""

    def sample(self, run: Path, recipe: BaselineRecipe, numbers: list[int], *, device: torch.device, bar: Any) -> Any:
        """Yield the clips ``numbers``."""


def default_device() -> torch.device:
    """A CUDA device when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_config(recipe: BaselineRecipe, dataset: Path) -> dict[str, Any]:
    """What is stored inside every checkpoint: enough to say what made it.

    What decides no weight, such as the number of steps, is not part of it: the same run may be trained further.
    """
    return {
        "baseline": recipe.baseline,
        "preset": recipe.preset,
        "train": recipe.training.defining(),
        "dataset_sha256": dataset_card(dataset)["dataset_sha256"],
    }


def newest(run: Path, recipe: BaselineRecipe) -> checkpoint.Checkpoint:
    """The newest checkpoint of a run.

    Raises:
        UserError: There is none, or it holds another baseline.
    """
    found = checkpoint.latest(run / "checkpoints")
    if found is None:
        raise UserError(f"{run}: holds no checkpoint; train it first with `avbench train {recipe.baseline}`")
    held = found.config.get("baseline")
    if held != recipe.baseline:
        raise UserError(f"{found.path}: holds {held}, not {recipe.baseline}; name that baseline, or give another --out")
    return found


def network_type(sample: SampleRecipe) -> torch.dtype:
    """What the weights of a network are while it samples; it takes and gives float32 all the same."""
    return torch.bfloat16 if sample.bf16 else torch.float32


def grey_levels(pictures: torch.Tensor) -> NDArray[np.uint8]:
    """Pictures (..., 3, H, W) in [-1, 1] as the nearest grey levels, not the next below: uint8 (..., H, W, 3)."""
    levels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1)
    found: NDArray[np.uint8] = levels.contiguous().cpu().numpy()
    return found


def write_clip(clip: GeneratedClip, folder: Path) -> None:
    """Write ``<id>.npz`` (lossless, what is scored) and then ``<id>.mp4`` (what people watch; it marks completion)."""
    write_arrays(clip, folder)
    media.encode(folder / f"{clip.clip_id}.mp4", clip.video, clip.fps, clip.audio, clip.sample_rate_hz)


def write_arrays(clip: GeneratedClip, folder: Path) -> None:
    """Write ``<id>.npz`` alone."""
    with publish(folder / f"{clip.clip_id}.npz") as temporary, open(temporary, "wb") as stream:
        np.savez(
            stream,
            video=clip.video,
            fps=np.float64(clip.fps),
            audio=clip.audio,
            sample_rate_hz=np.int64(clip.sample_rate_hz),
        )


def samples_folder(run: Path, recipe: BaselineRecipe) -> Path:
    """Where the samples of a run go: ``samples``, ``samples-<task>`` where a part is given, ``...-34s`` where long."""
    condition, seconds = recipe.sample.condition, recipe.sample.seconds
    return run / (
        "samples" + (f"-{condition.task}" if condition else "") + (f"-{seconds:g}s" if seconds is not None else "")
    )


def given_window(run: Path, recipe: BaselineRecipe) -> WindowSpec:
    """The clips that a run's network must be given.

    Raises:
        UserError: The baseline cannot be given a part of a clip, or the run has no checkpoint.
    """
    baseline = registry.module("baseline", recipe.baseline)
    if not hasattr(baseline, "clip_window"):
        raise UserError(f"baseline {recipe.baseline} cannot be given a part of a clip; sample it without --task")
    found: WindowSpec = baseline.clip_window(run, recipe)
    return found


def clips_to_enlarge(run: Path, recipe: BaselineRecipe) -> Conditions:
    """The clips of the folder that a recipe names, at the size that a run's network takes.

    Raises:
        UserError: The baseline does not enlarge clips, the run has no checkpoint, or the folder holds too few.
    """
    baseline = registry.module("baseline", recipe.baseline)
    if not hasattr(baseline, "clips_to_enlarge"):
        raise UserError(f"baseline {recipe.baseline} does not enlarge clips; use mmdiffusion-sr")
    found: Conditions = baseline.clips_to_enlarge(run, recipe)
    return found


def solver_options(sample: SampleRecipe) -> SolverOptions:
    """The solver of a recipe."""
    return SolverOptions(
        sample.scheduler,
        sample.steps,
        sample.spacing,
        sample.video_threshold,
        sample.audio_threshold,
        sample.ddpm_variance,
        sample.start_noise,
    )


_SLACK_S = 1e-6
CARD_EVERY = 32
"""Clips between two writings of ``samples.json``: of how many a kill can lose what it took to make them."""


def write_samples(
    run: Path,
    recipe: BaselineRecipe,
    *,
    device: torch.device,
    conditions: Conditions | None = None,
    reporter: Reporter = SILENT,
) -> tuple[int, int]:
    """Sample what is missing of a run's clips into `samples_folder`, each written as soon as it is made.

    ``samples.json`` says whose samples these are, how they were sampled, and what each was given. Samples of another
    checkpoint or another recipe are deleted first.

    Args:
        run: Folder of the run.
        recipe: What to sample.
        device: Where to compute.
        conditions: What the samples are given; needed where the recipe has a condition.
        reporter: Progress.

    Returns:
        The number made now, and the number an earlier call had made.
    """
    require_slices(recipe)
    with sampling_alone(run), bfloat16_by_float32(device) if recipe.sample.bf16 else nullcontext():
        return _write(run, recipe, device, conditions, reporter)


def _write(
    run: Path, recipe: BaselineRecipe, device: torch.device, conditions: Conditions | None, reporter: Reporter
) -> tuple[int, int]:
    folder = samples_folder(run, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    card = _samples_card(run, recipe, conditions)
    sources = card.get("sources")
    missing = [
        i
        for i in range(recipe.sample.n)
        if not (folder / f"{clip_name(i)}.mp4").exists() or (sources is not None and clip_name(i) not in sources)
    ]
    if not missing:  # and the card stays as it is, which a score names by its digest
        return 0, recipe.sample.n
    baseline = registry.module("baseline", recipe.baseline)
    given = {} if conditions is None else {"given": conditions.clip}
    begun, before = time.monotonic(), float(card["seconds"])

    def write_card() -> None:
        card["seconds"] = round(before + time.monotonic() - begun, 2)
        write_json(folder / "samples.json", card)

    numbers = _whole_batches(missing, recipe.sample) if hasattr(baseline, "clip_window") else missing  # our networks
    wanted = {clip_name(i) for i in missing}
    with reporter.bar("sample", total=recipe.sample.n, unit="clip") as bar:
        bar.advance(recipe.sample.n - len(numbers))
        try:
            clips = baseline.sample(run, recipe, numbers, device=device, bar=bar, **given)
            for made, clip in enumerate((clip for clip in clips if clip.clip_id in wanted), 1):
                if made == 1:  # the weights are loaded by now, and were loaded after the card was made
                    _require_newest(run, card)
                write_clip(clip, folder)
                if sources is not None:
                    sources[clip.clip_id] = dict(clip.source)
                if made % CARD_EVERY == 0:
                    write_card()
        finally:
            write_card()
    return len(missing), recipe.sample.n - len(missing)


def _whole_batches(missing: list[int], sample: SampleRecipe) -> list[int]:
    """Clips that are missing, and those that were made in one batch with them.

    The last digits of a network's sums depend on what else is in its batch, and the same command is to leave the same
    bytes, wherever it was stopped.
    """
    begun = {number // sample.batch_size for number in missing}
    return [number for number in range(sample.n) if number // sample.batch_size in begun]


def sampling_alone(run: Path) -> AbstractContextManager[None]:
    """Be the only process that makes clips in a run.

    Raises:
        UserError: Another one does.
        EnvironmentFault: The folder cannot be written.
    """
    return alone(run, "samples", "makes clips", sweep=(f"samples*/{TEMPORARY}*", f"videos/{TEMPORARY}*"))


def _require_newest(run: Path, card: Mapping[str, Any]) -> None:
    """Refuse weights that are newer than what ``samples.json`` says of them.

    Raises:
        UserError: The run was trained further since the card was made.
    """
    found = checkpoint.latest(run / "checkpoints")
    if found is not None and found.path.name != card["checkpoint"]:
        raise UserError(
            f"{run}: was trained from {card['checkpoint']} to {found.path.name} while it was sampled; run the same "
            "command again"
        )


def made_times(condition: ConditionRecipe, clip_s: float) -> dict[str, list[list[float]]]:
    """What is made of each clip of ``clip_s`` seconds: per modality its [start, end), nothing where all is given."""
    if condition.task in ("v2a", "a2v"):
        return {"video" if condition.task == "v2a" else "audio": []}
    made, at_s = [], 0.0
    for start_s, end_s in [*sorted(condition.keep), (clip_s, clip_s)]:
        if start_s > at_s + _SLACK_S:
            made.append([round(at_s, 6), round(start_s, 6)])
        at_s = max(at_s, end_s)
    return {"video": made, "audio": made}


def batches(
    numbers: list[int], size: int, given: Callable[[int], GivenClip] | None
) -> Iterator[tuple[list[int], list[GivenClip]]]:
    """Sample numbers ``size`` at a time, with what each of them is given; nothing where ``given`` is None."""
    for start in range(0, len(numbers), size):
        chunk = numbers[start : start + size]
        yield chunk, [given(number) for number in chunk] if given is not None else []


def clip_name(number: int) -> str:
    """File stem of sample ``number``."""
    return f"sample-{number:05d}"


def require_slices(recipe: BaselineRecipe) -> None:
    """Refuse what only a network with a noise level per time slice can do.

    Raises:
        UserError: The recipe asks for it, and its baseline has no such network.
    """
    sample = recipe.sample
    if hasattr(registry.module("baseline", recipe.baseline), "slice_bounds_s"):
        return
    if sample.seconds is not None:
        raise UserError(
            f"--seconds {sample.seconds:g}: baseline {recipe.baseline} makes clips of one length; use avdit"
        )
    if sample.condition is not None and sample.condition.guidance:
        raise UserError(f"--guidance is of avdit; baseline {recipe.baseline} has --method guide and --scale")


def _not_noted(sample: SampleRecipe) -> dict[str, Any]:
    """What of a recipe ``samples.json`` leaves out: what changes no clip, and later settings that are not in use."""
    unused: dict[str, Any] = {"n": True, "batch_size": True, "seconds": sample.seconds is None}
    unused |= {"start_noise": sample.start_noise == "drawn", "bf16": not sample.bf16}
    if sample.condition is not None and not sample.condition.guidance:
        unused["condition"] = {"guidance", "drop"}
    return {name: what for name, what in unused.items() if what}


def _samples_card(run: Path, recipe: BaselineRecipe, conditions: Conditions | None) -> dict[str, Any]:
    """``samples.json`` as it stands, or a new one after the samples of something else are deleted."""
    folder, found = samples_folder(run, recipe), checkpoint.latest(run / "checkpoints")
    sample, options = recipe.sample, solver_options(recipe.sample)
    config = found.config if found else {}
    thresholds = dict(zip(("video_threshold", "audio_threshold"), options.thresholds, strict=True))
    card: dict[str, Any] = {
        "model": recipe.baseline,
        "preset": recipe.preset,
        "checkpoint": found.path.name if found else "",
        "config": found.config if found else {},
        "sample": {**sample.model_dump(mode="json", exclude=_not_noted(sample)), **thresholds},
        "timesteps": timesteps(sample.steps, sample.spacing, config.get("timesteps", TRAIN_TIMESTEPS)),
    }
    if conditions is not None:
        card["given"] = conditions.about
    if sample.condition is not None:
        window = given_window(run, recipe)
        card["made"] = made_times(sample.condition, sample.seconds or window.frames / window.fps)
    path = folder / "samples.json"
    before = read_json(path) if path.exists() else {}
    if {name: value for name, value in before.items() if name not in ("seconds", "sources")} == card:
        return dict(before)
    for old in folder.glob("sample-*"):
        old.unlink()
    card["seconds"] = 0.0
    if conditions is not None:
        card["sources"] = {}
    write_json(path, card)
    return card
