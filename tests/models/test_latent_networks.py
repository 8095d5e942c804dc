"""Denoisers of latents: their heads have the shapes of the latents, and their levels fit the grid or are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from avbench.errors import UserError
from avbench.models.latent import NAMES, LatentTransformer, LatentUNet, build, rebuild, unet_config

TINY_VAE: dict[str, Any] = {
    "video_size": (5, 8, 8, 8), "audio_size": (85, 32),
    "fps": 10.0, "frames_per_slice": 4, "causal": True, "audio_tokens_per_s": 50.0,
}  # fmt: skip
"""17 frames of 32 px through the tiny autoencoder."""

PER_FRAME: dict[str, Any] = {
    "video_size": (16, 4, 8, 8), "audio_size": (120, 128),
    "fps": 10.0, "frames_per_slice": 1, "causal": False, "audio_tokens_per_s": 75.0,
}  # fmt: skip
"""16 frames of 64 px through sd-vae-ft-mse, their sound through EnCodec."""


def noisy(codec: dict[str, Any], batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    video, (tokens, channels) = torch.randn(batch, *codec["video_size"]), codec["audio_size"]
    return video, torch.randn(batch, channels, tokens), torch.tensor([3, 900])[:batch]


def awake(model: torch.nn.Module) -> torch.nn.Module:
    """Weights that begin at zero hide what lies behind them."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


@pytest.mark.parametrize("codec", [TINY_VAE, PER_FRAME], ids=["causal", "per-frame"])
@pytest.mark.parametrize("name", ["tiny", "tiny-transformer"])
def test_the_heads_have_the_shape_of_the_latents(name: str, codec: dict[str, Any]) -> None:
    video, audio, timesteps = noisy(codec)
    with torch.no_grad():
        video_noise, audio_noise = build(name, codec)(video, audio, timesteps)
    assert video_noise.shape == video.shape
    assert audio_noise.shape == audio.shape


@pytest.mark.parametrize("name", ["tiny", "tiny-transformer"])
def test_picture_and_sound_know_of_each_other_and_of_the_timestep(name: str) -> None:
    model, (video, audio, timesteps) = awake(build(name, TINY_VAE)), noisy(TINY_VAE)
    with torch.no_grad():
        before = model(video, audio, timesteps)
        assert not torch.allclose(model(video, audio + 1, timesteps)[0], before[0], atol=1e-4)
        assert not torch.allclose(model(video + 1, audio, timesteps)[1], before[1], atol=1e-4)
        assert not torch.allclose(model(video, audio, timesteps + 50)[0], before[0], atol=1e-4)


def test_a_latent_frame_sees_its_own_sound_in_the_first_level() -> None:
    # with uniform segments of a causal clip's sound: centred windows of three cover what a frame stands for
    for frames, per_frame, first in ((5, 20.0, 5.0), (9, 20.0, 5.0), (5, 30.0, 7.5)):
        tokens = first + (frames - 1) * per_frame
        segment = int(tokens / frames)
        for n in range(frames):
            begin = max(0.0, first + (n - 1) * per_frame) if n else 0.0
            end = first + n * per_frame
            assert (n - 1) * segment <= begin
            assert end <= (n + 2) * segment or n >= frames - 2


def test_nothing_is_drawn_in_a_forward_pass() -> None:
    model, clip = awake(build("tiny", TINY_VAE)), noisy(TINY_VAE)
    with torch.no_grad():
        torch.manual_seed(5)
        first = model(*clip)
        again = model(*clip)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_the_transformer_is_told_one_level_that_counts_from_one() -> None:
    model = awake(build("tiny-transformer", TINY_VAE))
    assert isinstance(model, LatentTransformer)
    video, audio, timesteps = noisy(TINY_VAE)
    levels = (timesteps + 1)[:, None].expand(-1, 5)
    with torch.no_grad():
        wanted = model.network(video, audio.transpose(1, 2), levels, levels)
        found = model(video, audio, timesteps)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1].transpose(1, 2))


@pytest.mark.parametrize(
    ("name", "side", "fits"),
    [
        ("small-deep", 32, True), ("small-deep", 16, True), ("small-deep", 8, False), ("small", 8, True),
        ("small", 4, False), ("small-flat", 4, True), ("tiny", 8, True),
    ],
)  # fmt: skip
def test_levels_fit_the_grid_or_the_message_names_those_that_do(name: str, side: int, fits: bool) -> None:
    latents = (5, 8, side, side), (85, 32)
    if fits:
        config = unet_config(name, *latents)
        assert side // 2 ** (len(config.channel_mult) - 1) >= 4
        assert len(config.channel_mult) <= 3
        return
    with pytest.raises(UserError, match="does not fit these latents") as error:
        unet_config(name, *latents)
    offered = str(error.value).rpartition("; take ")[2].split(" or ")
    assert name not in offered
    for other in offered:
        build(other, {**TINY_VAE, "video_size": latents[0]})


def test_a_sound_of_too_few_latents_for_the_frames_is_refused() -> None:
    with pytest.raises(
        UserError, match="leave 8 of 30 positions in the sound for 16 latent frames; take small-flat or"
    ):
        unet_config("small", (16, 4, 8, 8), (30, 64))


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean small-deep"):
        build("smal-deep", TINY_VAE)


@pytest.mark.parametrize("name", ["tiny", "tiny-transformer"])
def test_a_checkpoint_card_gives_the_same_network_back(name: str) -> None:
    model, clip = awake(build(name, TINY_VAE)), noisy(TINY_VAE)
    again = rebuild(model.card, "checkpoint").eval()  # type: ignore[operator, arg-type]
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        for a, b in zip(model(*clip), again(*clip), strict=True):
            assert torch.equal(a, b)


def test_every_size_can_be_built_and_the_small_ones_are_of_one_size() -> None:
    counts = {}
    for name in NAMES:
        with torch.device("meta"):
            grid = {**TINY_VAE, "video_size": (5, 16, 16, 16), "audio_size": (85, 64)}
            counts[name] = sum(p.numel() for p in build(name, grid).parameters())
    assert counts["tiny"] < 3e6
    assert 10e6 < counts["small"] < 60e6
    assert isinstance(build("tiny", TINY_VAE), LatentUNet)
