"""The forward process against its closed form, and the joint loss."""

from __future__ import annotations

import torch

from avbench.diffusion.noise_schedule import NoisyPair, linear_schedule, noise_pair, pair_loss


def test_the_schedule_is_the_linear_one_of_ddpm() -> None:
    betas = linear_schedule().betas
    assert betas[0] == torch.tensor(1e-4)
    assert torch.isclose(betas[-1], torch.tensor(0.02))
    short = linear_schedule(100).betas
    assert torch.isclose(short[-1], torch.tensor(0.2))


def test_noised_samples_follow_the_closed_form() -> None:
    schedule = linear_schedule()
    video, audio = torch.rand(5, 2, 3, 4, 4) * 2 - 1, torch.rand(5, 1, 64) * 2 - 1
    noisy = noise_pair(schedule, video, audio, torch.Generator().manual_seed(1))
    alpha = torch.cumprod(1 - schedule.betas, 0)[noisy.timesteps]
    want = alpha.sqrt().view(-1, 1, 1, 1, 1) * video + (1 - alpha).sqrt().view(-1, 1, 1, 1, 1) * noisy.video_noise
    torch.testing.assert_close(noisy.video, want)
    want = alpha.sqrt().view(-1, 1, 1) * audio + (1 - alpha).sqrt().view(-1, 1, 1) * noisy.audio_noise
    torch.testing.assert_close(noisy.audio, want)
    assert not torch.allclose(noisy.video_noise.flatten()[:64], noisy.audio_noise.flatten()[:64])


def test_the_draw_depends_on_the_generator_alone() -> None:
    schedule, video, audio = linear_schedule(), torch.zeros(4, 1, 3, 2, 2), torch.zeros(4, 1, 8)
    first, second, other = (noise_pair(schedule, video, audio, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first.video, second.video)
    assert not torch.equal(first.audio, other.audio)
    assert first.timesteps.min() >= 0
    assert first.timesteps.max() < 1000


def test_each_modality_counts_once_whatever_its_size() -> None:
    zeros = torch.zeros
    target = NoisyPair(zeros(2, 1, 3, 4, 4), zeros(2, 1, 9), zeros(2, 1, 3, 4, 4), zeros(2, 1, 9), zeros(2).long())
    loss = pair_loss(torch.full((2, 1, 3, 4, 4), 2.0), torch.full((2, 1, 9), 3.0), target)
    assert loss.video.tolist() == [4.0, 4.0]
    assert loss.audio.tolist() == [9.0, 9.0]
    assert loss.total.item() == 13.0
