"""AVDiT with a mixture of noise levels (arXiv 2405.13762): one transformer for every task, on latents of two codecs.

Train: noise prediction on latents whose tokens are each noisy to a degree of their own. Sample: what is given are clean
tokens of level 0, the rest goes from noise to the clip. Nothing is replaced during sampling and no gradient is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from avbench.baselines._avdit_chain import Plan, plan
from avbench.baselines._avdit_given import given_part
from avbench.baselines._avdit_windows import Maker
from avbench.baselines._base import GeneratedClip, batches, clip_name, network_type, newest, run_config, solver_options
from avbench.baselines._latent_run import (
    codec_sizes,
    encoded,
    from_checkpoint,
    latent_card,
    load_pair,
    reconstructions,
    threshold_limits,
)
from avbench.diffusion.conditioning import GivenClip
from avbench.diffusion.noise_levels import draw_levels, noise_tokens, predicted_noise, token_loss
from avbench.diffusion.noise_schedule import TRAIN_TIMESTEPS, PairLoss, linear_schedule
from avbench.errors import UserError
from avbench.models.avdit import PRESETS, AVDiT, AVDiTConfig
from avbench.progress import SILENT, Bar, Reporter
from avbench.recipe import parse
from avbench.recipe_avdit import NoiseLevelRecipe
from avbench.recipe_baseline import BaselineRecipe, ConditionRecipe
from avbench.registry import unknown
from avbench.schema import Batch
from avbench.training import checkpoint, processes
from avbench.training.latent_space import CodecPair
from avbench.training.loader import WindowSpec
from avbench.training.loop import TrainResult, train as run_training
from avbench.training.prefetch import Prefetcher
from avbench.training.preview import preview_recipe
from avbench.training.randomness import StepGenerator

__all__ = ["clip_window", "reconstructions", "sample", "train"]


def preset(name: str) -> AVDiTConfig:
    """Configuration of a preset, with the latent sizes of the paper's codecs.

    Raises:
        UserError: No such preset.
    """
    if name not in PRESETS:
        raise unknown("preset", name, sorted(PRESETS))
    return PRESETS[name]


def levels_of(recipe: BaselineRecipe) -> NoiseLevelRecipe:
    """How a recipe draws noise levels; the paper's way where it says nothing."""
    return recipe.noise_levels or NoiseLevelRecipe()


def step_loss(
    model: torch.nn.Module,
    batch: Batch,
    generator: StepGenerator,
    *,
    config: AVDiTConfig,
    levels: NoiseLevelRecipe,
    known: torch.Tensor | None = None,
) -> PairLoss:
    """Noise the tokens of a part of a batch, each slice to a level of its own, and measure the predicted noise.

    Args:
        model: The network.
        batch: float32 normalised latents, video (B, N, C, h, w) and audio (B, M, C).
        generator: Decides whether the network sees its own first estimate in this step; the generators of its samples
            draw levels and noise.
        config: Sizes of the network.
        levels: Strategies and their weights.
        known: What is never noisy, bool (2, N), in training for one task.
    """
    device = next(model.parameters()).device
    schedule = linear_schedule()
    video, audio = (part.to(device, non_blocking=True) for part in (batch.video, batch.audio))
    drawn = draw_levels(levels.drawn, len(video), config.slices, TRAIN_TIMESTEPS, generator.samples, known=known)
    noisy = noise_tokens(schedule, video, audio, drawn, config.audio_slices, generator.samples)
    twice = bool(torch.rand((), generator=generator) < levels.self_conditioning)
    return token_loss(predicted_noise(model, schedule, noisy, twice=twice), noisy, TRAIN_TIMESTEPS)


def train(
    dataset: Path, recipe: BaselineRecipe, run: Path, *, device: torch.device, reporter: Reporter = SILENT
) -> TrainResult:
    """Train on the latents of the ``train`` split of ``dataset``; see `avbench.training.loop.train`."""
    pair = load_pair(recipe, device, reporter)
    config = preset(recipe.size).fitted(**codec_sizes(pair))
    levels = levels_of(recipe)
    known = given_part(levels.task, levels.keep, config, pair.window.samples).slices if levels.task else None
    loader = encoded(dataset, recipe, pair, reporter)
    torch.manual_seed(recipe.training.seed)
    share = functools.partial(loader.batch, rank=processes.rank(), world=processes.world())
    shown = preview_recipe(recipe)
    with Prefetcher(share, pin=device.type == "cuda") as batches:
        return run_training(
            AVDiT(config, activation_checkpointing=recipe.training.activation_checkpointing),
            batches,
            functools.partial(step_loss, config=config, levels=levels, known=known),
            recipe.training,
            run,
            config={
                **run_config(recipe, dataset),
                "network": config.model_dump(mode="json"),
                "timesteps": TRAIN_TIMESTEPS,
                "noise_levels": levels.model_dump(mode="json"),
                "latents": latent_card(pair, loader.statistics),
            },
            device=device,
            reporter=reporter,
            preview=lambda: sample(run, shown, list(range(shown.sample.n)), device=device, bar=Bar()),
        )


def network_of(found: checkpoint.Checkpoint) -> AVDiTConfig:
    """Sizes of the network in a checkpoint.

    Raises:
        UserError: Its sizes contradict each other.
    """
    return parse(found.config["network"], AVDiTConfig, str(found.path))


def load(found: checkpoint.Checkpoint) -> AVDiT:
    """The network of a checkpoint, with its averaged weights, ready to sample."""
    model = AVDiT(network_of(found))
    model.load_state_dict(found.weights("ema"))
    return model.eval().requires_grad_(False)


def clip_window(run: Path, recipe: BaselineRecipe) -> WindowSpec:
    """What the newest checkpoint of ``run`` makes, and so must be given.

    Raises:
        UserError: The run has no checkpoint.
    """
    return WindowSpec(**newest(run, recipe).config["latents"]["window"])


def slice_bounds_s(run: Path, recipe: BaselineRecipe) -> tuple[float, ...]:
    """Times at which a given part may begin or end, seconds.

    Raises:
        UserError: The run has no checkpoint.
    """
    return network_of(newest(run, recipe)).slice_bounds_s


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
        recipe: How to sample; with ``sample.seconds``, clips of several windows.
        numbers: Which clips.
        device: Where to compute.
        bar: Advanced by one per clip.
        given: What each clip is given, for the recipe's condition; None samples picture and sound together.

    Raises:
        UserError: The run has no checkpoint, or what is given does not suit the condition.
    """
    found, condition = newest(run, recipe), recipe.sample.condition
    if condition is not None:
        _require_clean_tokens(condition)
    pair, statistics = from_checkpoint(found, recipe, device)
    limits = threshold_limits(statistics, recipe, found)
    model = load(found).to(device, network_type(recipe.sample))
    layout = _layout(recipe, model.config, pair)
    windows = layout.windows if layout else 1
    for chunk, clips in batches(numbers, recipe.sample.batch_size, given):
        maker = Maker(
            model,
            model.config,
            pair,
            statistics,
            linear_schedule(found.config["timesteps"]),
            solver_options(recipe.sample),
            limits,
            device,
            functools.partial(bar.advance, len(chunk) / recipe.sample.steps / windows),
        )
        video, audio = maker.clips(chunk, recipe.sample.seed, condition, clips, layout)
        sources: list[Any] = [clip.source for clip in clips] or [{}] * len(chunk)
        rates = pair.window.fps, pair.window.sample_rate_hz
        for number, picture, sound, source in zip(chunk, video, audio, sources, strict=True):
            yield GeneratedClip(clip_name(number), picture, rates[0], sound, rates[1], source)


def _layout(recipe: BaselineRecipe, config: AVDiTConfig, pair: CodecPair) -> Plan | None:
    """How a long clip is put together; None for clips of one window."""
    seconds, condition = recipe.sample.seconds, recipe.sample.condition
    if seconds is None:
        return None
    if condition is not None and condition.task != "continue":
        raise UserError(f"--seconds goes with task continue or none; task {condition.task} is of one window")
    return plan(seconds, config, pair.window.sample_rate_hz)


def _require_clean_tokens(condition: ConditionRecipe) -> None:
    """Refuse what belongs to samplers that put a noisy part in place, or pull towards it."""
    if condition.method != "replace" or condition.scale is not None or condition.noise != "fresh":
        raise UserError(
            "avdit is given its part as clean tokens: leave out --method, --scale and --noise; how strongly it follows "
            "what is given is --guidance"
        )
