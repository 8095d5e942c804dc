"""MM-Diffusion (arXiv 2212.09478): one coupled U-Net denoises video and sound together.

Train: noise prediction on random 1.6 s windows. Sample: a diffusers solver, one per modality, on the same timesteps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avbench.baselines._base import (
    GeneratedClip,
    batches,
    clip_name,
    grey_levels,
    network_type,
    newest,
    run_config,
    solver_options,
)
from avbench.diffusion.conditioning import Conditioning, GivenClip, Shape, known_part
from avbench.diffusion.noise_schedule import TRAIN_TIMESTEPS, PairLoss, linear_schedule, noise_pair, pair_loss
from avbench.diffusion.sampling import sample_pairs
from avbench.errors import UserError
from avbench.models.mmdiffusion import PRESETS, MMDiffusion, MMDiffusionConfig
from avbench.progress import SILENT, Bar, Reporter
from avbench.recipe import parse
from avbench.recipe_baseline import BaselineRecipe, ConditionRecipe
from avbench.registry import unknown
from avbench.schema import Batch
from avbench.training import checkpoint, processes
from avbench.training.loader import WindowLoader, WindowSpec
from avbench.training.loop import TrainResult, train as run_training
from avbench.training.prefetch import Prefetcher
from avbench.training.preview import preview_recipe
from avbench.training.randomness import StepGenerator


def preset(name: str) -> MMDiffusionConfig:
    """Configuration of a preset.

    Raises:
        UserError: No such preset.
    """
    if name not in PRESETS:
        raise unknown("preset", name, sorted(PRESETS))
    return PRESETS[name]


def window(config: MMDiffusionConfig) -> WindowSpec:
    """The window of a training view that a network of this configuration takes."""
    frames, _, size, _ = config.video_size
    return WindowSpec(frames, config.fps, size, config.audio_size[1], config.sample_rate_hz)


def step_loss(model: torch.nn.Module, batch: Batch, generator: StepGenerator, *, audio_gain: float = 1.0) -> PairLoss:
    """Noise a part of a batch and measure how well its noise is predicted in both modalities.

    Args:
        model: The network.
        batch: uint8 video, float32 audio.
        generator: Draws the attention shifts; the generators of its samples draw timestep and noise.
        audio_gain: The network sees the sound multiplied by this.
    """
    device = next(model.parameters()).device
    video = batch.video.to(device, non_blocking=True).float() / 127.5 - 1
    audio = batch.audio.to(device, non_blocking=True) * audio_gain
    noisy = noise_pair(linear_schedule(), video, audio, generator.samples)
    video_noise, audio_noise = model(noisy.video, noisy.audio, noisy.timesteps, generator=generator)
    return pair_loss(video_noise, audio_noise, noisy)


def train(
    dataset: Path, recipe: BaselineRecipe, run: Path, *, device: torch.device, reporter: Reporter = SILENT
) -> TrainResult:
    """Train on the ``train`` split of ``dataset``; see `avbench.training.loop.train`."""
    config = preset(recipe.size)
    loader = WindowLoader(dataset, "train", window(config), seed=recipe.training.seed, flip=recipe.training.flip)
    torch.manual_seed(recipe.training.seed)
    share = functools.partial(loader.batch, rank=processes.rank(), world=processes.world())
    shown = preview_recipe(recipe)
    with Prefetcher(share, pin=device.type == "cuda") as batches:
        return run_training(
            MMDiffusion(config, activation_checkpointing=recipe.training.activation_checkpointing),
            batches,
            functools.partial(step_loss, audio_gain=recipe.training.audio_gain),
            recipe.training,
            run,
            config={**run_config(recipe, dataset), **network_card(config)},
            device=device,
            reporter=reporter,
            preview=lambda: sample(run, shown, list(range(shown.sample.n)), device=device, bar=Bar()),
        )


def network_card(config: MMDiffusionConfig) -> dict[str, Any]:
    """What a checkpoint says of its network: the sizes, and the steps of the linear noise schedule of its training."""
    return {"network": config.model_dump(mode="json"), "timesteps": TRAIN_TIMESTEPS}


def network_of(found: checkpoint.Checkpoint) -> MMDiffusionConfig:
    """Sizes of the network in a checkpoint: those that stand in it, whatever its preset is called.

    Raises:
        UserError: It holds another baseline, or its sizes contradict each other.
    """
    held = found.config.get("baseline")
    if held != "mmdiffusion":
        raise UserError(f"{found.path}: holds {held}, not mmdiffusion; name that baseline, or give another --out")
    if "network" not in found.config:  # written before checkpoints held the sizes: its preset is one that shipped
        return preset(found.config["preset"])
    return parse(found.config["network"], MMDiffusionConfig, str(found.path))


def load(found: checkpoint.Checkpoint) -> MMDiffusion:
    """The network of a checkpoint, with its averaged weights, ready to sample.

    Raises:
        UserError: See `network_of`.
    """
    model = MMDiffusion(network_of(found))
    model.load_state_dict(found.weights("ema"))
    return model.eval().requires_grad_(False)


def clip_window(run: Path, recipe: BaselineRecipe) -> WindowSpec:
    """What the newest checkpoint of ``run`` makes, and so must be given.

    Raises:
        UserError: The run has no checkpoint.
    """
    return window(network_of(newest(run, recipe)))


def sample(
    run: Path,
    recipe: BaselineRecipe,
    numbers: list[int],
    *,
    device: torch.device,
    bar: Bar,
    given: Callable[[int], GivenClip] | None = None,
) -> Iterator[GeneratedClip]:
    """Make the clips ``numbers`` from the newest checkpoint of ``run``, a batch at a time.

    Args:
        run: Folder of the run.
        recipe: How to sample.
        numbers: Which clips.
        device: Where to compute.
        bar: Advanced by one per clip.
        given: What each clip is given, for the recipe's condition; None samples picture and sound together.

    Raises:
        UserError: The run has no checkpoint, or what is given does not suit the condition.
    """
    found = newest(run, recipe)
    model = load(found).to(device, network_type(recipe.sample))
    config = model.config
    for chunk, clips in batches(numbers, recipe.sample.batch_size, given):
        condition = recipe.sample.condition
        steps = sample_pairs(
            functools.partial(_denoise, model),
            chunk,
            video_shape=config.video_size,
            audio_shape=config.audio_size,
            schedule=linear_schedule(found.config.get("timesteps", TRAIN_TIMESTEPS)),
            options=solver_options(recipe.sample),
            seed=recipe.sample.seed,
            device=device,
            conditioning=_conditioning(condition, clips, config) if condition and clips else None,
            audio_gain=found.config.get("train", {}).get("audio_gain", 1.0),
        )
        for result in steps:
            bar.advance(len(chunk) / recipe.sample.steps)
            if result is not None:
                yield from _clips(config, chunk, *result, clips)


def _denoise(model: MMDiffusion, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
    video, audio, timesteps, generator = args
    return model(video, audio, timesteps, generator=generator)


def _conditioning(condition: ConditionRecipe, clips: list[GivenClip], config: MMDiffusionConfig) -> Conditioning:
    """What a batch is given, as tensors."""
    shape = Shape(config.video_size, config.audio_size, config.fps, config.sample_rate_hz)
    known = known_part(condition.task, condition.keep, clips, shape)
    scale = 1.0 if condition.scale is None else condition.scale
    return Conditioning(known, condition.method, scale, condition.noise)


def _clips(
    config: MMDiffusionConfig, numbers: list[int], video: torch.Tensor, audio: torch.Tensor, given: list[GivenClip]
) -> Iterator[GeneratedClip]:
    """Turn a batch in [-1, 1] into clips."""
    sources = [clip.source for clip in given] or [{}] * len(numbers)
    for number, picture, sound, source in zip(numbers, grey_levels(video), audio.numpy(), sources, strict=True):
        tone = sound.astype(np.float32)
        yield GeneratedClip(clip_name(number), picture, config.fps, tone, config.sample_rate_hz, source)
