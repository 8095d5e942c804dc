"""Frames and samples as OpenCV and ffmpeg give them, bit for bit where that is what they are for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import wavfile

from avbench import media_native
from avbench.errors import MediaError
from avbench.media import encode, ffmpeg_path


def opencv_frames(path: Path) -> tuple[list[np.ndarray], float]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    return frames, capture.get(cv2.CAP_PROP_FPS)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (12, 9, 12, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    audio = rng.uniform(-0.5, 0.5, (2, 19_200)).astype(np.float32)
    path = tmp_path_factory.mktemp("native") / "clip.mp4"
    encode(path, video, 30, audio, 48_000)
    return path


def test_frames_are_those_of_opencv_bit_for_bit(clip: Path) -> None:
    frames = list(media_native.native_frames(clip))
    expected, fps = opencv_frames(clip)
    np.testing.assert_array_equal(frames, expected)
    assert media_native.native_fps(clip) == fps == 30.0
    with media_native.native_picture(clip) as (again, stated_fps):
        np.testing.assert_array_equal(list(again), expected)
        assert stated_fps == fps


def assert_samples_of_wav(clip: Path, wav: Path) -> None:
    subprocess.run([str(ffmpeg_path()), "-v", "error", "-i", str(clip), str(wav)], check=True)
    rate, levels = wavfile.read(wav)
    samples, native_rate = media_native.native_samples(clip)
    assert native_rate == rate
    np.testing.assert_array_equal(samples, levels.reshape(len(levels), -1).T / np.float32(32768))


def test_samples_are_those_of_an_extracted_wav(clip: Path, tmp_path: Path) -> None:
    assert_samples_of_wav(clip, tmp_path / "clip.wav")


def test_what_a_file_lacks_is_an_error(tmp_path: Path) -> None:
    encode(tmp_path / "mute.mp4", np.zeros((3, 16, 16, 3), np.uint8), 10, None, 8000)
    with pytest.raises(MediaError, match=r"mute\.mp4: has no sound"):
        media_native.native_samples(tmp_path / "mute.mp4")
    with pytest.raises(MediaError, match="no such file"):
        media_native.native_fps(tmp_path / "absent.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mmdiff_aist_51s.mp4", "ossia_graph_vfr_15s.mp4", "timecode_42s.mp4"])
def test_samples_of_real_clips_are_those_of_an_extracted_wav(name: str, media_assets: Path, tmp_path: Path) -> None:
    assert_samples_of_wav(media_assets / name, tmp_path / "clip.wav")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mmdiff_aist_51s.mp4", "nasa_13013_16s.mp4", "popcorn_test_64s.webm"])
def test_frames_of_real_clips_are_those_of_opencv(name: str, media_assets: Path) -> None:
    expected, fps = opencv_frames(media_assets / name)
    frames = media_native.native_frames(media_assets / name)
    assert all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True))
    assert media_native.native_fps(media_assets / name) == fps
