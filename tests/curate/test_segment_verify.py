"""Reading back: lags are measured to a fraction of a sample, and a clip of another moment is never published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import media_beacon as beacon
import numpy as np
import pytest
from curate.test_segment_stage import add_source, check, film, recipe

from avbench import media
from avbench.curate import _lag
from avbench.curate._verify import EXACT, NO_SOUND_COMPARED, floor_db, psnr_db
from avbench.curate.segment import segment
from avbench.errors import MediaError
from avbench.recipe import SegmentRecipe
from avbench.workspace import Workspace


def tones(times_s: np.ndarray) -> np.ndarray:
    """The same sound at any time and rate: sixty tones between 100 Hz and 4 kHz."""
    rng = np.random.default_rng(1)
    sound = sum(np.sin(2 * np.pi * rng.uniform(100, 4000) * times_s + rng.uniform(0, 6)) for _ in range(60))
    return (0.02 * sound).astype(np.float32)


@pytest.mark.parametrize("lag_s", [0.0, 0.00031, -0.0042, 0.3])
@pytest.mark.parametrize(("clip_hz", "source_hz"), [(48_000, 44_100), (16_000, 48_000), (16_000, 11_025)])
def test_the_lag_is_known_to_a_fraction_of_a_sample(lag_s: float, clip_hz: int, source_hz: int) -> None:
    begin_s = -_lag.SEARCH_S - 1e-5
    source = tones(np.arange(4 * source_hz) / source_hz + begin_s)
    clip = tones(np.arange(3 * clip_hz) / clip_hz - lag_s)
    found = _lag.measure(clip, clip_hz, source, source_hz, begin_s)
    assert found.lag_s == pytest.approx(lag_s, abs=2e-6)
    assert found.match > 0.98


def test_silence_steady_tones_and_lost_sound_are_told_apart() -> None:
    times_s = np.arange(4 * 16_000) / 16_000 - 0.5
    sine = (0.1 * np.sin(2 * np.pi * 441.3 * times_s)).astype(np.float32)
    steady = _lag.measure(sine[8_000:56_000], 16_000, sine, 16_000, -0.5)
    assert (steady.lag_s, steady.silent, steady.one_sided) == (None, False, False)
    nothing = np.zeros_like(sine)
    assert _lag.measure(nothing[8_000:56_000], 16_000, nothing, 16_000, -0.5).silent
    assert _lag.measure(nothing[8_000:56_000], 16_000, sine, 16_000, -0.5).one_sided


def test_a_louder_sound_beside_the_true_one_does_not_win() -> None:
    rng = np.random.default_rng(0)
    quiet = 0.01 * rng.standard_normal(3 * 16_000)
    source = np.concatenate([8 * quiet[7_000:15_000], quiet, 8 * quiet[-8_000:]]).astype(np.float32)
    assert _lag.measure(quiet.astype(np.float32), 16_000, source, 16_000, -0.5).lag_s == pytest.approx(0, abs=1e-5)


SETTINGS: dict[str, Any] = {"width": beacon.WIDTH, "height": beacon.HEIGHT, "sample_rate_hz": 48_000, "channels": 2}


def moved(clip: Path, target: Path, late_s: float) -> Path:
    """The clip with its sound moved, its counts and time stamps as they were."""
    samples = media.decode_audio(clip)
    shifted = np.roll(samples, round(late_s * 48_000), axis=1)
    media.encode(target, media.decode_video(clip), 30, shifted, 48_000, audio_codec="flac", crf=4)
    return target


def test_what_was_measured_is_told(tmp_path: Path) -> None:
    source = beacon.make(tmp_path / "a.mp4", seconds=4)
    for codec, raw_s in (("flac", 0.0), ("aac", 1024 / 48_000)):
        asked = recipe(audio_codec=codec, **SETTINGS)
        media.cut(source, tmp_path / "clip.mp4", 1.0, asked)
        found = check(tmp_path / "clip.mp4", asked, source, 1.0)
        assert found.verdict == EXACT
        assert found.lag_s == pytest.approx(0, abs=2e-5)
        assert found.picture_psnr_db > floor_db(20)
        assert found.av_offset_s == 0
        # the priming of AAC is hidden by an edit list: who ignores it hears the sound that much later
        assert found.raw_av_offset_s == pytest.approx(raw_s, abs=1e-6)


@pytest.mark.parametrize("late_s", [0.005, -0.005])
def test_a_small_lag_is_told_with_its_sign(late_s: float, tmp_path: Path) -> None:
    source, clip = beacon.make(tmp_path / "a.mp4", seconds=4), tmp_path / "clip.mp4"
    media.cut(source, clip, 1.0, recipe(**SETTINGS))
    found = check(moved(clip, tmp_path / "late.mp4", late_s), recipe(**SETTINGS), source, 1.0)
    assert found.lag_s == pytest.approx(late_s, abs=1e-4)


def test_sound_half_a_frame_late_is_refused(tmp_path: Path) -> None:
    source, clip = beacon.make(tmp_path / "a.mp4", seconds=4), tmp_path / "clip.mp4"
    media.cut(source, clip, 1.0, recipe(**SETTINGS))
    with pytest.raises(MediaError, match=r"late\.mp4: its sound is \+20\.00 ms late .* half a frame \(16\.67 ms\)"):
        check(moved(clip, tmp_path / "late.mp4", 0.02), recipe(**SETTINGS), source, 1.0)


@pytest.mark.parametrize("frames", [1, -1, 20])
def test_a_picture_of_another_moment_is_refused(frames: int, tmp_path: Path) -> None:
    source, clip = beacon.make(tmp_path / "a.mp4", seconds=4), tmp_path / "clip.mp4"
    media.cut(source, clip, 1.0, recipe(**SETTINGS))
    with pytest.raises(MediaError, match=r"its first picture is not the source's at [\d.]+ s: .* dB"):
        check(clip, recipe(**SETTINGS), source, 1.0 + frames / 30)


def test_a_picture_that_is_wrong_further_in_is_refused(tmp_path: Path) -> None:
    source, clip = beacon.make(tmp_path / "a.mp4", seconds=4), tmp_path / "clip.mp4"
    media.cut(source, clip, 1.0, recipe(**SETTINGS))
    pictures = media.decode_video(clip)
    pictures[1:] = 255 - pictures[1:]
    media.encode(tmp_path / "bad.mp4", pictures, 30, media.decode_audio(clip), 48_000, audio_codec="flac", crf=4)
    with pytest.raises(MediaError, match=r"its picture \d+ is not the source's"):
        check(tmp_path / "bad.mp4", recipe(**SETTINGS), source, 1.0)


@pytest.mark.parametrize("spoil", ["silent", "other"])
def test_sound_of_something_else_is_refused(spoil: str, tmp_path: Path) -> None:
    source, clip = beacon.make(tmp_path / "a.mp4", seconds=4), tmp_path / "clip.mp4"
    media.cut(source, clip, 1.0, recipe(**SETTINGS))
    sound = np.zeros((2, 48_000), np.float32)
    if spoil == "other":
        sound += 0.2 * np.random.default_rng(5).standard_normal(48_000).astype(np.float32)
    media.encode(tmp_path / "bad.mp4", media.decode_video(clip), 30, sound, 48_000, audio_codec="flac", crf=4)
    with pytest.raises(MediaError, match=r"its sound is"):
        check(tmp_path / "bad.mp4", recipe(**SETTINGS), source, 1.0)


def test_the_index_carries_the_verdict_and_a_silent_source_says_so(tmp_path: Path) -> None:
    ws = Workspace(tmp_path / "set")
    frames = np.random.default_rng(0).integers(0, 255, (60, 40, 64, 3)).astype(np.uint8)
    media.encode(tmp_path / "b.mp4", frames, 30, np.zeros((1, 32_000), np.float32), 16_000, audio_codec="flac")
    add_source(ws, "a", film(tmp_path / "a.mp4", 2.0))
    add_source(ws, "b", tmp_path / "b.mp4")
    # pictures of pure noise are the worst an encoder can meet: the floor stands below them
    assert segment(ws, ["a", "b"], recipe()).failed == {}
    (a,), (b,) = (ws.record("segment", name)["clips"] for name in "ab")  # type: ignore[index]
    assert (a["verdict"], b["verdict"], b["lag_s"]) == (EXACT, NO_SOUND_COMPARED, None)
    assert abs(a["lag_s"]) < 1e-4
    assert (a["av_offset_s"], a["raw_av_offset_s"]) == (0, 0)


def test_a_lag_beyond_half_a_frame_is_a_failed_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws = Workspace(tmp_path / "set")
    add_source(ws, "a", film(tmp_path / "a.mp4", 4.0))
    original = media.read_audio

    def late(path: Path, start: Any, *rest: Any) -> Any:
        return original(path, start + (1 if start > 1 else 0) * type(start)(1, 40), *rest)

    monkeypatch.setattr(media, "read_audio", late)
    summary = segment(ws, ["a"], recipe())
    assert list(summary.failed) == ["a_0001", "a_0002"]
    assert "its sound is -25.00 ms late" in summary.failed["a_0001"]
    assert [file.name for file in ws.clips.iterdir()] == ["a_0000.mp4"]


def test_picture_agreement_is_of_brightness_in_decibels() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert psnr_db(grey, grey) == 99.0
    assert psnr_db(grey, grey + 10) == pytest.approx(20 * np.log10(25.5), abs=1e-3)
    assert floor_db(51) < floor_db(20)


def test_h265_clips_read_back_and_come_out_the_same(tmp_path: Path) -> None:
    source = beacon.make(tmp_path / "a.mp4", seconds=3)
    asked: SegmentRecipe = recipe(video_codec="h265", **SETTINGS)
    for name in ("one.mp4", "two.mp4"):
        media.cut(source, tmp_path / name, 0.5, asked)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    assert check(tmp_path / "one.mp4", asked, source, 0.5).verdict == EXACT
    assert media.probe(tmp_path / "one.mp4").video_codec == "hevc"


def test_crf_0_gives_back_every_picture(tmp_path: Path) -> None:
    source = beacon.make(tmp_path / "a.mp4", seconds=3)
    asked = recipe(crf=0, **SETTINGS)
    media.cut(source, tmp_path / "clip.mp4", 0.5, asked)
    assert check(tmp_path / "clip.mp4", asked, source, 0.5).picture_psnr_db > 50
