"""MM-Diffusion's super-resolution (arXiv 2212.09478): enlarges the frames of clips four times, their sound as it was.

Train: single frames of a dataset, made small and worse. Sample: the clips of a folder, such as the samples of a base
model, each from one start noise for all its frames, so that what is made up does not flicker from frame to frame.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avbench.baselines._base import GeneratedClip, clip_name, grey_levels, network_type, newest, run_config
from avbench.baselines._small_clips import SmallClips
from avbench.diffusion.conditioning import GivenClip
from avbench.diffusion.learned_variance import hybrid_loss
from avbench.diffusion.noise_schedule import TRAIN_TIMESTEPS, PairLoss, linear_schedule, noise_pair
from avbench.diffusion.pictures import sample_pictures
from avbench.diffusion.sampling import sample_generator
from avbench.errors import UserError
from avbench.models.superres import PRESETS, SuperRes, SuperResConfig
from avbench.progress import SILENT, Bar, Reporter
from avbench.recipe import parse
from avbench.recipe_baseline import BaselineRecipe
from avbench.registry import unknown
from avbench.schema import Batch
from avbench.training import checkpoint, processes
from avbench.training.degrade import degrade
from avbench.training.frames import FrameLoader
from avbench.training.loop import TrainResult, train as run_training
from avbench.training.prefetch import Prefetcher
from avbench.training.randomness import StepGenerator

NAME = "mmdiffusion-sr"


def preset(name: str) -> SuperResConfig:
    """Configuration of a preset.

    Raises:
        UserError: No such preset.
    """
    if name not in PRESETS:
        raise unknown("preset", name, sorted(PRESETS))
    return PRESETS[name]


def step_loss(model: torch.nn.Module, batch: Batch, generator: StepGenerator, *, small_size: int) -> PairLoss:
    """Noise a part of a batch of frames and measure how well noise and variance are predicted from small ones.

    Args:
        model: The network.
        batch: uint8 windows of one frame (B, 1, 3, S, S), without sound.
        generator: The generators of its samples draw timestep, noise and what makes the small frame worse.
        small_size: Size of the small frames, pixels.

    Returns:
        The hybrid loss as that of the video; that of the audio is zero.
    """
    device, schedule = next(model.parameters()).device, linear_schedule()
    clean = batch.video.to(device, non_blocking=True).float() / 127.5 - 1
    noisy = noise_pair(schedule, clean, batch.audio.to(device), generator.samples)
    low_res = degrade(batch.video[:, 0], small_size, generator.samples).to(device)
    frames, noise = noisy.video[:, 0], noisy.video_noise[:, 0]
    output = model(frames, noisy.timesteps, low_res)
    loss = hybrid_loss(schedule, output, noise, clean[:, 0], frames, noisy.timesteps)
    return PairLoss(loss.each, torch.zeros_like(loss.each), loss.level)


def train(
    dataset: Path, recipe: BaselineRecipe, run: Path, *, device: torch.device, reporter: Reporter = SILENT
) -> TrainResult:
    """Train on frames of the ``train`` split of ``dataset``; see `avbench.training.loop.train`.

    Raises:
        UserError: The recipe has a gain for the sound, which this does not learn.
    """
    config = preset(recipe.size)
    if recipe.training.audio_gain != 1:
        raise UserError(f"train.audio_gain = {recipe.training.audio_gain:g}: {NAME} learns no sound; leave it out")
    loader = FrameLoader(dataset, "train", config.large_size, seed=recipe.training.seed, flip=recipe.training.flip)
    if loader.source == "archive":
        reporter.note(f"frames     decoded from the archive clips: the view is not {config.large_size} px")
    torch.manual_seed(recipe.training.seed)
    share = functools.partial(loader.batch, rank=processes.rank(), world=processes.world())
    with Prefetcher(share, pin=device.type == "cuda", threads=4, ahead=4) as batches:
        return run_training(
            SuperRes(config, activation_checkpointing=recipe.training.activation_checkpointing),
            batches,
            functools.partial(step_loss, small_size=config.small_size),
            recipe.training,
            run,
            config={**run_config(recipe, dataset), **network_card(config)},
            device=device,
            reporter=reporter,
        )


def network_card(config: SuperResConfig) -> dict[str, Any]:
    """What a checkpoint says of its network: the sizes, and the steps of the linear noise schedule of its training."""
    return {"network": config.model_dump(mode="json"), "timesteps": TRAIN_TIMESTEPS}


def network_of(found: checkpoint.Checkpoint) -> SuperResConfig:
    """Sizes of the network in a checkpoint.

    Raises:
        UserError: It holds another baseline, or its sizes contradict each other.
    """
    held = found.config.get("baseline")
    if held != NAME:
        raise UserError(f"{found.path}: holds {held}, not {NAME}; name that baseline, or give another --out")
    return parse(found.config["network"], SuperResConfig, str(found.path))


def load(found: checkpoint.Checkpoint) -> SuperRes:
    """The network of a checkpoint, with its averaged weights, ready to sample.

    Raises:
        UserError: See `network_of`.
    """
    model = SuperRes(network_of(found))
    model.load_state_dict(found.weights("ema"))
    return model.eval().requires_grad_(False)


def clips_to_enlarge(run: Path, recipe: BaselineRecipe) -> SmallClips:
    """The clips of ``recipe.sample.enlarge`` at the size that the network takes; sample ``i`` is the i-th by name.

    Raises:
        UserError: No checkpoint, no folder, or fewer clips than are asked for.
    """
    options = recipe.sample
    if options.enlarge is None:
        raise UserError(f"{NAME} enlarges the clips of a folder; name one with --enlarge")
    found = SmallClips(Path(options.enlarge), network_of(newest(run, recipe)).small_size)
    if len(found) < options.n:
        raise UserError(
            f"{options.enlarge}: holds {len(found)} clips and {options.n} are asked for; give --n {len(found)}, or "
            "sample more of them"
        )
    return found


def sample(
    run: Path,
    recipe: BaselineRecipe,
    numbers: list[int],
    *,
    device: torch.device,
    bar: Bar,
    given: Callable[[int], GivenClip] | None = None,
) -> Iterator[GeneratedClip]:
    """Enlarge clips with the newest checkpoint of ``run``. ``recipe.sample.batch_size`` counts frames here.

    Raises:
        UserError: No checkpoint, nothing to enlarge, or a solver that is not for this.
    """
    found = newest(run, recipe)
    model = load(found).to(device, network_type(recipe.sample))
    clip_of = given or clips_to_enlarge(run, recipe).clip
    for number in numbers:
        yield enlarge(
            model, clip_of(number), number, recipe, found.config.get("timesteps", TRAIN_TIMESTEPS), device, bar
        )


def enlarge(
    model: SuperRes,
    clip: GivenClip,
    number: int,
    recipe: BaselineRecipe,
    timesteps: int,
    device: torch.device,
    bar: Bar,
) -> GeneratedClip:
    """Enlarge one clip, some frames at a time; all of them start from the same noise.

    Args:
        model: The network, on ``device``.
        clip: What to enlarge, see `SmallClips.clip`.
        number: Of the clip; it decides the start noise.
        recipe: How to sample.
        timesteps: Steps of the noise schedule in training.
        device: Where to compute.
        bar: Advanced by one clip in all.

    Raises:
        UserError: A solver that is not for this.
    """
    assert clip.video is not None
    assert clip.audio is not None
    options, size = recipe.sample, model.config.large_size
    if options.scheduler not in ("ddim", "ddpm") or options.spacing != "leading":
        raise UserError(
            f"scheduler = {options.scheduler!r}, spacing = {options.spacing!r}: {NAME} is sampled with 'ddim' or "
            "'ddpm' and 'leading'"
        )
    if options.start_noise != "drawn":
        raise UserError(f"start_noise = {options.start_noise!r}: {NAME} takes 'drawn'; leave it out")
    start = torch.randn(3, size, size, generator=sample_generator(options.seed, number))
    low_res = torch.from_numpy(clip.video).permute(0, 3, 1, 2).float() / 127.5 - 1
    made = []
    for first in range(0, len(low_res), options.batch_size):
        part = low_res[first : first + options.batch_size].to(device)
        steps = sample_pictures(
            functools.partial(_denoise, model, part),
            start.expand(len(part), -1, -1, -1).to(device),
            schedule=linear_schedule(timesteps),
            scheduler=options.scheduler,
            steps=options.steps,
            generators=[_frame_generator(options.seed, number, first + place) for place in range(len(part))],
        )
        for pictures in steps:
            bar.advance(len(part) / len(low_res) / options.steps)
            if pictures is not None:
                made.append(grey_levels(pictures))
    video = np.concatenate(made)
    fps, rate = clip.source["fps"], clip.source["sample_rate_hz"]
    return GeneratedClip(clip_name(number), video, fps, clip.audio, rate, clip.source)


def _denoise(model: SuperRes, low_res: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    output: torch.Tensor = model(noisy, timesteps, low_res)
    return output


def _frame_generator(seed: int, number: int, frame: int) -> torch.Generator:
    """Noise of the steps of one frame, whatever frames are computed beside it."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, number, frame]).generate_state(1)[0]))
