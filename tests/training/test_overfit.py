"""A tiny MM-Diffusion trained by the real loop on four rendered clips takes noise off these clips.

Sampling them from noise alone takes far more steps than a test may (after a few hundred, the samples are not yet any of
the clips). So the clips are noised to a fourth of the schedule, where noise and clip are about equally strong, and
the network's estimate of what lies under the noise is compared with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from avbench import media
from avbench.baselines import mmdiffusion
from avbench.curate import synthetic
from avbench.diffusion.noise_schedule import linear_schedule
from avbench.models.mmdiffusion import PRESETS, MMDiffusion, MMDiffusionConfig
from avbench.recipe_baseline import BaselineRecipe
from avbench.training import checkpoint
from tests.training.rendered_sets import write_clips

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
FRAMES, SIZE, RATE_HZ = 4, 16, 2000
FPS = 10.0
SAMPLES = round(FRAMES / FPS * RATE_HZ)
GAIN = 2.0
STEPS = 100
TIMESTEP = 250
_KEPT = float(linear_schedule().alphas_cumprod[TIMESTEP])
ALPHA, SIGMA = _KEPT**0.5, (1 - _KEPT) ** 0.5
TINY = MMDiffusionConfig(
    video_size=(FRAMES, 3, SIZE, SIZE),
    audio_size=(1, SAMPLES),
    model_channels=16,
    channel_mult=(1, 1, 2),
    num_res_blocks=1,
    cross_attention_resolutions=(4,),
    windows=(4,),
    cross_head_channels=16,
    video_attention_resolutions=(4,),
    attention_heads=2,
    norm_groups=8,
    dropout=0.0,
    fps=FPS,
    sample_rate_hz=RATE_HZ,
)
RECIPE = BaselineRecipe.model_validate(
    {
        "baseline": "mmdiffusion",
        "preset": "overfit",
        "protocol": "demo-v1",
        "train": {
            "steps": STEPS, "batch_size": 8, "learning_rate": 4e-3, "warmup_steps": 20, "ema_decay": 0.95,
            "checkpoint_every": STEPS // 4, "keep_last": 4, "audio_gain": GAIN,
        },
        "sample": {"n": 4, "steps": 20},
    }
)  # fmt: skip


class Clips(NamedTuple):
    """Clips as the network sees them but for the gain: video (B, T, 3, S, S) in [-1, 1], audio (B, 1, L)."""

    video: torch.Tensor
    audio: torch.Tensor


def rendered(folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The clip around the first impact of a rendered source; its sound reaches 0.9."""
    query = {"seed": str(seed), "seconds": "2", "width": "64", "height": "64", "bodies": "1"}
    path = folder / f"{seed}.mp4"
    synthetic.render(query, path)
    start_s = round(max(0.0, synthetic.event_times_s(query)[0] - 0.2) * 10) / 10
    video = media.decode_video(path, fps=FPS, size=(SIZE, SIZE), start_s=start_s, n_frames=FRAMES)
    audio = media.decode_audio(path, sample_rate_hz=RATE_HZ, mono=True, start_s=start_s, n_samples=SAMPLES)[0]
    return video, audio * (0.9 / np.abs(audio).max())


def tensors(clips: list[tuple[np.ndarray, np.ndarray]]) -> Clips:
    video = torch.from_numpy(np.stack([video for video, _ in clips])).permute(0, 1, 4, 2, 3)
    return Clips(video / 127.5 - 1, torch.from_numpy(np.stack([audio for _, audio in clips]))[:, None])


class Overfit(NamedTuple):
    """Clips, a network trained on them, and the same network after a fourth of the training."""

    clips: Clips
    trained: MMDiffusion
    early: MMDiffusion
    run: Path


@pytest.fixture(scope="module")
def overfit(tmp_path_factory: pytest.TempPathFactory) -> Overfit:
    folder = tmp_path_factory.mktemp("overfit")
    clips = [rendered(folder, seed) for seed in (1, 3, 4, 8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, RECIPE.preset, TINY)
        data = write_clips(folder / "data", clips, sample_rate_hz=RATE_HZ)
        mmdiffusion.train(data, RECIPE, folder / "run", device=CPU)
    saved = folder / "run" / "checkpoints"
    early, trained = (mmdiffusion.load(checkpoint.read(saved / f"step-{step:08d}")) for step in (STEPS // 4, STEPS))
    return Overfit(tensors(clips), trained, early, folder / "run")


def noisy(clips: Clips, seed: int) -> tuple[Clips, Clips]:
    """The clips at `TIMESTEP` in the network's scale, and the noise in them."""
    generator = torch.Generator().manual_seed(seed)
    noise = Clips(*(torch.randn(x.shape, generator=generator) for x in clips))
    return Clips(ALPHA * clips.video + SIGMA * noise.video, ALPHA * GAIN * clips.audio + SIGMA * noise.audio), noise


def estimate(model: MMDiffusion, given: Clips) -> Clips:
    """What the network takes the clips for."""
    steps = torch.full((len(given.video),), TIMESTEP)
    with torch.no_grad():
        noise = model.eval()(*given, steps, [0] * len(model.windows))
    return clean(given, Clips(*noise))


def clean(given: Clips, noise: Clips) -> Clips:
    """Noisy clips without this noise, in the range of clips."""
    video, audio = (given.video - SIGMA * noise.video) / ALPHA, (given.audio - SIGMA * noise.audio) / ALPHA / GAIN
    return Clips(video.clamp(-1, 1), audio.clamp(-1, 1))


def psnr_db(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of every clip of ``a`` against every clip of ``b``, (A, B); pictures in [-1, 1]."""
    error = (a[:, None] - b[None]).square().flatten(2).mean(2)
    return 10 * torch.log10(4 / error.clamp(min=1e-9))


def mel_distance_db(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of log-mel spectrograms, dB, of every clip of ``a`` against every clip of ``b``."""
    mel = MelSpectrogram(RATE_HZ, 128, hop_length=32, n_mels=24, f_min=50.0)
    a, b = (10 * torch.log10(mel(x[:, 0]) + 1e-1) for x in (a, b))
    return (a[:, None] - b[None]).abs().flatten(2).mean(2)


def distances(overfit: Overfit, model: MMDiffusion | None) -> tuple[torch.Tensor, torch.Tensor]:
    """PSNR of pictures and mel distance of sounds, of what is found against every clip; means over eight noises.

    Without a model it is the noisy clips themselves. One noise alone may bury what tells two sounds apart.
    """
    clips = overfit.clips
    seen = []
    for seed in range(8):
        given, _ = noisy(clips, seed)
        found = clean(given, Clips(torch.zeros(()), torch.zeros(()))) if model is None else estimate(model, given)
        seen.append((psnr_db(found.video, clips.video), mel_distance_db(found.audio, clips.audio)))
    pictures, sounds = (torch.stack(each).mean(0) for each in zip(*seen, strict=True))
    return pictures, sounds


def test_noise_is_taken_off_the_four_clips_it_was_trained_on(overfit: Overfit) -> None:
    (noisy_pictures, noisy_sounds), (early_pictures, early_sounds), (pictures, sounds) = (
        distances(overfit, model) for model in (None, overfit.early, overfit.trained)
    )
    assert pictures.argmax(1).tolist() == sounds.argmin(1).tolist() == [0, 1, 2, 3]
    figures = [
        (a.diag().tolist(), b.diag().tolist())
        for a, b in ((noisy_pictures, noisy_sounds), (early_pictures, early_sounds), (pictures, sounds))
    ]
    assert (pictures.diag() > noisy_pictures.diag() + 6).all(), figures
    assert (sounds.diag() < 0.6 * noisy_sounds.diag()).all(), figures
    assert pictures.diag().mean() > early_pictures.diag().mean() + 1, figures
    assert sounds.diag().mean() < early_sounds.diag().mean(), figures
