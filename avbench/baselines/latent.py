"""Joint diffusion in the latents of two codecs (arXiv 2603.16093): one network denoises picture and sound together.

Train: windows are encoded once and normalised; noise and loss live among the latents. Sample: a diffusers solver, then
latents are brought back to the codecs' scale and decoded. The network is a coupled U-Net or a transformer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avbench.baselines._avdit_given import Given, given_part, hidden_audio, hidden_video
from avbench.baselines._avdit_windows import put_in_place
from avbench.baselines._base import GeneratedClip, batches, clip_name, network_type, newest, run_config, solver_options
from avbench.baselines._latent_run import (
    codec_sizes,
    encoded,
    from_checkpoint,
    generated,
    latent_card,
    load_pair,
    reconstructions,
    threshold_limits,
)
from avbench.diffusion.conditioning import Conditioning, GivenClip, Known
from avbench.diffusion.noise_schedule import TRAIN_TIMESTEPS, PairLoss, linear_schedule, noise_pair, pair_loss
from avbench.diffusion.sampling import sample_pairs
from avbench.models.avdit import AVDiTConfig
from avbench.models.latent import Denoiser, build, rebuild
from avbench.progress import SILENT, Bar, Reporter
from avbench.recipe_baseline import BaselineRecipe, ConditionRecipe
from avbench.schema import Batch
from avbench.training import checkpoint, processes
from avbench.training.latent_space import CodecPair, LatentStatistics, decode_pair
from avbench.training.loader import WindowSpec
from avbench.training.loop import TrainResult, train as run_training
from avbench.training.prefetch import Prefetcher
from avbench.training.preview import preview_recipe
from avbench.training.randomness import StepGenerator

__all__ = ["clip_window", "reconstructions", "sample", "train"]


def step_loss(model: torch.nn.Module, batch: Batch, generator: StepGenerator) -> PairLoss:
    """Noise a part of a batch of latents and measure how well its noise is predicted in both modalities.

    Args:
        model: The denoiser.
        batch: Normalised latents: video float32 (B, N, C, h, w), audio float32 (B, M, C).
        generator: The generators of its samples draw timestep and noise.
    """
    device = next(model.parameters()).device
    video = batch.video.to(device, non_blocking=True)
    audio = batch.audio.to(device, non_blocking=True).transpose(1, 2)
    noisy = noise_pair(linear_schedule(), video, audio, generator.samples)
    video_noise, audio_noise = model(noisy.video, noisy.audio, noisy.timesteps, generator=generator)
    return pair_loss(video_noise, audio_noise, noisy)


def train(
    dataset: Path, recipe: BaselineRecipe, run: Path, *, device: torch.device, reporter: Reporter = SILENT
) -> TrainResult:
    """Encode the ``train`` split of ``dataset`` unless that is done, and train; see `avbench.training.loop.train`.

    Raises:
        UserError: Codecs, clips and network do not suit each other.
    """
    pair = load_pair(recipe, device, reporter)
    torch.manual_seed(recipe.training.seed)
    model = build(recipe.size, codec_sizes(pair), activation_checkpointing=recipe.training.activation_checkpointing)
    loader = encoded(dataset, recipe, pair, reporter)
    share = functools.partial(loader.batch, rank=processes.rank(), world=processes.world())
    shown = preview_recipe(recipe)
    with Prefetcher(share, pin=device.type == "cuda") as batches:
        return run_training(
            model,
            batches,
            step_loss,
            recipe.training,
            run,
            config={
                **run_config(recipe, dataset),
                "network": model.card,
                "timesteps": TRAIN_TIMESTEPS,
                "latents": latent_card(pair, loader.statistics),
            },
            device=device,
            reporter=reporter,
            preview=lambda: sample(run, shown, list(range(shown.sample.n)), device=device, bar=Bar()),
        )


def load(found: checkpoint.Checkpoint) -> Denoiser:
    """The denoiser of a checkpoint, with its averaged weights, ready to sample."""
    model = rebuild(found.config["network"], str(found.path))
    model.load_state_dict(found.weights("ema"))
    return model.eval().requires_grad_(False)


def clip_window(run: Path, recipe: BaselineRecipe) -> WindowSpec:
    """What the newest checkpoint of ``run`` makes, and so must be given.

    Raises:
        UserError: The run has no checkpoint of this baseline.
    """
    return WindowSpec(**newest(run, recipe).config["latents"]["window"])


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
        UserError: The run has no checkpoint, its codecs are gone, or what is given does not suit the condition.
    """
    found = newest(run, recipe)
    pair, statistics = from_checkpoint(found, recipe, device)
    model = load(found).to(device, network_type(recipe.sample))
    condition, limits = recipe.sample.condition, threshold_limits(statistics, recipe, found)
    for chunk, clips in batches(numbers, recipe.sample.batch_size, given):
        part = _given_part(condition, pair) if condition and clips else None
        steps = sample_pairs(
            functools.partial(_denoise, model),
            chunk,
            video_shape=pair.shape.video,
            audio_shape=pair.shape.audio[::-1],
            schedule=linear_schedule(found.config["timesteps"]),
            options=solver_options(recipe.sample),
            seed=recipe.sample.seed,
            device=device,
            conditioning=_conditioning(condition, part, clips, pair, statistics) if condition and part else None,
            is_bounded=False,
            limits=limits,
        )
        for result in steps:
            bar.advance(len(chunk) / recipe.sample.steps)
            if result is not None:
                made = decode_pair(statistics, pair, result[0], result[1].transpose(1, 2))
                sources = [dict(clip.source) for clip in clips] or None
                finished = generated([clip_name(number) for number in chunk], pair, *made, sources)
                for clip, whole in zip(finished, clips, strict=False):
                    if part is not None:
                        put_in_place(clip.video, clip.audio, whole, part, clip.sample_rate_hz)
                yield from finished


def _denoise(model: Denoiser, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
    video, audio, timesteps, _ = args
    noises: tuple[torch.Tensor, torch.Tensor] = model(video, audio, timesteps)
    return noises


def _given_part(condition: ConditionRecipe, pair: CodecPair) -> Given:
    """Which latent frames, frames and samples a condition gives; its times lie on the grid of the latent frames."""
    return given_part(condition.task, condition.keep, _times(pair), pair.window.samples)


def _times(pair: CodecPair) -> AVDiTConfig:
    """When each latent frame begins, and which of them each latent of the sound belongs to."""
    return AVDiTConfig().fitted(**codec_sizes(pair))


def _conditioning(
    condition: ConditionRecipe,
    part: Given,
    clips: Sequence[GivenClip],
    pair: CodecPair,
    statistics: LatentStatistics,
) -> Conditioning:
    """What a batch is given, as normalised latents; the codecs see nothing of a clip that is not given."""
    video, audio = (torch.zeros(len(clips), *shape) for shape in pair.shape)
    if part.frames.any():
        pictures = torch.from_numpy(np.stack([clip.video for clip in clips if clip.video is not None]))
        video = pair.encode_video(hidden_video(pictures.permute(0, 1, 4, 2, 3), part.frames))
    if part.samples.any():
        sounds = torch.from_numpy(np.stack([clip.audio for clip in clips if clip.audio is not None]))
        audio = pair.encode_audio(hidden_audio(sounds, part.samples))
    video, audio = statistics.normalise(video, audio)
    has_audio = part.slices[1][list(_times(pair).audio_slices)]
    known = Known(video, audio.transpose(1, 2), part.slices[0].view(-1, 1, 1, 1), has_audio)
    scale = 1.0 if condition.scale is None else condition.scale
    return Conditioning(known, condition.method, scale, condition.noise)
