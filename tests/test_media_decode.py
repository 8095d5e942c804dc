"""Decoding: exact spans of picture and sound, the grid rule, and pictures brought to a size."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import media_beacon as beacon
import numpy as np
import pytest

from avbench import media
from avbench._media_open import Timed
from avbench._media_video import Fit, on_grid
from avbench.errors import MediaError, UserError


def gridded(times_s: list[Fraction], fps: int, n_frames: int | None = None, start: Fraction = Fraction(0)) -> list[int]:
    """Which frame the rule shows at each grid point, for frames at the given times."""
    step = times_s[-1] - times_s[-2] if len(times_s) > 1 else Fraction(1, fps)
    frames: Iterator[Timed] = (Timed(time, step, k) for k, time in enumerate(times_s))
    return [timed.frame for timed in on_grid(Path("a.mp4"), frames, start, Fraction(fps), n_frames)]


def every(rate: int | Fraction, n: int) -> list[Fraction]:
    return [Fraction(k) / rate for k in range(n)]


def test_the_same_rate_changes_nothing() -> None:
    assert gridded(every(30, 20), 30) == list(range(20))


def test_a_divisor_takes_the_frames_of_exactly_those_times() -> None:
    assert gridded(every(60, 12), 30) == [0, 2, 4, 6, 8, 10]
    assert gridded(every(30, 12), 10) == [0, 3, 6, 9]


def test_a_multiple_repeats() -> None:
    assert gridded(every(10, 3), 30) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_time_stamps_in_milliseconds_do_no_harm() -> None:
    rounded = [Fraction(round(k * 1000 / 30), 1000) for k in range(90)]
    assert gridded(rounded, 30)[:90] == list(range(90))


def test_from_25_to_30_repeats_each_fifth() -> None:
    # grid times 0, 33, 67, 100, 133, 167, 200 ms; frames at 0, 40, 80, 120, 160, 200 ms; 20 ms early is not allowed
    assert gridded(every(25, 6), 30) == [0, 1, 2, 2, 3, 4, 5]


@pytest.mark.parametrize("rate", [15, 24, 25, Fraction(24000, 1001), Fraction(30000, 1001), 50, 60, 120])
@pytest.mark.parametrize("fps", [10, 25, 30])
def test_no_picture_is_half_a_frame_early_and_each_is_the_nearest_allowed(rate: Fraction, fps: int) -> None:
    times = every(rate, 200)
    for k, shown in enumerate(gridded(times, fps)):
        now, half = Fraction(k, fps), Fraction(1, 2 * fps)
        allowed = [abs(time - now) for time in times if time - now < half]
        assert times[shown] - now < half
        assert abs(times[shown] - now) == min(allowed)


def test_the_grid_begins_at_the_start_even_between_frames() -> None:
    assert gridded(every(10, 10), 10, start=Fraction(1, 4)) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_late_first_frame_fills_the_time_before_it() -> None:
    assert gridded([Fraction(3, 10), Fraction(4, 10), Fraction(5, 10)], 10) == [0, 0, 0, 0, 1, 2]


def test_the_end_allows_one_frame_and_no_more() -> None:
    assert gridded(every(10, 5), 10, n_frames=6) == [0, 1, 2, 3, 4, 4]
    with pytest.raises(MediaError, match=r"a\.mp4: the video ends at 0\.500 s, before the 0\.7 s"):
        gridded(every(10, 5), 10, n_frames=7)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return beacon.make(tmp_path_factory.mktemp("numbered") / "a.mp4", seconds=5)


@pytest.mark.parametrize("k", [0, 1, 29, 99, 100, 101, 149])
def test_frame_exact_start(numbered: Path, k: int) -> None:
    frames = media.decode_video(numbered, start_s=k / 30, n_frames=1)
    assert beacon.number(frames[0]) == k
    on_the_grid = media.decode_video(numbered, start_s=k / 30, n_frames=1, fps=10)
    assert beacon.number(on_the_grid[0]) == k


def test_frames_on_a_coarser_grid(numbered: Path) -> None:
    frames = media.decode_video(numbered, fps=10, start_s=1.0, n_frames=5)
    assert [beacon.number(image) for image in frames] == [30, 33, 36, 39, 42]


def test_all_frames_without_a_count(numbered: Path) -> None:
    assert [beacon.number(image) for image in media.decode_video(numbered, size=(80, 48))] == list(range(150))
    assert len(media.decode_video(numbered, fps=25, size=(80, 48))) == 125


def test_more_frames_than_there_are(numbered: Path) -> None:
    with pytest.raises(MediaError, match=r"has 150 frames from 0 s on, 151 are needed"):
        media.decode_video(numbered, n_frames=151)
    with pytest.raises(MediaError, match=r"has no picture at or after 9 s"):
        media.decode_video(numbered, start_s=9.0)


def test_empty_theora_packets_cost_no_picture(media_assets: Path) -> None:
    path = media_assets / "popcorn_test_64s.ogv"
    # an eighth of its packets are empty; taken for damage they would make the file unreadable
    assert len(media.decode_video(path, size=(16, 16), fps=24, n_frames=600)) == 600
    twin = media.decode_video(media_assets / "popcorn_test_64s.webm", size=(60, 36), fps=24, n_frames=24, start_s=20.0)
    frames = media.decode_video(path, size=(60, 36), fps=24, n_frames=24, start_s=20.0)
    assert np.abs(frames.astype(int) - twin).mean() < 6  # the same film through another codec


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("letterbox", {"top": 0, "left": 200, "middle": 200}),
        ("stretch", {"top": 200, "left": 200, "middle": 200}),
        ("crop", {"top": 200, "left": 200, "middle": 200}),
    ],
)
def test_fits(fit: Fit, expected: dict[str, int]) -> None:
    wide = np.full((1, 36, 64, 3), 200, np.uint8)
    fitted = media.fit_frames(wide, (48, 48), fit=fit)[0]
    assert fitted.shape == (48, 48, 3)
    points = {"top": fitted[4, 24], "left": fitted[24, 2], "middle": fitted[24, 24]}
    assert {name: round(float(value.mean())) for name, value in points.items()} == pytest.approx(expected, abs=2)


def test_letterbox_keeps_the_aspect_and_centres() -> None:
    wide = np.full((1, 36, 64, 3), 200, np.uint8)
    bright = media.fit_frames(wide, (48, 48))[0].mean(axis=-1) > 100
    assert np.flatnonzero(bright.any(axis=1)).tolist() == list(range(10, 37))  # 27 of 48 rows
    assert bright.any(axis=0).all()


def test_crop_cuts_both_sides_alike() -> None:
    ramp = np.repeat(np.repeat(np.arange(64, dtype=np.uint8)[None, None, :, None] * 4, 32, 1), 3, 3)
    cropped = media.fit_frames(ramp, (32, 32), fit="crop")[0]
    assert cropped[16, 0].mean() == pytest.approx(64, abs=4)
    assert cropped[16, -1].mean() == pytest.approx(188, abs=4)


def test_an_odd_size_and_an_unknown_name() -> None:
    frames = np.zeros((2, 37, 63, 3), np.uint8)
    assert media.fit_frames(frames, (33, 21)).shape == (2, 21, 33, 3)
    with pytest.raises(UserError, match="fit 'pad' is unknown"):
        media.fit_frames(frames, (8, 8), fit="pad")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="resize 'cubic' is unknown"):
        media.fit_frames(frames, (8, 8), resize="cubic")  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", ["aac", "libopus", "libmp3lame", "flac", "libvorbis"])
@pytest.mark.parametrize("start_s", [0.5, 2.0, 3.21])
def test_sound_from_the_middle_equals_the_middle_of_the_sound(codec: str, start_s: float, tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mkv", seconds=5, codecs=(*beacon.H264, "-c:a", codec))
    whole = media.decode_audio(path)
    part = media.decode_audio(path, start_s=start_s, n_samples=48_000)
    assert part.shape == (2, 48_000)
    at = round(start_s * 48_000)
    error = np.abs(part - whole[:, at : at + 48_000])
    assert beacon.lag(whole[0].astype(float), part[0].astype(float)) == pytest.approx(at, abs=0.2)
    # Opus settles over a long time; all others are the same sample for sample
    assert error.max() < (0.02 if codec == "libopus" else 1e-4)


def test_sound_has_exactly_the_samples_asked_for(numbered: Path) -> None:
    assert media.decode_audio(numbered, n_samples=5 * 48_000).shape == (2, 240_000)
    assert media.decode_audio(numbered, sample_rate_hz=16_000, n_samples=80_000, mono=True).shape == (1, 80_000)
    # one codec frame may be missing
    padded = media.decode_audio(numbered, n_samples=240_900)
    assert padded.shape == (2, 240_900)
    assert not padded[:, 240_200:].any()
    with pytest.raises(MediaError, match=r"a\.mp4: the sound ends at 5\.\d+ s, 0\.\d+ s before the 5\.1 s asked for"):
        media.decode_audio(numbered, n_samples=round(5.1 * 48_000))
    with pytest.raises(MediaError, match="no sound at or after 9 s"):
        media.decode_audio(numbered, start_s=9.0)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(44_100, 48_000), (48_000, 16_000), (16_000, 44_100)])
def test_resampling_moves_nothing(rate_in: int, rate_out: int, tmp_path: Path) -> None:
    t_in, t_out = np.arange(2 * rate_in) / rate_in, np.arange(2 * rate_out) / rate_out
    tone = 0.5 * np.sin(2 * np.pi * 440 * t_in)[None].astype(np.float32)
    video = np.zeros((50, 16, 16, 3), np.uint8)
    media.encode(tmp_path / "a.mp4", video, 25, tone, rate_in, audio_codec="flac")
    resampled = media.decode_audio(tmp_path / "a.mp4", sample_rate_hz=rate_out)[0]
    assert len(resampled) == 2 * rate_out
    inner = slice(rate_out // 10, -rate_out // 10)
    # one sample of shift would be an error of 0.5 * 2 pi * 440 / rate = 0.03 or more
    assert np.abs(resampled - 0.5 * np.sin(2 * np.pi * 440 * t_out))[inner].max() < 2e-4
    part = media.decode_audio(tmp_path / "a.mp4", sample_rate_hz=rate_out, start_s=0.5, n_samples=rate_out)[0]
    assert np.abs(part - resampled[rate_out // 2 : rate_out // 2 + rate_out]).max() < 2e-4


def test_mono_is_the_mean(tmp_path: Path) -> None:
    sound = np.stack([np.full(48_000, 0.5), np.full(48_000, -0.25)]).astype(np.float32)
    media.encode(tmp_path / "a.mp4", np.zeros((25, 16, 16, 3), np.uint8), 25, sound, 48_000, audio_codec="flac")
    mono = media.decode_audio(tmp_path / "a.mp4", mono=True)
    assert mono.shape == (1, 48_000)
    np.testing.assert_allclose(mono, 0.125, atol=1e-4)


def test_a_gap_in_the_sound_is_silence_and_moves_nothing(tmp_path: Path) -> None:
    path, torn = beacon.make(tmp_path / "a.mkv", seconds=4), tmp_path / "torn.mkv"
    keep = "noise=drop='between(pts*tb,1.5,2.0)'"
    beacon.run("-i", str(path), "-c", "copy", "-bsf:a", keep, str(torn))
    sound = media.decode_audio(torn, n_samples=4 * 48_000)[0]
    assert not sound[75_000:94_000].any()
    tail = sound[120_000:180_000].astype(float)
    assert beacon.lag(beacon.sound(4), tail) == pytest.approx(120_000, abs=48)


def test_surround_is_mixed_without_clipping(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mp4", seconds=2, channels=6)
    assert media.decode_audio(path).shape[0] == 6
    mono = media.decode_audio(path, mono=True)
    assert np.abs(mono).max() <= 1.0
    assert beacon.lag(beacon.sound(2), mono[0, 24_000:72_000].astype(float)) == pytest.approx(24_000, abs=1)


def test_a_file_full_of_damage_is_refused(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mkv", seconds=4, codecs=("-c:v", "mjpeg", "-c:a", "libvorbis"))
    broken = tmp_path / "broken.mkv"
    beacon.run("-i", str(path), "-c", "copy", "-bsf:a", "noise=amount='if(gt(n,20),1,0)'", str(broken))
    with pytest.raises(MediaError, match=r"broken\.mkv: damaged \(\d+ of \d+ packets"):
        media.decode_audio(broken)
