"""What AVDiT is given: times on the grid of its latent frames, and nothing of what the task does not give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avbench.baselines._avdit_given import bound, given_part, hidden_audio, hidden_video
from avbench.baselines._avdit_windows import dropped, put_in_place
from avbench.diffusion.conditioning import GivenClip
from avbench.errors import UserError
from avbench.models.avdit import AVDiTConfig
from avbench.recipe_baseline import ConditionRecipe

CONFIG = AVDiTConfig(video_size=(5, 8, 4, 4), audio_size=(85, 4), fps=10.0, width=16, layers=1, heads=2)
"""17 frames: one, then four in each latent frame; slices begin at 0, 0.1, 0.5, 0.9, 1.3 s and end at 1.7 s."""
SAMPLES = 27200


def test_a_given_time_is_whole_slices_whole_frames_and_their_sound() -> None:
    part = given_part("inpaint", [(0, 0.5), (1.3, 1.7)], CONFIG, SAMPLES)
    assert part.slices.tolist() == [[True, True, False, False, True]] * 2
    assert np.flatnonzero(part.frames).tolist() == [*range(5), *range(13, 17)]
    assert np.array_equal(part.samples, np.repeat(part.frames, 1600))
    given_tokens = part.slices[1][torch.tensor(CONFIG.audio_slices)]
    assert np.array_equal(np.repeat(given_tokens.numpy(), 320), part.samples)


def test_a_given_picture_or_sound_is_all_of_it() -> None:
    picture, sound = (given_part(task, (), CONFIG, SAMPLES) for task in ("v2a", "a2v"))
    assert picture.slices.tolist() == [[True] * 5, [False] * 5]
    assert picture.frames.all()
    assert not picture.samples.any()
    assert sound.slices.tolist() == [[False] * 5, [True] * 5]


@pytest.mark.parametrize(
    ("time_s", "sentence"),
    [
        (0.4, r"keep: 0.4 s lies inside a latent frame .*; the nearest times are 0.1 s and 0.5 s"),
        (1.69, "the nearest times are 1.3 s and 1.7 s"),
        (2.0, r"2 s lies behind the end of a clip of this model, 1.7 s"),
    ],
)
def test_a_time_off_the_grid_is_refused_with_the_times_that_would_do(time_s: float, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        bound(time_s, CONFIG.slice_bounds_s)


def test_a_whole_clip_cannot_be_given() -> None:
    with pytest.raises(UserError, match=r"keep gives the whole clip of 1.7 s: nothing is left"):
        given_part("continue", [(0, 1.7)], CONFIG, SAMPLES)


@pytest.mark.parametrize("keep", [[(0, 0.5)], [(0.5, 0.9)], [(0, 0.1), (0.9, 1.7)]])
def test_what_is_not_given_is_hidden_from_the_codec_and_what_is_given_is_not_touched(
    keep: list[tuple[float, float]],
) -> None:
    part = given_part("inpaint", keep, CONFIG, SAMPLES)
    draw = torch.Generator().manual_seed(0)
    video, audio = torch.rand(2, 17, 3, 8, 8, generator=draw), torch.randn(2, 1, SAMPLES, generator=draw)
    other_video, other_audio = video.clone(), audio.clone()
    other_video[:, ~part.frames] = 9.0
    other_audio[..., ~part.samples] = 9.0
    seen, heard = hidden_video(video, part.frames), hidden_audio(audio, part.samples)
    assert torch.equal(seen, hidden_video(other_video, part.frames))
    assert torch.equal(heard, hidden_audio(other_audio, part.samples))
    assert torch.equal(seen[:, part.frames], video[:, part.frames])
    assert torch.equal(heard[..., part.samples], audio[..., part.samples])
    assert seen.max() <= 1.0  # a blend of what is given
    assert heard.abs().max() <= audio.abs().max()


def test_hidden_sound_goes_on_without_a_step() -> None:
    part = given_part("inpaint", [(0, 0.5), (1.3, 1.7)], CONFIG, SAMPLES)
    tone = torch.sin(2 * torch.pi * 100 * torch.arange(SAMPLES) / 16000)[None, None]
    steps = hidden_audio(tone, part.samples).diff().abs()
    assert steps.max() <= 1.01 * tone.diff().abs().max()


def test_made_sound_meets_given_sound_without_a_click() -> None:
    part = given_part("continue", [(0, 0.5)], CONFIG, SAMPLES)
    tone = (0.5 * np.sin(2 * np.pi * 100 * np.arange(SAMPLES) / 16000)).astype(np.float32)[None]
    video = np.zeros((17, 8, 8, 3), np.uint8)
    made = tone + 0.2  # a decoder that is off by a constant
    put_in_place(video, made, GivenClip(np.full_like(video, 7), tone, {}), part, 16000)
    assert np.array_equal(made[:, part.samples], tone[:, part.samples])
    assert np.abs(np.diff(made)).max() < 1.2 * np.abs(np.diff(tone)).max()
    assert made[0, -1] == pytest.approx(tone[0, -1] + 0.2)
    assert (video[part.frames] == 7).all()
    assert (video[~part.frames] == 0).all()


def condition(**options: object) -> ConditionRecipe:
    return ConditionRecipe.model_validate({"task": "inpaint", "source": "x", "keep": "0-0.5,1.3-1.7"} | options)


@pytest.mark.parametrize(
    ("drop", "wanted"),
    [
        ("all", [[1, 1, 0, 0, 1], [1, 1, 0, 0, 1]]),
        ("video", [[1, 1, 0, 0, 1], [0, 0, 0, 0, 0]]),
        ("audio", [[0, 0, 0, 0, 0], [1, 1, 0, 0, 1]]),
        ("1.3-1.7", [[0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]),
    ],
)
def test_guidance_drops_a_modality_or_a_time(drop: str, wanted: list[list[int]]) -> None:
    part = given_part("inpaint", [(0, 0.5), (1.3, 1.7)], CONFIG, SAMPLES)
    assert dropped(condition(guidance=1.0, drop=drop), part.slices, CONFIG).int().tolist() == wanted


def test_guidance_that_drops_nothing_is_refused() -> None:
    part = given_part("inpaint", [(0, 0.5), (1.3, 1.7)], CONFIG, SAMPLES)
    with pytest.raises(UserError, match=r"gives nothing there; guidance needs what it drops"):
        dropped(condition(guidance=1.0, drop="0.5-0.9"), part.slices, CONFIG)
    with pytest.raises(ValueError, match=r"drop video is of guidance"):
        condition(drop="video")
