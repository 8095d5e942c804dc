"""Mirrored pictures and the gain of the sound: what they change, what they leave, and where they are undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from avbench.baselines import mmdiffusion, mmdiffusion_sr
from avbench.diffusion.conditioning import Conditioning, Known
from avbench.diffusion.noise_schedule import linear_schedule, noise_pair
from avbench.diffusion.sampling import SolverOptions, sample_pairs
from avbench.diffusion.solvers import Threshold
from avbench.errors import UserError
from avbench.models.mmdiffusion import PRESETS
from avbench.progress import Bar
from avbench.recipe_baseline import BaselineRecipe, TrainRecipe
from avbench.training import checkpoint
from avbench.training.frames import FrameLoader
from avbench.training.loader import WindowLoader, WindowSpec
from avbench.training.randomness import step_generator
from avbench.training.stream import WindowStream
from tests.baselines.test_mmdiffusion_run import CPU, TOY, recipe
from tests.training.rendered_sets import write_clips

WINDOW = WindowSpec(frames=16, fps=10, size=8, samples=25600, sample_rate_hz=16000)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of noise, of which no picture is its own mirror image."""
    rng = np.random.default_rng(0)
    clips = [
        (rng.integers(0, 256, (20, 8, 8, 3), np.uint8), rng.normal(0, 0.1, 32000).astype(np.float32)) for _ in range(3)
    ]
    return write_clips(tmp_path_factory.mktemp("noise") / "data", clips)


def loader(dataset: Path, flip: float) -> WindowLoader:
    return WindowLoader(dataset, "train", WINDOW, seed=3, flip=flip)


def test_a_mirrored_window_is_the_window_left_for_right_with_the_same_sound(dataset: Path) -> None:
    plain, mirrored = loader(dataset, 0.0).batch(0, 6), loader(dataset, 1.0).batch(0, 6)
    assert torch.equal(mirrored.video, plain.video.flip(-1))
    assert not torch.equal(mirrored.video, plain.video)
    assert torch.equal(mirrored.audio, plain.audio)
    assert mirrored.ids == plain.ids


def test_about_half_are_mirrored_whatever_the_batch_the_rank_and_the_resume(dataset: Path) -> None:
    half, plain = loader(dataset, 0.5), loader(dataset, 0.0).batch(0, 96)
    whole = half.batch(0, 96)
    is_plain = [torch.equal(a, b) for a, b in zip(whole.video, plain.video, strict=True)]
    is_mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(whole.video, plain.video, strict=True)]
    assert all(a != b for a, b in zip(is_plain, is_mirrored, strict=True))
    assert 30 < sum(is_mirrored) < 66  # 3.7 standard deviations
    parts = [half.batch(2, 24, rank=rank, world=4) for rank in range(4)]
    assert torch.equal(torch.cat([part.video for part in parts]), whole.video[48:72])
    assert torch.equal(next(iter(WindowStream(half, 24, start=2))).video, whole.video[48:72])
    assert not torch.equal(half.batch(1, 48).video, loader(dataset, 0.5).batch(0, 48).video)


def test_frames_are_mirrored_as_windows_are(dataset: Path) -> None:
    plain, mirrored = (FrameLoader(dataset, "train", 8, seed=3, flip=flip).batch(0, 4) for flip in (0.0, 1.0))
    assert torch.equal(mirrored.video, plain.video.flip(-1))


class _Seen(torch.nn.Module):
    """Keeps what it is given and predicts no noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(
        self, video: torch.Tensor, audio: torch.Tensor, timesteps: torch.Tensor, *, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen = video, audio
        return video * self.weight, audio * self.weight


def test_the_network_sees_the_sound_times_the_gain_and_the_picture_as_it_was(dataset: Path) -> None:
    batch, seen = loader(dataset, 0.0).batch(0, 2), []
    for gain, sound in ((1.0, batch.audio), (4.0, batch.audio), (1.0, batch.audio * 4)):
        model = _Seen()
        part = type(batch)(batch.video, sound, batch.ids)
        mmdiffusion.step_loss(model, part, step_generator(0, 0, 0, 2), audio_gain=gain)
        seen.append(model.seen)
    noisy = noise_pair(linear_schedule(), batch.video / 127.5 - 1, batch.audio, step_generator(0, 0, 0, 2).samples)
    assert torch.equal(seen[0][1], noisy.audio)
    assert torch.equal(seen[1][0], seen[0][0])
    assert torch.equal(seen[1][1], seen[2][1])
    assert not torch.equal(seen[1][1], seen[0][1])


def test_the_defaults_are_no_part_of_a_runs_configuration_so_that_older_runs_go_on() -> None:
    plain = TrainRecipe(steps=1, batch_size=1)
    assert not {"flip", "audio_gain"} & plain.defining().keys()
    told = plain.model_copy(update={"flip": 0.5, "audio_gain": 4.0}).defining()
    assert (told["flip"], told["audio_gain"]) == (0.5, 4.0)


@pytest.mark.parametrize("fields", [{"flip": 1.5}, {"flip": -0.1}, {"audio_gain": 0.0}, {"audio_gain": float("inf")}])
def test_values_out_of_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        TrainRecipe(steps=1, batch_size=1, **fields)


def test_super_resolution_takes_no_gain(dataset: Path, tmp_path: Path) -> None:
    wrong = recipe().model_copy(update={"baseline": "mmdiffusion-sr", "preset": "tiny"})
    wrong = wrong.model_copy(update={"train": wrong.train.model_copy(update={"audio_gain": 2.0})})
    with pytest.raises(UserError, match="audio_gain = 2: mmdiffusion-sr learns no sound"):
        mmdiffusion_sr.train(dataset, wrong, tmp_path, device=CPU)


def draw(
    gain: float, conditioning: Conditioning | None = None, threshold: Threshold | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples of a denoiser that finds the sound 0.6 in the scale of the gain, beside a little of the noisy clip."""

    def denoise(
        video: torch.Tensor, audio: torch.Tensor, t: torch.Tensor, _: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        kept = linear_schedule().alphas_cumprod[t[0]]
        alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
        found = 0.6 * gain + 0.01 * gain * torch.tanh(video.mean())
        return (video - alpha * 0.1) / sigma, (audio - alpha * found) / sigma

    *_, last = sample_pairs(
        denoise, [0, 1], video_shape=(2, 3, 8, 8), audio_shape=(1, 512), schedule=linear_schedule(),
        options=SolverOptions("unipc", 8, audio_threshold=threshold), seed=0, device=CPU, conditioning=conditioning,
        audio_gain=gain,
    )  # fmt: skip
    assert last is not None
    return last


@pytest.mark.parametrize("threshold", ["none", "clip", "dynamic"])
@pytest.mark.parametrize("gain", [3.0, 0.25])
def test_a_network_of_another_gain_makes_the_same_sound_in_the_same_range(gain: float, threshold: Threshold) -> None:
    want, got = draw(1.0, threshold=threshold), draw(gain, threshold=threshold)
    assert torch.equal(got[0], want[0])
    assert got[1].mean() == pytest.approx(0.6, abs=0.02)
    assert torch.allclose(got[1], want[1], atol=1e-5)


def test_a_given_sound_is_noised_in_the_scale_of_the_network_and_comes_back_as_it_was() -> None:
    sound = torch.randn(2, 1, 512, generator=torch.Generator().manual_seed(1))
    known = Known(torch.zeros(2, 2, 3, 8, 8), sound, torch.zeros(2, 1, 1, 1, dtype=torch.bool), torch.ones(512) > 0)
    levels = []

    def denoise(
        video: torch.Tensor, audio: torch.Tensor, t: torch.Tensor, _: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        levels.append(float(audio.std()))
        return torch.zeros_like(video), torch.zeros_like(audio)

    *_, last = sample_pairs(
        denoise, [0, 1], video_shape=(2, 3, 8, 8), audio_shape=(1, 512), schedule=linear_schedule(),
        options=SolverOptions("unipc", 8), seed=0, device=CPU, conditioning=Conditioning(known), audio_gain=7.0,
    )  # fmt: skip
    assert last is not None
    assert torch.equal(last[1], sound)
    assert levels[-1] == pytest.approx(7.0 * float(sound.std()), rel=0.15)


def with_train(**fields: object) -> BaselineRecipe:
    usual = recipe()
    return usual.model_copy(update={"train": usual.train.model_copy(update=fields)})


@pytest.mark.slow
def test_a_checkpoint_says_its_gain_and_its_samples_are_divided_by_it(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "toy", TOY.model_copy(update={"video_size": (4, 3, 8, 8), "audio_size": (1, 6400)}))
    plain, loud = recipe(), with_train(audio_gain=4.0)
    results = {
        name: mmdiffusion.train(dataset, chosen, tmp_path / name, device=CPU)
        for name, chosen in (("plain", plain), ("loud", loud))
    }
    weights = {name: load_file(result.checkpoint / "model.safetensors") for name, result in results.items()}
    assert any(not torch.equal(weights["plain"][name], weights["loud"][name]) for name in weights["plain"])
    found = checkpoint.latest(tmp_path / "loud" / "checkpoints")
    assert found is not None
    assert found.config["train"]["audio_gain"] == 4.0
    gains = []
    whole = mmdiffusion.sample_pairs
    monkeypatch.setattr(
        mmdiffusion, "sample_pairs", lambda *args, **kw: [gains.append(kw["audio_gain"]), whole(*args, **kw)][1]
    )
    for name in ("plain", "loud"):
        # the recipe handed over says nothing: the gain is that of the checkpoint
        list(mmdiffusion.sample(tmp_path / name, plain, [0], device=CPU, bar=Bar()))
    assert gains == [1.0, 4.0]
