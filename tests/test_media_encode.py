"""Encoding: the same bytes again, nothing half-written, and every fault as the right kind of error."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from avbench import _media_write, media
from avbench.errors import EnvironmentFault, MediaError, UserError

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 100, 50)]


def sounds(seconds: float = 1.0) -> np.ndarray:
    """Stereo noise that 16 bits hold exactly."""
    values = np.random.default_rng(0).integers(-32768, 32767, (2, int(48_000 * seconds)))
    return (values / 32768).astype(np.float32)


def black(n: int = 10, size: int = 32) -> np.ndarray:
    return np.zeros((n, size, size, 3), np.uint8)


def test_colours_come_back(tmp_path: Path) -> None:
    video = np.repeat(np.array(COLOURS, np.uint8)[None, None, :, None], 32, 3).reshape(1, 1, -1, 3).repeat(32, 1)
    media.encode(tmp_path / "a.mp4", video.repeat(3, 0), 25, None, 48_000, crf=1)
    back = media.decode_video(tmp_path / "a.mp4")
    middles = slice(16, None, 32)
    assert np.abs(back[1, 16, middles].astype(int) - video[0, 16, middles]).max() <= 3
    # readers that ignore the colour tag take BT.601
    with av.open(str(tmp_path / "a.mp4")) as container:
        untagged = next(container.decode(video=0)).reformat(format="rgb24", src_colorspace="ITU601").to_ndarray()
    assert np.abs(untagged[16, middles].astype(int) - video[0, 16, middles]).max() <= 3


def test_flac_gives_every_sample_back(tmp_path: Path) -> None:
    media.encode(tmp_path / "a.mp4", black(), 10, sounds(), 48_000, audio_codec="flac")
    np.testing.assert_array_equal(media.decode_audio(tmp_path / "a.mp4"), sounds())


def test_sound_beyond_full_scale_is_clipped(tmp_path: Path) -> None:
    loud = np.stack([np.full(48_000, 1.7), np.full(48_000, -1.7)]).astype(np.float32)
    media.encode(tmp_path / "a.mp4", black(), 10, loud, 48_000, audio_codec="flac")
    np.testing.assert_allclose(media.decode_audio(tmp_path / "a.mp4")[:, 100], [1, -1], atol=1e-4)


@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_the_same_input_gives_the_same_bytes(codec: _media_write.AudioCodec, tmp_path: Path) -> None:
    video = np.random.default_rng(0).integers(0, 255, (10, 32, 32, 3), np.uint8)
    for name in ("a.mp4", "b.mp4"):
        media.encode(tmp_path / name, video, 10, sounds(), 48_000, audio_codec=codec)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_fractional_rate_is_kept_exactly(tmp_path: Path) -> None:
    media.encode(tmp_path / "a.mp4", black(31), 30000 / 1001, None, 48_000)
    _, starts_s = media.timeline(tmp_path / "a.mp4")
    assert starts_s == pytest.approx([k * 1001 / 30000 for k in range(31)], abs=1e-9)


@pytest.mark.parametrize(
    ("video", "audio", "message"),
    [
        (black().astype(np.float32), None, "must be uint8"),
        (black()[..., :2], None, "must be uint8"),
        (black()[:0], None, "must be uint8"),
        (black()[:, :31], None, "even width and height, they are 32 x 31"),
        (black(), np.zeros((3, 100), np.float32), "1 or 2 channels"),
        (black(), np.zeros(100, np.float32), "1 or 2 channels"),
        (black(), np.full((1, 100), np.nan, np.float32), "NaN or infinite"),
    ],
)
def test_wrong_input_is_named(video: np.ndarray, audio: np.ndarray | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        media.encode(tmp_path / "a.mp4", video, 10, audio, 48_000)
    assert not list(tmp_path.iterdir())


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    """An ffmpeg that reads a little, complains and gives up."""
    program = folder / "ffmpeg"
    program.write_text(f'#!/bin/sh\nhead -c 100 > /dev/null\necho "{message}" >&2\nexit 228\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    _media_write.ffmpeg_path.cache_clear()


@pytest.fixture(autouse=True)
def _forget_ffmpeg() -> None:
    yield
    _media_write.ffmpeg_path.cache_clear()


def test_a_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    fake_ffmpeg(tmp_path / "bin", monkeypatch, "[out#0/mp4] Error writing trailer: No space left on device")
    with pytest.raises(EnvironmentFault, match=r"a\.mp4: the disk is full"):
        media.encode(tmp_path / "a.mp4", black(200, 64), 10, sounds(20.0), 48_000)
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_what_ffmpeg_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    fake_ffmpeg(tmp_path / "bin", monkeypatch, "Unknown encoder libx264")
    with pytest.raises(MediaError, match=r"a\.mp4: ffmpeg could not write it \(Unknown encoder libx264\)"):
        media.encode(tmp_path / "a.mp4", black(), 10, None, 48_000)


def test_the_system_ffmpeg_comes_first_then_the_bundled_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ffmpeg(tmp_path, monkeypatch, "")
    assert media.ffmpeg_path() == str(tmp_path / "ffmpeg")
    monkeypatch.setenv("PATH", "")
    _media_write.ffmpeg_path.cache_clear()
    assert "imageio_ffmpeg" in media.ffmpeg_path()


def test_an_error_in_the_pictures_leaves_nothing_behind(tmp_path: Path) -> None:
    def pictures():
        yield black()[0]
        raise MediaError("the source broke off")

    spec = _media_write.Mp4(32, 32, media.frame_rate(10), 48_000, 20, "ultrafast", "flac")
    with pytest.raises(MediaError, match="broke off"):
        _media_write.write_mp4(tmp_path / "a.mp4", pictures(), sounds(), spec)
    assert not list(tmp_path.iterdir())
