"""The baseline autoencoder at toy width: trained, sampled, and loaded as the codec of other baselines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench import codecs
from avbench.baselines import _base, autoencoder
from avbench.baselines._reconstruction import picture_error, sound_error
from avbench.errors import UserError
from avbench.models.autoencoders import PRESETS, AudioVAEConfig, AutoencoderConfig, VideoVAEConfig
from avbench.progress import Bar
from avbench.recipe_baseline import BaselineRecipe
from avbench.training.log import read_log
from tests.training.rendered_sets import write_clips

CPU, SIZE = torch.device("cpu"), 16
TOY = AutoencoderConfig(
    video=VideoVAEConfig(size=SIZE, frames=5, spatial=4, channels=4, width=16, blocks=1),
    audio=AudioVAEConfig(strides=(20, 4), channels=8, width=16, blocks=1),
)


def recipe(dataset: Path, **train: object) -> BaselineRecipe:
    usual = {"steps": 100, "batch_size": 4, "learning_rate": 4e-3, "ema_decay": 0.9}
    return BaselineRecipe.model_validate(
        {
            "baseline": "autoencoder",
            "preset": "toy",
            "dataset": str(dataset),
            "protocol": "demo-v1",
            "train": {**usual, **train},
            "sample": {"n": 6},
        }
    )


def moving_bars(root: Path, split: str = "train") -> Path:
    """Clips in which a bar moves over a grey ground, under a tone."""
    made = []
    for number in range(3):
        video = np.full((20, SIZE, SIZE, 3), 60 + 40 * number, np.uint8)
        for frame in range(20):
            start = (frame + 5 * number) % (SIZE - 6)
            video[frame, :, start : start + 6] = 230
        times = np.arange(20 * 1600) / 16000
        made.append((video, (0.3 * np.sin(2 * np.pi * 200 * (number + 1) * times)).astype(np.float32)))
    return write_clips(root, made, split=split)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A trained run with its dataset beside it."""
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "toy", TOY)
        data = moving_bars(folder / "data")
        autoencoder.train(data, recipe(data), folder / "run", device=CPU)
        yield folder / "run"


@pytest.mark.slow
def test_reconstructions_get_better_in_both_modalities(run: Path) -> None:
    rows = read_log(run / "log.jsonl")
    for name in ("loss_video", "loss_audio"):
        losses = [row[name] for row in rows]
        assert np.mean(losses[-6:]) < 0.6 * np.mean(losses[:6]), name


@pytest.mark.slow
def test_samples_are_windows_of_the_dataset_after_the_codec(run: Path) -> None:
    data = run.parent / "data"
    of = recipe(data)
    made = {clip.clip_id: clip for clip in autoencoder.sample(run, of, [0, 3, 5], device=CPU, bar=Bar())}
    windows = autoencoder.Windows(data, autoencoder.window(TOY), of.sample.seed)
    assert sorted(made) == ["sample-00000", "sample-00003", "sample-00005"]
    for number in (0, 3, 5):
        clip, (video, audio, name) = made[f"sample-{number:05d}"], windows.read(number)
        assert clip.source == {"window": name}
        assert clip.video.shape == video.shape == (5, SIZE, SIZE, 3)
        assert clip.video.dtype == np.uint8
        assert clip.audio.shape == (1, 8000)
        error = np.abs(clip.video.astype(float) - video).mean()
        assert error < 0.5 * np.abs(video - video.mean()).mean()
        assert np.corrcoef(clip.audio[0], audio)[0, 1] > 0.5
    again = next(iter(autoencoder.sample(run, of, [5], device=CPU, bar=Bar())))
    np.testing.assert_array_equal(again.video, made["sample-00005"].video)


@pytest.mark.slow
def test_windows_come_each_once_and_first_from_splits_that_were_not_trained_on(run: Path, tmp_path: Path) -> None:
    data, spec = run.parent / "data", autoencoder.window(TOY)
    windows = autoencoder.Windows(data, spec, 0)
    names = [windows.read(number)[2] for number in range(12)]
    assert len(set(names)) == 12
    with pytest.raises(UserError, match=r"holds 12 windows that do not overlap and more are asked for; give --n 12"):
        windows.read(12)
    assert [autoencoder.Windows(data, spec, 1).read(number)[2] for number in range(12)] != names


@pytest.mark.slow
def test_the_run_is_a_codec_of_both_modalities(run: Path) -> None:
    video_codec, audio_codec = codecs.load_video(str(run)), codecs.load_audio(str(run))
    assert (video_codec.spatial, video_codec.temporal, video_codec.channels, video_codec.causal) == (4, 4, 4, True)
    assert (audio_codec.sample_rate_hz, audio_codec.hop, audio_codec.channels) == (16000, 80, 8)
    windows = autoencoder.Windows(run.parent / "data", autoencoder.window(TOY), 0)
    pixels, sound, _ = windows.read(1)
    video = torch.from_numpy(pixels).permute(0, 3, 1, 2)[None].float() / 127.5 - 1
    latents = video_codec.encode(video)
    assert latents.shape == (1, 2, 4, 4, 4)
    made = video_codec.decode(latents)
    assert picture_error(made, video) < 0.5 * picture_error(torch.full_like(video, video.mean().item()), video)
    audio = torch.from_numpy(sound)[None, None, :7990]
    assert audio_codec.encode(audio).shape == (1, 100, 8)
    heard = audio_codec.decode(audio_codec.encode(audio), 7990)
    assert sound_error(heard, audio) < 0.7 * sound_error(torch.zeros_like(audio), audio)
    said = codecs.identity(video_codec)
    assert (said["name"], said["source"], said["revision"]) == ("autoencoder-toy", "run", "step 100")
    assert str(run) not in str(said), "a record says nothing of this machine"
    assert said == codecs.identity(audio_codec)


@pytest.mark.slow
def test_training_goes_on_to_the_same_weights(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "toy", TOY)
    data = run.parent / "data"
    for steps in (2, 5):
        autoencoder.train(data, recipe(data, steps=steps), tmp_path / "parts", device=CPU)
    autoencoder.train(data, recipe(data, steps=5, accumulate=2), tmp_path / "whole", device=CPU)
    parts, whole = (codecs.load_video(str(tmp_path / name)).network.state_dict() for name in ("parts", "whole"))
    for name in parts:  # in two micro-batches sums come in another order
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-2, atol=1e-3)


def test_what_cannot_be_is_refused_in_one_sentence(tmp_path: Path) -> None:
    data = moving_bars(tmp_path / "data")
    with pytest.raises(UserError, match="no preset called 'absent'; "):
        autoencoder.train(data, recipe(data).model_copy(update={"preset": "absent"}), tmp_path / "run", device=CPU)
    tiny = recipe(data, audio_gain=2.0).model_copy(update={"preset": "tiny"})
    with pytest.raises(UserError, match=r"train\.audio_gain = 2: autoencoder takes sound as it is"):
        autoencoder.train(data, tiny, tmp_path / "run", device=CPU)
    with pytest.raises(UserError, match="holds no checkpoint of a codec; train one with `avbench train autoencoder`"):
        list(autoencoder.sample(tmp_path, tiny, [0], device=CPU, bar=Bar()))


def test_errors_see_what_they_are_for() -> None:
    true = torch.zeros(1, 2, 3, 8, 8)
    small = true.clone()
    small[..., 3, 3] = 1.0
    spread = true + small.mean()
    assert picture_error(small, true) > 1.5 * picture_error(spread, true), "what is small and far off counts for more"
    tone = 0.2 * torch.sin(torch.arange(8000) * 0.1)[None, None]
    assert sound_error(tone, tone) == 0
    assert sound_error(0.5 * tone, tone) > 0
    assert sound_error(torch.zeros_like(tone), tone) > sound_error(0.5 * tone, tone)
    silence = torch.zeros(1, 1, 4000, requires_grad=True)
    sound_error(silence, torch.zeros(1, 1, 4000)).sum().backward()
    assert silence.grad is not None
    assert silence.grad.isfinite().all()


@pytest.mark.slow
def test_the_samples_folder_is_written_like_that_of_any_baseline(run: Path) -> None:
    of = recipe(run.parent / "data")
    made, already = _base.write_samples(run, of, device=CPU)
    assert (made, already) == (6, 0)
    assert _base.write_samples(run, of, device=CPU) == (0, 6)
    assert len(list((run / "samples").glob("*.npz"))) == 6
