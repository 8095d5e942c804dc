"""Fingerprints survive what uploads do to a recording, and tell recordings apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, signal

from avbench import media
from avbench.filters import _fingerprints
from avbench.filters._fingerprints import Prints, likeness
from avbench.filters._signals import ClipSignals
from avbench.filters.duplicate import Filter
from tests.filters.film import FPS, RATE, film

BITS = Filter().max_bits


def signals(video: np.ndarray, audio: np.ndarray, *, rate: int = RATE) -> ClipSignals:
    height, width = video.shape[1:3]
    return ClipSignals(width, height, len(video) / FPS, video, float(FPS), audio.astype(np.float32), rate, video[:1])


def prints(video: np.ndarray, audio: np.ndarray, *, rate: int = RATE) -> Prints:
    return Prints.of(signals(video, audio, rate=rate))


@pytest.fixture(scope="module")
def clip() -> Prints:
    return prints(*film(1, 0, 16))


def test_a_clip_is_wholly_like_itself_at_no_shift(clip: Prints) -> None:
    like = likeness(clip, clip, BITS)
    assert (like.both, like.sound, like.picture, like.shift_s) == (1, 1, 1, 0)
    assert like.views >= 3


def test_text_gives_the_same_prints_and_is_short(clip: Prints) -> None:
    text = clip.to_text()
    again = Prints.from_text(text)
    np.testing.assert_array_equal(again.hashes, clip.hashes)
    np.testing.assert_array_equal(again.peaks, clip.peaks)
    assert sum(map(len, text.values())) < 16 * 110


@pytest.mark.parametrize("shift_s", [3.0, 5.13, 7.77])
def test_a_cut_that_begins_at_another_time_is_found_where_it_overlaps(clip: Prints, shift_s: float) -> None:
    like = likeness(prints(*film(1, shift_s, 16)), clip, BITS)
    overlap = 1 - shift_s / 16
    for share in (like.both, like.sound, like.picture):
        assert overlap - 0.13 <= share <= overlap + 0.07
    assert like.shift_s == pytest.approx(shift_s, abs=0.04)


def _smaller(video: np.ndarray) -> np.ndarray:
    return np.stack([ndimage.zoom(frame, (0.5, 0.45, 1), order=1) for frame in video])


def _barred(video: np.ndarray) -> np.ndarray:
    return np.pad(video, ((0, 0), (20, 20), (8, 8), (0, 0)))


def _noisy(video: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(5).normal(0, 8, video.shape)
    return (0.8 * video + 20 + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [_smaller, _barred, _noisy])
def test_size_bars_noise_and_brightness_leave_the_picture_alike(clip: Prints, change) -> None:
    video, audio = film(1, 0, 16)
    assert likeness(prints(change(video), audio), clip, BITS).picture >= 0.9


def _quiet(audio: np.ndarray) -> tuple[np.ndarray, int]:
    return 0.05 * audio, RATE


def _resampled(audio: np.ndarray) -> tuple[np.ndarray, int]:
    return signal.resample_poly(audio, 441, 320, axis=1), 22050


def _hissing(audio: np.ndarray) -> tuple[np.ndarray, int]:
    return audio + np.random.default_rng(6).normal(0, 0.01, audio.shape), RATE


def _dull(audio: np.ndarray) -> tuple[np.ndarray, int]:
    return signal.sosfilt(signal.butter(2, 2500, fs=RATE, output="sos"), audio, axis=1), RATE


@pytest.mark.parametrize("change", [_quiet, _resampled, _hissing, _dull])
def test_volume_rate_noise_and_a_filter_leave_the_sound_alike(clip: Prints, change) -> None:
    video, audio = film(1, 0, 16)
    changed, rate = change(audio)
    assert likeness(prints(video, changed, rate=rate), clip, BITS).sound >= 0.8


def test_another_film_is_not_alike(clip: Prints) -> None:
    like = likeness(prints(*film(2, 0, 16)), clip, BITS)
    assert like.both == 0
    assert max(like.sound, like.picture) <= 0.13
    assert Filter().what(like) == ""


def test_sound_alone_and_picture_alone_are_told_apart(clip: Prints) -> None:
    (video, audio), (other_video, other_audio) = film(1, 0, 16), film(2, 0, 16)
    song = likeness(prints(other_video, audio), clip, BITS)
    assert (Filter().what(song), song.both) == ("sound", 0)
    images = likeness(prints(video, other_audio), clip, BITS)
    assert (Filter().what(images), images.both) == ("picture", 0)


def test_picture_and_sound_that_come_apart_by_seconds_are_not_both(clip: Prints) -> None:
    video, audio = film(1, 0, 16)
    like = likeness(prints(video, np.roll(audio, 5 * RATE, axis=1)), clip, BITS)
    assert like.sound > 0.5
    assert like.picture == 1
    assert like.both <= 0.13


def test_a_still_picture_alone_joins_nothing() -> None:
    video, audio = film(1, 0, 16)
    still = np.repeat(video[:1], len(video), axis=0)
    like = likeness(prints(still, audio), prints(still, film(2, 0, 16)[1]), BITS)
    assert (like.picture, like.views) == (1, 1)
    assert Filter().what(like) == ""
    assert Filter(min_views=1).what(like) == "picture"


def test_black_and_silence_are_like_nothing() -> None:
    video, audio = film(1, 0, 4)
    dark = prints(video * 0 + 3, audio * 0)
    assert not dark.hashes.any()
    assert not len(dark.peaks)
    like = likeness(dark, dark, BITS)
    assert (like.both, like.sound, like.picture, like.views) == (0, 0, 0, 0)


def test_a_clip_without_sound_and_one_shorter_than_a_frame_of_the_spectrogram_have_no_peaks() -> None:
    assert not len(_fingerprints.sound_peaks(np.zeros((0, 0), np.float32), 0))
    assert not len(_fingerprints.sound_peaks(np.ones((1, 500), np.float32), 8000))


def test_landmarks_join_each_peak_with_the_next_five_within_reach() -> None:
    steps, bins = (
        np.array([10, 11, 20, 30, 40, 50, 60, 70, 300]),
        np.array([100, 100, 130, 90, 400, 100, 100, 100, 100]),
    )
    keys, begins = _fingerprints.landmarks((steps << 9 | bins).astype(np.uint32))
    of_first = sorted(
        (int(key >> 6 & 127) - 64, int(key & 63)) for key, step in zip(keys, begins, strict=True) if step == 10
    )
    # 11 is too near in time, 40 too far in pitch, 300 too far in time
    assert of_first == [(-10, 20), (0, 40), (0, 50), (0, 60), (30, 10)]
    assert keys.max() < 1 << _fingerprints.KEY_BITS


@pytest.mark.slow
def test_a_real_film_encoded_twice_is_one_and_other_recordings_are_not(media_assets: Path) -> None:
    def read(name: str) -> Prints:
        path, rate = media_assets / name, media.probe(media_assets / name).sample_rate_hz
        video = media.decode_video(path, fps=FPS, size=(160, 90), fit="stretch", n_frames=12 * FPS)
        return prints(video, media.decode_audio(path, n_samples=12 * rate), rate=rate)

    webm, ogv = read("popcorn_test_64s.webm"), read("popcorn_test_64s.ogv")
    assert Filter().what(likeness(webm, ogv, BITS)) == "picture and sound"
    for name in ("myrkur_gameplay_33s.mp4", "nasa_13013_16s.mp4"):
        other = read(name)
        assert [Filter().what(likeness(*pair, BITS)) for pair in ((webm, other), (other, webm))] == ["", ""], name


def test_an_encoded_file_has_the_prints_of_what_went_in(tmp_path: Path, clip: Prints) -> None:
    video, audio = film(1, 0, 16)
    media.encode(tmp_path / "a.mp4", video, FPS, audio, RATE, audio_codec="aac")
    like = likeness(Prints.of(ClipSignals.decode(tmp_path / "a.mp4")), clip, BITS)
    assert like.both >= 0.9
