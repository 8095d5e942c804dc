"""Codecs and clips meet at the right rate and scale: what failed in the first public attempt at latent joint diffusion.

There sound of 16 kHz was fed to codecs of 24 and 44.1 kHz, and no latent was normalised.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from avbench.errors import UserError
from avbench.training.latent_space import CodecPair, LatentStatistics, decode_pair
from avbench.training.loader import WindowSpec
from tests.training import folding

STATISTICS = LatentStatistics(tuple(range(24)), (2.0,) * 24, tuple(range(32)), (0.5,) * 32)


def clip(hz: float = 440.0) -> tuple[torch.Tensor, torch.Tensor]:
    grey = np.random.default_rng(1).integers(0, 256, (1, 9, 3, 16, 16), np.uint8)
    tone = 0.5 * torch.sin(2 * torch.pi * hz * torch.arange(14400) / 16000)
    return torch.from_numpy(grey), tone.view(1, 1, -1)


def pitch_hz(audio: torch.Tensor) -> float:
    power = torch.fft.rfft(audio.flatten() * torch.hann_window(audio.numel())).abs()
    return float(power.argmax()) * 16000 / audio.numel()


def test_a_clip_comes_back_through_encoding_normalising_and_their_inverses() -> None:
    pair, (video, audio) = folding.pair(), clip()
    latents = STATISTICS.normalise(*pair.encode(video, audio))
    pictures, sound = decode_pair(STATISTICS, pair, *latents)
    assert ((pictures + 1) * 127.5 - video).abs().max() < 0.01
    assert sound.shape == audio.shape
    # blocks of 20 ms lose what they cut off at their edges
    assert (sound - audio).square().mean() < 0.01 * audio.square().mean()


@pytest.mark.parametrize("hz", [220.0, 440.0, 700.0])
def test_a_tone_keeps_its_pitch_and_length_through_a_codec_of_another_rate(hz: float) -> None:
    pair, (_, audio) = folding.pair(), clip(hz)
    sound = pair.decode_audio(pair.encode_audio(audio))
    assert sound.shape == audio.shape
    assert pitch_hz(sound) == pytest.approx(hz, abs=2.0)


def test_the_audio_codec_hears_its_own_rate() -> None:
    pair = folding.pair()
    pair.encode_audio(clip()[1])
    assert pair.audio.heard == [14400 * 24000 // 16000]  # type: ignore[attr-defined]


def test_the_announced_shape_is_the_one_of_the_latents() -> None:
    pair = folding.pair()
    video, audio = pair.encode(*clip())
    assert (tuple(video.shape[1:]), tuple(audio.shape[1:])) == pair.shape == ((5, 24, 8, 8), (45, 32))
    assert video.dtype == audio.dtype == torch.float32


def test_a_clip_of_odd_length_keeps_its_samples() -> None:
    pair = CodecPair(folding.FoldedPictures(), folding.LowTones(), WindowSpec(9, 10.0, 16, 14399, 16000))
    assert pair.decode_audio(pair.encode_audio(torch.zeros(2, 1, 14399))).shape == (2, 1, 14399)


def test_statistics_give_zero_mean_and_unit_variance_per_channel_and_back() -> None:
    video = torch.randn(50, 5, 24, 4, 4) * 2 + torch.arange(24.0).view(-1, 1, 1)
    audio = torch.randn(50, 45, 32) * 0.5 + torch.arange(32.0)
    plain_video, plain_audio = STATISTICS.normalise(video, audio)
    for latents, axes in ((plain_video, (0, 1, 3, 4)), (plain_audio, (0, 1))):
        assert latents.mean(axes).abs().max() < 0.1
        assert (latents.std(axes) - 1).abs().max() < 0.1
    for back, before in zip(STATISTICS.denormalise(plain_video, plain_audio), (video, audio), strict=True):
        torch.testing.assert_close(back, before)


def test_statistics_survive_a_file_to_the_bit() -> None:
    odd = LatentStatistics((0.1,), (1 / 3,), (float(np.float32(0.7)),), (2e-7,))
    for each in (odd, LatentStatistics((0.1,), (1 / 3,), (0.2,), (2e-7,), 6.1, 9.7)):
        assert LatentStatistics.from_json(json.loads(json.dumps(each.as_json()))) == each


def test_a_picture_that_the_cells_do_not_divide_is_refused_with_a_size_that_fits() -> None:
    window = WindowSpec(9, 10.0, 15, 14400, 16000)
    with pytest.raises(UserError, match=r"codec\.size = 15: .*multiple of 2"):
        _ = folding.pair(window=window).shape


def test_a_number_of_frames_that_the_codec_does_not_take_is_refused_with_those_that_fit() -> None:
    with pytest.raises(UserError, match="not 10; take 9 or 11"):
        _ = folding.pair(window=WindowSpec(10, 10.0, 16, 16000, 16000)).shape
