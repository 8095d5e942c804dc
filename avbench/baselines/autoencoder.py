"""Our own autoencoder of pictures and sound: the codec of the latent baselines where no published one is to be used.

Train: reconstruction of windows of a dataset. Sample: the windows of the dataset after the codec and back, so that
scoring them shows the floor: no model behind this codec can score better.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.baselines._base import GeneratedClip, clip_name, grey_levels, run_config
from avbench.baselines._reconstruction import picture_error, sound_error
from avbench.codecs import _trained
from avbench.codecs._base import AudioCodec, VideoCodec
from avbench.codecs._trained import BASELINE
from avbench.dataset import find_dataset, load_index
from avbench.diffusion.noise_schedule import PairLoss
from avbench.errors import UserError
from avbench.models.autoencoders import PRESETS, Autoencoder, AutoencoderConfig
from avbench.progress import SILENT, Bar, Reporter
from avbench.recipe_baseline import BaselineRecipe
from avbench.registry import unknown
from avbench.schema import Batch
from avbench.training import processes
from avbench.training.loader import WindowLoader, WindowSpec, order
from avbench.training.loop import TrainResult, train as run_training
from avbench.training.prefetch import Prefetcher
from avbench.training.preview import preview_recipe
from avbench.training.randomness import StepGenerator

SPLITS = ("test", "validation", "train")
"""Where windows are taken from to be reconstructed, in this order: first those that were not trained on."""


def preset(name: str) -> AutoencoderConfig:
    """Configuration of a preset.

    Raises:
        UserError: No such preset.
    """
    if name not in PRESETS:
        raise unknown("preset", name, sorted(PRESETS))
    return PRESETS[name]


def window(config: AutoencoderConfig) -> WindowSpec:
    """The window of a training view that a network of this configuration takes."""
    return WindowSpec(config.video.frames, config.fps, config.video.size, config.samples, config.audio.sample_rate_hz)


def step_loss(
    model: torch.nn.Module, batch: Batch, generator: StepGenerator, *, video_kl: float, audio_kl: float
) -> PairLoss:
    """Encode and decode a part of a batch and measure what was lost, and how far the latents are from normal.

    Args:
        model: An `Autoencoder`.
        batch: uint8 video, float32 audio.
        generator: The generators of its samples draw from the posterior.
        video_kl: Weight of the divergence of the picture's latents.
        audio_kl: Weight of the divergence of the sound's latents.
    """
    device = next(model.parameters()).device
    video = batch.video.to(device, non_blocking=True).float() / 127.5 - 1
    audio = batch.audio.to(device, non_blocking=True)
    made = model(video, audio, generator.samples)
    with torch.autocast(device.type, enabled=False):
        return PairLoss(
            picture_error(made.video, video) + video_kl * made.video_kl,
            sound_error(made.audio, audio) + audio_kl * made.audio_kl,
        )


def train(
    dataset: Path, recipe: BaselineRecipe, run: Path, *, device: torch.device, reporter: Reporter = SILENT
) -> TrainResult:
    """Train on the ``train`` split of ``dataset``; see `avbench.training.loop.train`.

    Raises:
        UserError: The recipe has a gain for the sound: latents are normalised by whoever trains on them.
    """
    training, config = recipe.training, preset(recipe.size)
    if training.audio_gain != 1:
        raise UserError(f"train.audio_gain = {training.audio_gain:g}: {BASELINE} takes sound as it is; leave it out")
    loader = WindowLoader(dataset, "train", window(config), seed=training.seed, flip=training.flip)
    torch.manual_seed(training.seed)
    share = functools.partial(loader.batch, rank=processes.rank(), world=processes.world())
    shown = preview_recipe(recipe).model_copy(update={"dataset": str(dataset)})
    with Prefetcher(share, pin=device.type == "cuda") as batches:
        return run_training(
            Autoencoder(config),
            batches,
            functools.partial(step_loss, video_kl=config.video_kl, audio_kl=config.audio_kl),
            training,
            run,
            config={**run_config(recipe, dataset), "network": config.model_dump(mode="json")},
            device=device,
            reporter=reporter,
            preview=lambda: sample(run, shown, list(range(shown.sample.n)), device=device, bar=Bar()),
        )


def sample(
    run: Path, recipe: BaselineRecipe, numbers: list[int], *, device: torch.device, bar: Bar
) -> Iterator[GeneratedClip]:
    """Put windows of ``recipe.dataset`` through the newest checkpoint of ``run`` and back, one at a time.

    Args:
        run: Folder of the run.
        recipe: Names the dataset.
        numbers: Which windows, see `Windows`.
        device: Where to compute.
        bar: Advanced by one per clip.

    Raises:
        UserError: The run has no checkpoint, or the dataset has fewer windows.
    """
    video_codec, audio_codec = (_trained.load(run, modality).to(device) for modality in ("video", "audio"))
    assert isinstance(video_codec, VideoCodec)
    assert isinstance(audio_codec, AudioCodec)
    config = _trained.network_of(_trained.newest(run))
    windows = Windows(find_dataset(recipe.dataset), window(config), recipe.sample.seed)
    for number in numbers:
        pixels, sound, name = windows.read(number)
        video = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        video = video_codec.decode(video_codec.encode(video[None]))[0]
        audio = audio_codec.decode(audio_codec.encode(torch.from_numpy(sound)[None, None]), len(sound))[0]
        bar.advance(1)
        source = {"window": name}
        yield GeneratedClip(
            clip_name(number), grey_levels(video), config.fps, audio.cpu().numpy(), audio_codec.sample_rate_hz, source
        )


class Windows:
    """The windows of a dataset that do not overlap: one split after another, each in an order drawn from the seed.

    Args:
        dataset: Folder of a finished dataset.
        spec: What a window holds.
        seed: Window ``i`` depends on it and on ``i`` alone.

    Raises:
        UserError: The dataset's training view does not suit the window.
    """

    def __init__(self, dataset: Path, spec: WindowSpec, seed: int) -> None:
        self._dataset = dataset
        held = set(load_index(dataset)["split"])
        self._places: list[tuple[WindowLoader, int, int]] = []
        for split in SPLITS:
            if split in held:
                loader = WindowLoader(dataset, split, spec, seed=seed)
                tiles = loader.tiles()
                self._places += [(loader, *tiles[place]) for place in order(seed, 0, len(tiles))]

    def read(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], str]:
        """Window ``number``: video uint8 (T, S, S, 3), audio float32 (L,), and ``<clip_id>@<start_frame>``.

        Raises:
            UserError: There are fewer windows, or a shard is damaged.
        """
        if number >= len(self._places):
            raise UserError(
                f"{self._dataset}: holds {len(self._places)} windows that do not overlap and more are asked for; give "
                f"--n {len(self._places)}"
            )
        loader, row, start = self._places[number]
        return *loader.window_at(row, start), f"{loader.rows['clip_id'].iloc[row]}@{start}"
