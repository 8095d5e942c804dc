"""Our own autoencoder: shapes, what may depend on what, and that it can learn."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from avbench.models.autoencoders import (
    PRESETS,
    AudioVAE,
    AudioVAEConfig,
    Autoencoder,
    AutoencoderConfig,
    VideoVAE,
    VideoVAEConfig,
    divergence,
)

VIDEO = VideoVAEConfig(size=16, frames=9, spatial=4, temporal=4, channels=3, width=8, blocks=1, norm_groups=4)
AUDIO = AudioVAEConfig(strides=(5, 4), channels=6, width=8, blocks=1)


def stirred(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights without the zeros that residual branches begin with, so that everything that can matter does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return network.eval().requires_grad_(False)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("spatial", [2, 4, 8])
@pytest.mark.parametrize("temporal", [1, 2, 4])
@pytest.mark.parametrize("slices", [1, 3])
def test_pictures_become_a_grid_and_come_back(spatial: int, temporal: int, slices: int) -> None:
    config = VIDEO.model_copy(update={"spatial": spatial, "temporal": temporal})
    network, frames = VideoVAE(config), 1 + temporal * (slices - 1)
    mean, log_variance = network.encode(noise(2, frames, 3, 16, 24))
    assert mean.shape == log_variance.shape == (2, slices, 3, 16 // spatial, 24 // spatial)
    assert network.decode(mean).shape == (2, frames, 3, 16, 24)


def test_a_latent_frame_depends_on_no_later_frame_and_on_every_frame_of_its_own() -> None:
    network = stirred(VideoVAE(VIDEO))
    video = noise(1, 13, 3, 16, 16)
    latents = network.encode(video)[0]
    for frame in range(13):
        changed = video.clone()
        changed[:, frame] += noise(3, 16, 16, seed=1)
        moved = (network.encode(changed)[0] - latents).abs().amax(dim=(0, 2, 3, 4))
        own = -(-frame // 4)
        assert (moved[:own] == 0).all()
        assert moved[own] > 0


def test_a_frame_depends_on_no_later_latent_frame() -> None:
    network = stirred(VideoVAE(VIDEO))
    latents = noise(1, 4, 3, 4, 4)
    frames = network.decode(latents)
    for place in range(4):
        changed = latents.clone()
        changed[:, place] += 1
        moved = (network.decode(changed) - frames).abs().amax(dim=(0, 2, 3, 4))
        first = 0 if place == 0 else 4 * place - 3
        assert (moved[:first] == 0).all()
        assert (moved[first : 4 * place + 1] > 0).all()


def test_the_linear_maps_join_a_latent_with_the_frames_it_stands_for_and_no_others() -> None:
    network = stirred(VideoVAE(VIDEO))
    for place in range(3):
        own = slice(0, 1) if place == 0 else slice(4 * place - 3, 4 * place + 1)
        video, latents = noise(1, 9, 3, 16, 16), noise(1, 3, 3, 4, 4)
        changed, other = video.clone(), latents.clone()
        changed[:, own] += 1
        other[:, place] += 1
        moved = (network.linear_encoder(changed) - network.linear_encoder(video)).abs().amax((0, 2, 3, 4)) > 0
        assert moved.tolist() == [number == place for number in range(3)]
        drawn = (network.linear_decoder(other) - network.linear_decoder(latents)).abs().amax((0, 2, 3, 4)) > 0
        assert drawn.nonzero()[:, 0].tolist() == list(range(9))[own]


@pytest.mark.parametrize("strides", [(20, 4, 4), (5, 4), (7,)])
def test_sound_becomes_a_row_and_comes_back(strides: tuple[int, ...]) -> None:
    config = AUDIO.model_copy(update={"strides": strides})
    network = AudioVAE(config)
    mean, log_variance = network.encode(noise(2, 1, 11 * config.hop))
    assert mean.shape == log_variance.shape == (2, 11, 6)
    assert network.decode(mean).shape == (2, 1, 11 * config.hop)


def test_a_latent_of_sound_lies_where_its_sound_is() -> None:
    """A change of samples moves the latents around its own place, alike on both sides within a latent."""
    network = stirred(AudioVAE(AUDIO))
    sound = 0.1 * noise(1, 1, 41 * 20)
    changed = sound.clone()
    changed[..., 20 * 20 : 21 * 20] += noise(20)
    moved = (network.encode(changed)[0] - network.encode(sound)[0]).abs().sum((0, 2))
    places = moved.nonzero()[:, 0]
    assert abs((places.min() + places.max()) / 2 - 20) <= 1
    latents = noise(1, 41, 6)
    other = latents.clone()
    other[:, 20] += 1
    heard = (network.decode(other) - network.decode(latents)).abs()[0, 0].nonzero()[:, 0]
    assert abs((heard.min() + heard.max()) / 2 - 20.5 * 20) <= 20


def test_the_linear_maps_of_sound_look_as_far_before_a_latent_as_behind_it() -> None:
    network, hop = stirred(AudioVAE(AUDIO)), AUDIO.hop
    sound, latents = noise(1, 1, 9 * hop), noise(1, 9, 6).transpose(1, 2)
    other = latents.clone()
    other[:, :, 4] += 1
    heard = (network.linear_decoder(other) - network.linear_decoder(latents))[0, 0].nonzero()[:, 0]
    assert (heard.min().item(), heard.max().item()) == (4 * hop - hop // 2, 5 * hop + hop // 2 - 1)
    for sample, is_heard in {
        4 * hop - hop // 2 - 1: False,
        4 * hop - hop // 2: True,
        5 * hop + hop // 2 - 1: True,
    }.items():
        changed = sound.clone()
        changed[..., sample] += 1
        moved = (network.linear_encoder(changed) - network.linear_encoder(sound))[0, :, 4].abs().max()
        assert (moved > 0) == is_heard, sample


def test_a_faint_sound_stays_faint() -> None:
    network = stirred(AudioVAE(AUDIO))
    silence = torch.zeros(1, 1, 400)
    quiet = 1e-3 * noise(1, 1, 400)
    moved = network.encode(quiet)[0] - network.encode(silence)[0]
    assert moved.abs().max() < 0.05


def test_the_draw_of_a_clip_depends_on_its_generator_alone() -> None:
    torch.manual_seed(0)
    network = Autoencoder(AutoencoderConfig(video=VIDEO, audio=AUDIO)).eval()
    video, audio = noise(3, 9, 3, 16, 16), noise(3, 1, 130)

    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    whole = network(video, audio, generators(5, 6, 7))
    alone = network(video[1:2], audio[1:2], generators(6))
    other = network(video[1:2], audio[1:2], generators(9))
    for name in whole._fields:
        torch.testing.assert_close(getattr(whole, name)[1:2], getattr(alone, name), rtol=1e-4, atol=1e-5)
    assert (other.video - alone.video).abs().max() > 1e-3
    assert (other.audio - alone.audio).abs().max() > 1e-3
    assert whole.video.shape == video.shape
    assert whole.audio.shape == audio.shape


def test_at_first_the_noise_is_no_larger_than_the_latents_it_is_added_to() -> None:
    torch.manual_seed(0)
    network = Autoencoder(PRESETS["tiny"])
    with torch.no_grad():
        for mean, log_variance in (
            network.video.encode(noise(1, 5, 3, 32, 32).clamp(-1, 1)),
            network.audio.encode(0.3 * noise(1, 1, 3200)),
        ):
            assert 2 * mean.std() > (0.5 * log_variance).exp().mean()


def test_the_divergence_is_that_of_a_normal_from_the_standard_normal() -> None:
    mean, deviation = torch.tensor([[0.3, -1.0]]), torch.tensor([[0.5, 2.0]])
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, deviation), torch.distributions.Normal(0.0, 1.0)
    ).mean()
    assert divergence(mean, 2 * deviation.log()).item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "field", "value", "complaint"),
    [
        (VideoVAEConfig, "spatial", 6, "spatial = 6 must be a power of two"),
        (VideoVAEConfig, "temporal", 3, "temporal = 3 must be a power of two"),
        (VideoVAEConfig, "size", 60, "size = 60 must be a multiple of spatial = 8"),
        (VideoVAEConfig, "frames", 16, r"frames = 16 must be 1 \+ a multiple of temporal = 4"),
        (VideoVAEConfig, "width", 12, "width = 12 does not split into 8 groups"),
        (AudioVAEConfig, "strides", (), "at least 1"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(kind: type, field: str, value: object, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        kind(**{field: value})


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_presets_window_of_sound_lasts_as_long_as_its_frames(name: str) -> None:
    config = PRESETS[name]
    assert config.samples == config.video.frames * 1600
    assert config.samples % config.audio.hop == 0
    assert config.audio.sample_rate_hz / config.audio.hop == 50
