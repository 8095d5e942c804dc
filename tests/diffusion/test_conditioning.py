"""Giving a part of the clip: samples move to the known conditional mean, what is given stays, mistakes are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from avbench.diffusion.conditioning import Conditioning, GivenClip, Method, Shape, Task, known_part
from avbench.diffusion.sampling import SolverOptions
from avbench.diffusion.solvers import SchedulerName
from avbench.errors import UserError
from tests.diffusion import gaussian

COUNT = 128
SHAPE = Shape((16, 3, 4, 4), (1, 25600), 10.0, 16000)
PICTURE_GIVEN = torch.arange(32) < 16
BEGINNING_GIVEN = torch.arange(4).repeat_interleave(4).repeat(2) < 2
SOLVERS: tuple[SchedulerName, ...] = ("ddpm", "ddim", "dpm-solver++", "unipc")


def options(scheduler: SchedulerName, steps: int = 20) -> SolverOptions:
    return SolverOptions(scheduler, steps, video_threshold="none", audio_threshold="none")


def distance(rows: torch.Tensor, given: torch.Tensor) -> float:
    """How far the mean of the made part is from the conditional mean; 1 is the mean without a condition."""
    want, _ = gaussian.conditional(given)
    scale = (gaussian.MEAN[~given] - want).norm()
    return float((rows[:, ~given].double().mean(0) - want).norm() / scale)


@pytest.mark.parametrize("given", [PICTURE_GIVEN, ~PICTURE_GIVEN, BEGINNING_GIVEN], ids=["v2a", "a2v", "continue"])
@pytest.mark.parametrize("scheduler", SOLVERS)
def test_each_method_comes_nearer_to_the_conditional_mean(scheduler: SchedulerName, given: torch.Tensor) -> None:
    known = gaussian.known(given, COUNT)

    def reached(method: Method, scale: float = 1.0) -> float:
        return distance(gaussian.draw(COUNT, options(scheduler), Conditioning(known, method, scale)), given)

    free = distance(gaussian.draw(COUNT, options(scheduler)), given)
    assert free > 0.9
    replaced, guided, both, stronger = reached("replace"), reached("guide"), reached("both"), reached("both", 2.0)
    assert replaced < 0.7
    assert guided < 0.7
    assert both < replaced - 0.05
    assert stronger < both - 0.05


@pytest.mark.parametrize("scheduler", SOLVERS)
def test_replaced_samples_spread_about_as_the_conditional_does(scheduler: SchedulerName) -> None:
    rows = gaussian.draw(COUNT, options(scheduler, 100), Conditioning(gaussian.known(PICTURE_GIVEN, COUNT)))
    _, want = gaussian.conditional(PICTURE_GIVEN)
    assert rows[:, ~PICTURE_GIVEN].std(0).mean() == pytest.approx(float(want.mean()), rel=0.3)


@pytest.mark.parametrize("noise", ["fresh", "fixed"])
@pytest.mark.parametrize("method", ["replace", "guide", "both"])
def test_what_is_given_comes_out_unchanged(method: Method, noise: str) -> None:
    known = gaussian.known(BEGINNING_GIVEN, 2)
    known = known._replace(video=known.video + 1)  # out of [-1, 1] too: sound may be
    rows = gaussian.draw(2, options("dpm-solver++", 5), Conditioning(known, method, noise=noise))  # type: ignore[arg-type]
    want = gaussian.flat(known.video, known.audio)
    assert torch.equal(rows[:, BEGINNING_GIVEN], want[:, BEGINNING_GIVEN])
    assert not torch.isclose(rows[:, ~BEGINNING_GIVEN], want[:, ~BEGINNING_GIVEN]).any()


@pytest.mark.parametrize("scheduler", SOLVERS)
def test_guidance_without_weight_changes_nothing_that_is_made(scheduler: SchedulerName) -> None:
    how = Conditioning(gaussian.known(PICTURE_GIVEN, 3), "guide", 0.0)
    free, guided = gaussian.draw(3, options(scheduler)), gaussian.draw(3, options(scheduler), how)
    assert torch.equal(free[:, ~PICTURE_GIVEN], guided[:, ~PICTURE_GIVEN])
    alone = gaussian.draw(3, options(scheduler), replace(how, method="replace"))
    both = gaussian.draw(3, options(scheduler), replace(how, method="both"))
    assert torch.equal(alone, both)


@pytest.mark.parametrize("method", ["replace", "both"])
def test_sample_i_is_the_same_under_any_batch_when_a_part_is_given(method: Method) -> None:
    def made(first: int, count: int) -> torch.Tensor:
        how = Conditioning(gaussian.known(PICTURE_GIVEN, count), method)
        return gaussian.draw(count, options("dpm-solver++", 8), how, first=first)

    whole, part = made(0, 5), made(3, 1)
    # the denoiser multiplies matrices, whose sums depend on their size in the last digits
    torch.testing.assert_close(whole[3:4], part, rtol=0, atol=1e-5)
    assert not torch.allclose(whole[2:3], part, atol=1e-2)


def test_fixed_noise_differs_from_fresh_noise() -> None:
    known = gaussian.known(PICTURE_GIVEN, 2)
    fresh = gaussian.draw(2, options("ddim", 8), Conditioning(known))
    fixed = gaussian.draw(2, options("ddim", 8), Conditioning(known, noise="fixed"))
    assert not torch.allclose(fresh[:, ~PICTURE_GIVEN], fixed[:, ~PICTURE_GIVEN], atol=1e-3)


def clip() -> GivenClip:
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (16, 4, 4, 3), np.uint8)
    return GivenClip(video, rng.standard_normal((1, 25600)).astype(np.float32), {})


@pytest.mark.parametrize(
    ("task", "keep", "frames", "samples"),
    [
        ("v2a", (), range(16), range(0)),
        ("a2v", (), range(0), range(25600)),
        ("continue", ((0, 0.8),), range(8), range(12800)),
        ("inpaint", ((1.2, 1.6),), range(12, 16), range(19200, 25600)),
    ],
)
def test_the_task_says_which_frames_and_samples_are_given(
    task: Task, keep: tuple[tuple[float, float], ...], frames: range, samples: range
) -> None:
    known = known_part(task, keep, [clip()], SHAPE)
    assert known.has_video.flatten().nonzero().flatten().tolist() == list(frames)
    assert known.has_audio.nonzero().flatten().tolist() == list(samples)


def test_every_grey_level_survives_the_way_there_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 4, 4, 3)
    known = known_part("v2a", (), [GivenClip(levels, None, {})], SHAPE)
    back = ((known.video[0] + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(back, levels)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (((0, 0.85),), "keep: 0.85 s lies between two frames of 10 fps; take 0.8 s"),
        (((0, 2.0),), "keep = 0-2: a clip of this model ends at 1.6 s"),
        (((0, 0.8), (0.8, 1.6)), "keep gives the whole clip of 1.6 s: nothing is left to make; keep less of it"),
    ],
)
def test_times_that_do_not_fit_are_refused(keep: tuple[tuple[float, float], ...], message: str) -> None:
    with pytest.raises(UserError) as told:
        known_part("inpaint", keep, [clip()], SHAPE)
    assert str(told.value) == message
