"""Mixture of noise levels: what each strategy draws, the closed form of the noise, and the loss."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from scipy import stats
from torch import Tensor

from avbench.diffusion.noise_levels import (
    UNIFORM,
    LatentTask,
    NoisyTokens,
    Pair,
    clean_estimate,
    draw_levels,
    noise_tokens,
    predicted_noise,
    task_mask,
    token_loss,
)
from avbench.diffusion.noise_schedule import linear_schedule
from avbench.errors import UserError

SCHEDULE = linear_schedule()
AUDIO_SLICES = (0, 1, 1, 2, 2)
STRATEGIES = tuple(UNIFORM)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _levels(weights: dict[str, float], batch: int = 2000, slices: int = 3, steps: int = 1000, seed: int = 0) -> Tensor:
    return draw_levels(weights, batch, slices, steps, _generator(seed))


def _strategy(levels: Tensor) -> str:
    """The strategy that drew (2, N) levels, of so many that independent ones are never alike."""
    in_time, in_kind = bool((levels == levels[:, :1]).all()), bool((levels[0] == levels[1]).all())
    return {(True, True): "vanilla", (True, False): "pm", (False, True): "pt", (False, False): "ptm"}[in_time, in_kind]


def _uniform(counts: Counter[object], cells: int) -> float:
    """p value of a chi-square test that all cells are as likely."""
    return float(stats.chisquare([*counts.values(), *[0] * (cells - len(counts))]).pvalue)


def test_vanilla_draws_one_level_pm_one_per_modality_pt_one_per_slice_ptm_all() -> None:
    for name in STRATEGIES:
        assert {_strategy(row) for row in _levels({name: 1.0}, 200, steps=10**9)} == {name}


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_level_is_uniform_from_one_to_the_last(name: str) -> None:
    levels = _levels({name: 1.0}, steps=8)
    assert sorted(set(levels.flatten().tolist())) == list(range(1, 9))
    for modality in range(2):
        for slice_ in range(3):
            assert _uniform(Counter(levels[:, modality, slice_].tolist()), 8) > 0.001


@pytest.mark.parametrize(
    ("name", "first", "second"), [("pm", (0, 0), (1, 0)), ("pt", (0, 0), (0, 1)), ("ptm", (0, 1), (1, 2))]
)
def test_levels_that_may_differ_are_independent(name: str, first: tuple[int, int], second: tuple[int, int]) -> None:
    levels = _levels({name: 1.0}, steps=4)
    pairs = Counter(zip(levels[:, *first].tolist(), levels[:, *second].tolist(), strict=True))
    assert _uniform(pairs, 16) > 0.001


def test_the_mixture_takes_each_strategy_as_often_as_its_weight_says() -> None:
    for weights in (UNIFORM, {"vanilla": 3.0, "ptm": 1.0, "pt": 0.0}, {"pm": 0.2, "pt": 0.1}):
        found = Counter(_strategy(row) for row in _levels(dict(weights), 3000, steps=10**9, seed=7))
        wanted = {name: weight for name, weight in weights.items() if weight}
        assert found.keys() == wanted.keys()
        expected = [3000 * weight / sum(wanted.values()) for weight in wanted.values()]
        assert stats.chisquare([found[name] for name in wanted], expected).pvalue > 0.001


def test_a_samples_levels_and_noise_depend_on_its_own_generator_alone() -> None:
    video, audio = torch.zeros(5, 3, 2, 1, 1), torch.zeros(5, 5, 2)

    def drawn(numbers: list[int]) -> NoisyTokens:
        generators = [_generator(number) for number in numbers]
        levels = draw_levels(UNIFORM, len(numbers), 3, 1000, generators)
        rows = len(numbers)
        return noise_tokens(SCHEDULE, video[:rows], audio[:rows], levels, AUDIO_SLICES, generators)

    whole, part = drawn([0, 1, 2, 3, 4]), drawn([3, 1])
    assert torch.equal(whole.levels[[3, 1]], part.levels)
    assert torch.equal(whole.video_noise[[3, 1]], part.video_noise)
    assert torch.equal(whole.audio[[3, 1]], part.audio)


def test_training_on_one_task_keeps_what_it_gives_clean() -> None:
    mask = task_mask("continue", 3, [(0, 2)])
    levels = draw_levels({"vanilla": 1.0}, 50, 3, 1000, _generator(), known=mask)
    assert not levels[:, mask].any()
    assert (levels[:, ~mask] > 0).all()


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"vanila": 1.0}, "no strategy 'vanila'; there are vanilla, pm, pt, ptm"),
        ({"pm": -1.0}, "weight of pm is -1"),
        ({"pm": math.nan}, "weight of pm is nan"),
        ({"pm": 0.0}, "no strategy has a weight above 0"),
        ({}, "no strategy has a weight above 0"),
    ],
)
def test_weights_that_make_no_mixture_are_refused(weights: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        _levels(weights, 1)


@pytest.mark.parametrize(
    ("task", "keep", "given"),
    [
        ("joint", (), ("000", "000")),
        ("v2a", (), ("111", "000")),
        ("a2v", (), ("000", "111")),
        ("continue", [(0, 2)], ("110", "110")),
        ("inpaint", [(0, 1), (2, 3)], ("101", "101")),
    ],
)
def test_a_task_gives_these_slices(task: LatentTask, keep: list[tuple[int, int]], given: tuple[str, str]) -> None:
    assert task_mask(task, 3, keep).int().tolist() == [[int(bit) for bit in row] for row in given]


@pytest.mark.parametrize(
    ("keep", "words"),
    [([(0, 3)], "all 3 slices are given"), ([(2, 4)], "slices 2 to 4 are given"), ([(1, 1)], "slices 1 to 1")],
)
def test_slices_that_leave_nothing_or_do_not_exist_are_refused(keep: list[tuple[int, int]], words: str) -> None:
    with pytest.raises(UserError, match=words):
        task_mask("inpaint", 3, keep)


def test_each_token_has_the_mean_and_variance_of_its_own_level() -> None:
    """Over 4000 draws of noise: the mean is off by at most 5 standard errors, the variance by 5 x sqrt(2 / 4000)."""
    draws = 4000
    levels = torch.randint(0, 1001, (2, 3), generator=_generator(1))
    levels[0, 1] = 0
    levels[1, 2] = 1000
    video = torch.arange(1.0, 7.0).view(1, 3, 2, 1, 1).expand(draws, -1, -1, -1, -1)
    audio = -torch.arange(1.0, 11.0).view(1, 5, 2).expand(draws, -1, -1)
    noisy = noise_tokens(SCHEDULE, video, audio, levels.expand(draws, -1, -1), AUDIO_SLICES, _generator(2))
    kept = torch.cat([torch.ones(1), torch.cumprod(1 - SCHEDULE.betas, 0)])
    wanted = kept[levels[0]].view(3, 1, 1, 1), kept[levels[1]][list(AUDIO_SLICES)].view(5, 1)
    for z, x, level in zip((noisy.video, noisy.audio), (video, audio), wanted, strict=True):
        assert ((z.mean(0) - level.sqrt() * x[0]).abs() <= 5 * ((1 - level) / draws).sqrt() + 1e-6).all()
        assert ((z.var(0) - (1 - level)).abs() <= 5 * (2 / draws) ** 0.5 * (1 - level) + 1e-6).all()


def test_level_zero_is_clean_to_the_bit_and_level_t_is_timestep_t_minus_one() -> None:
    video, audio = torch.randn(3, 3, 2, 1, 1, generator=_generator(1)), torch.randn(3, 5, 2, generator=_generator(2))
    clean = noise_tokens(SCHEDULE, video, audio, torch.zeros(3, 2, 3).long(), AUDIO_SLICES, _generator())
    assert torch.equal(clean.video, video)
    assert torch.equal(clean.audio, audio)
    timesteps = torch.tensor([0, 400, 999])
    noisy = noise_tokens(
        SCHEDULE, video, audio, (timesteps + 1).view(3, 1, 1).expand(3, 2, 3), AUDIO_SLICES, _generator()
    )
    torch.testing.assert_close(noisy.video, SCHEDULE.add_noise(video, noisy.video_noise, timesteps))
    torch.testing.assert_close(noisy.audio, SCHEDULE.add_noise(audio, noisy.audio_noise, timesteps))


def _noisy(levels: Tensor) -> tuple[Pair, NoisyTokens]:
    count = len(levels)
    clean = torch.randn(count, 3, 2, 2, 2, generator=_generator(1)), torch.randn(count, 5, 4, generator=_generator(2))
    return clean, noise_tokens(SCHEDULE, *clean, levels, AUDIO_SLICES, _generator(3))


def test_the_true_noise_gives_the_clean_latents_back() -> None:
    (video, audio), noisy = _noisy(_levels(dict(UNIFORM), 8).masked_fill(task_mask("inpaint", 3, [(1, 2)]), 0))
    noise = noisy.video_noise, noisy.audio_noise
    got = clean_estimate(SCHEDULE, (noisy.video, noisy.audio), noise, noisy.levels, noisy.audio_slices)
    torch.testing.assert_close(got[0], video, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(got[1], audio, rtol=1e-3, atol=1e-3)
    assert torch.equal(got[0][:, 1], video[:, 1])


def test_a_second_pass_is_told_the_estimate_of_the_first_and_no_gradient_reaches_the_first() -> None:
    (video, audio), noisy = _noisy(_levels(dict(UNIFORM), 4))
    factor, calls = torch.ones((), requires_grad=True), []

    def denoise(z: Tensor, s: Tensor, video_levels: Tensor, audio_levels: Tensor, previous: Pair | None) -> Pair:
        calls.append((z, s, video_levels, audio_levels, previous))
        return factor * noisy.video_noise, factor * noisy.audio_noise

    predicted_noise(denoise, SCHEDULE, noisy, twice=False)
    assert [call[4] for call in calls] == [None]
    calls.clear()
    predicted = predicted_noise(denoise, SCHEDULE, noisy, twice=True)
    first, second = calls
    assert first[4] is None
    torch.testing.assert_close(second[4][0], video, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(second[4][1], audio, rtol=1e-3, atol=1e-3)
    assert not second[4][0].requires_grad
    assert predicted[0].requires_grad
    for call in calls:
        assert torch.equal(call[2], noisy.levels[:, 0])
        assert torch.equal(call[3], noisy.levels[:, 1])


def test_all_tokens_of_both_modalities_count_the_same() -> None:
    _, noisy = _noisy(_levels(dict(UNIFORM), 2))
    predicted = noisy.video_noise + 2, noisy.audio_noise - 3  # errors 4 and 9 in 12 video tokens and 5 audio tokens
    loss = token_loss(predicted, noisy, 1000)
    torch.testing.assert_close(loss.video, torch.full((2,), 4.0))
    torch.testing.assert_close(loss.audio, torch.full((2,), 9.0))
    torch.testing.assert_close(loss.total, torch.tensor((12 * 4 + 5 * 9) / 17))
    assert loss.level is not None
    torch.testing.assert_close(loss.level, (noisy.levels.float() - 1).mean((1, 2)) / 1000)


def test_clean_tokens_are_left_out_of_the_loss() -> None:
    levels = torch.full((2, 2, 3), 500)
    levels[0, 0], levels[0, 1, 2], levels[1] = 0, 0, 0  # first: no video, audio of slices 0 and 1; second: nothing
    _, noisy = _noisy(levels)
    error = torch.tensor([1.0, 2.0, 3.0, 100.0, 100.0]).view(5, 1)
    loss = token_loss((noisy.video_noise + 100, noisy.audio_noise + error), noisy, 1000)
    torch.testing.assert_close(loss.video, torch.tensor([0.0, 0.0]))
    torch.testing.assert_close(loss.audio, torch.tensor([14 / 3, 0.0]))
    torch.testing.assert_close(loss.total, torch.tensor(14 / 6))
