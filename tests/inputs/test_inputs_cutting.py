"""Which windows a protocol takes of a clip, and that picture and sound of each begin at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import media_beacon as beacon
import numpy as np
import pytest
from folders import BOTH, PICTURE, SOUND, film

from avbench.errors import MediaError
from avbench.inputs import FileItem, Window
from avbench.protocol import Protocol

NUMBERED = BOTH.model_copy(update={"size": 160, "sample_rate_hz": 48_000})
"""Large enough to read the number of a frame."""


def windows(path: Path, rules: Protocol, **changes: Any) -> list[Window]:
    return list(FileItem(path).windows(rules.model_copy(update=changes)))


def numbers(window: Window) -> list[int]:
    return [beacon.number(picture[32:128]) for picture in window.signals.video]


def heard_at_s(window: Window) -> float:
    """Where in the source the sound of a window begins."""
    return beacon.lag(beacon.sound(7.0), window.signals.audio[0].astype(float)) / beacon.RATE_HZ


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """7 s at 30 fps, 70 frames on a grid of 10 fps: grid frame k shows frame 3 k."""
    return beacon.make(tmp_path_factory.mktemp("numbered") / "n.mp4")


@pytest.mark.parametrize(
    ("policy", "starts"), [("first", [0]), ("centre", [27]), ("tile", [0, 16, 32, 48]), ("overlap", list(range(55)))]
)
def test_windows_begin_where_the_protocol_says_and_sound_begins_with_them(
    policy: str, starts: list[int], numbered: Path
) -> None:
    found = windows(numbered, NUMBERED, windows=policy)
    assert [window.window_id for window in found] == [f"n@{start}" for start in starts]
    for window, start in list(zip(found, starts, strict=True))[:: max(1, len(found) // 4)]:
        assert window.start_s == pytest.approx(start / 10)
        assert numbers(window) == [3 * (start + k) for k in range(16)]
        assert window.signals.audio.shape == (1, 76_800)
        assert heard_at_s(window) == pytest.approx(start / 10, abs=0.002)
        assert window.native_fps == pytest.approx(30)


def test_a_random_window_depends_on_seed_and_name_alone(numbered: Path, tmp_path: Path) -> None:
    def starts(path: Path) -> list[float]:
        return [windows(path, NUMBERED, windows="random", seed=seed)[0].start_s for seed in range(6)]

    found = starts(numbered)
    assert found == starts(numbered)
    assert len(set(found)) > 3
    assert all(0 <= start <= 5.4 for start in found)
    (tmp_path / "other.mp4").write_bytes(numbered.read_bytes())
    assert starts(tmp_path / "other.mp4") != found
    window = windows(numbered, NUMBERED, windows="random")[0]
    assert numbers(window)[0] == round(30 * window.start_s)
    assert heard_at_s(window) == pytest.approx(window.start_s, abs=0.002)


def test_spread_frames_reach_from_the_first_to_the_last(numbered: Path) -> None:
    (window,) = windows(numbered, NUMBERED, windows="spread", fps=None)
    assert numbers(window) == [round(k * 209 / 15) for k in range(16)]
    assert window.signals.fps == pytest.approx(16 / 7)
    assert window.signals.audio.shape == (1, 7 * 48_000)
    (window,) = windows(numbered, NUMBERED, windows="spread", fps=4)
    assert window.signals.audio.shape == (1, 4 * 48_000)
    (window,) = windows(numbered, NUMBERED, windows="spread", fps=None, sound_s=8.0)
    assert window.signals.audio.shape == (1, 8 * 48_000)
    assert not window.signals.audio[0, 7 * 48_000 + 2000 :].any()


def test_a_whole_file_is_one_window(numbered: Path) -> None:
    (window,) = windows(numbered, NUMBERED, windows="whole")
    assert numbers(window) == [3 * k for k in range(70)]
    assert window.signals.audio.shape == (1, 7 * 48_000)
    (window,) = windows(numbered, NUMBERED, windows="whole", fps=None)
    assert numbers(window) == list(range(210))
    assert window.signals.fps == 30
    with pytest.raises(MediaError, match="shorter than one window"):
        windows(numbered, NUMBERED, windows="whole", frames=71)


@pytest.mark.parametrize(("policy", "starts"), [("first", [0]), ("centre", [97]), ("tile", list(range(0, 195, 16)))])
def test_own_frames_are_taken_one_by_one_with_their_own_sound(policy: str, starts: list[int], numbered: Path) -> None:
    found = windows(numbered, NUMBERED, windows=policy, fps=None)
    assert [window.window_id for window in found] == [f"n@{start}" for start in starts]
    for window, start in zip(found, starts, strict=True):
        assert numbers(window) == [start + k for k in range(16)]
        assert window.signals.fps == 30
        assert window.signals.audio.shape == (1, 25_600)
        if start < 150:  # beyond, the correlation cannot tell a late sound from an early one
            assert heard_at_s(window) == pytest.approx(start / 30, abs=0.002)


def test_own_frames_of_a_variable_rate_carry_the_sound_of_their_time(tmp_path: Path) -> None:
    codecs = (*beacon.H264, "-fps_mode", "vfr", *beacon.AAC)
    path = beacon.make(tmp_path / "v.mp4", seconds=7, video_filter="select='lt(n,60)+not(mod(n,3))'", codecs=codecs)
    found = windows(path, NUMBERED, windows="tile", fps=None)
    fast, slow = found[0], found[-1]
    assert fast.notes == slow.notes == ("variable frame rate",)
    assert fast.signals.fps == pytest.approx(30)
    assert slow.signals.fps == pytest.approx(10)
    assert slow.signals.audio.shape[1] == pytest.approx(76_800, abs=48)
    assert numbers(slow)[0] == round(30 * slow.start_s)
    assert heard_at_s(slow) == pytest.approx(slow.start_s, abs=0.002)
    # on a grid the rate of a file does not matter
    (window,) = windows(path, NUMBERED)
    assert numbers(window) == [3 * k for k in range(16)]
    assert not window.notes


def test_only_what_is_needed_is_decoded(tmp_path: Path) -> None:
    mute = film(tmp_path / "mute.mp4", sound=False)
    (window,) = windows(mute, PICTURE)
    assert window.signals.audio.shape == (1, 0)
    with pytest.raises(MediaError, match=r"^mute\.mp4: has no sound$"):
        windows(mute, BOTH)
    with pytest.raises(MediaError, match="has no sound"):
        windows(mute, SOUND)
    (window,) = windows(film(tmp_path / "full.mp4"), SOUND)
    assert window.signals.video.shape == (0, 32, 32, 3)
    assert window.signals.audio.shape == (1, 25_600)


@pytest.mark.parametrize("policy", ["first", "centre", "random", "tile", "overlap", "spread", "whole"])
@pytest.mark.parametrize("fps", [10, None])
def test_a_clip_shorter_than_a_window_is_refused_by_every_policy(policy: str, fps: float, tmp_path: Path) -> None:
    path = film(tmp_path / "short.mp4", frames=8)
    with pytest.raises(
        MediaError, match=r"^short\.mp4: (shorter than one window|.* before the 1.6 s asked for|.*needed)"
    ):
        windows(path, BOTH, windows=policy, fps=fps)


def test_sound_that_ends_early_is_no_window(tmp_path: Path) -> None:
    beacon.make(tmp_path / "a.mp4", seconds=4)
    path = tmp_path / "cut.mp4"
    beacon.run("-i", str(tmp_path / "a.mp4"), "-c", "copy", "-af", "null", "-c:a", "aac", "-af", "atrim=0:2", str(path))
    assert [w.window_id for w in windows(path, BOTH, windows="tile")] == ["cut@0"]
    assert [w.window_id for w in windows(path, BOTH, windows="centre")] == ["cut@2"]
    assert [w.window_id for w in windows(path, PICTURE, windows="tile")] == ["cut@0", "cut@16"]
    for policy in ("whole", "spread"):
        (window,) = windows(path, BOTH, windows=policy, fps=None if policy == "spread" else 10)
        assert window.signals.audio.shape[1] == pytest.approx(32_000, abs=1100)
    with pytest.raises(MediaError, match=r"the sound ends at 2"):
        windows(path, BOTH, frames=30)
    (window,) = windows(path, BOTH, frames=30, sound_s=3.0)
    assert window.signals.audio.shape == (1, 48_000)
    assert not window.signals.audio[0, 33_500:].any()


def test_silence_is_said_and_not_refused(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    beacon.run("-i", str(source), "-c:v", "copy", "-af", "volume=0", str(tmp_path / "silent.mp4"))
    (window,) = windows(tmp_path / "silent.mp4", BOTH)
    assert window.notes == ("silent",)
    assert windows(source, BOTH)[0].notes == ()


def test_the_first_channel_alone(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    left = tmp_path / "left.mp4"
    beacon.run("-i", str(source), "-c:v", "copy", "-af", "pan=stereo|c0=c0|c1=0*c0", "-c:a", "flac", str(left))
    (mean,), (first,) = windows(left, BOTH), windows(left, BOTH, channel="first")
    np.testing.assert_allclose(first.signals.audio, 2 * mean.signals.audio, atol=1e-4)
    np.testing.assert_allclose(first.signals.audio, windows(source, BOTH)[0].signals.audio, atol=1e-4)


def test_a_window_in_the_middle_equals_the_same_window_of_a_tiling(numbered: Path) -> None:
    (centre,) = windows(numbered, NUMBERED, windows="centre")
    same = windows(numbered, NUMBERED, windows="overlap")[27]
    np.testing.assert_array_equal(centre.signals.video, same.signals.video)
    assert np.abs(centre.signals.audio - same.signals.audio).max() < 1e-3
