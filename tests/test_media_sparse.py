"""Leaving frames undecoded changes nothing that is seen: the same bytes, and full decoding where in doubt."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from avbench import _media_open, media
from avbench._media_sparse import NotSparse, Sparse, sparsely
from avbench.recipe import SegmentRecipe

RECIPE = SegmentRecipe(clip_s=2, lead_s=0, fps=30, width=96, height=64, sample_rate_hz=16000, channels=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sparse")


def rendered(folder: Path, rate: str, name: str, *codec: str) -> Path:
    path = folder / name
    if not path.exists():
        picture = f"testsrc2=size=192x128:rate={rate}:duration=5"
        inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=duration=5"]
        subprocess.run([media.ffmpeg_path(), "-v", "error", "-y", *inputs, *codec, str(path)], check=True)
    return path


H264 = ("-c:v", "libx264", "-bf", "3", "-g", "100", "-pix_fmt", "yuv420p")
KINDS = {
    "h264.mp4": ("60", H264),
    "h264.ts": ("60", H264),
    "ntsc.mkv": ("60000/1001", H264),
    "hevc.mp4": ("60", ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none")),
    "part2.avi": ("60", ("-c:v", "mpeg4", "-bf", "2")),
}


def cut(source: Path, start_s: float) -> bytes:
    clip = source.with_name("clip.mp4")
    media.cut(source, clip, start_s, RECIPE)
    return clip.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start_s", [0.0, 1.37])
def test_a_clip_is_the_same_to_the_byte(
    folder: Path, kind: str, start_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate, codec = KINDS[kind]
    source = rendered(folder, rate, kind, *codec)
    assert sparsely(source, Fraction(start_s), Fraction(30), 60) is not None
    sparse = cut(source, start_s)
    monkeypatch.setattr(media, "sparsely", lambda *_: None)
    assert cut(source, start_s) == sparse


def test_frames_that_nothing_needs_are_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = rendered(folder, "60", "h264.mp4", *H264)
    count = 0
    real = _media_open._timed

    def counted(*arguments):
        nonlocal count
        count += 1
        return real(*arguments)

    monkeypatch.setattr(_media_open, "_timed", counted)
    found = sparsely(source, Fraction(0), Fraction(30), 60)
    assert found is not None
    assert len(list(found.frames)) == 60
    assert 60 <= count < 100  # all of them would be 120


def test_a_file_whose_frames_are_all_shown_is_decoded_in_full(folder: Path) -> None:
    assert sparsely(rendered(folder, "30", "thirty.mp4", *H264), Fraction(0), Fraction(30), 60) is None


def test_a_clip_that_reaches_the_end_is_decoded_in_full(folder: Path) -> None:
    assert sparsely(rendered(folder, "60", "h264.mp4", *H264), Fraction(3), Fraction(30), 60) is None


def test_interlaced_pictures_are_decoded_in_full(folder: Path) -> None:
    codec = ("-vf", "setfield=tff", "-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-bf", "2")
    source = rendered(folder, "50", "interlaced.ts", *codec)
    found = sparsely(source, Fraction(0), Fraction(25), 50)
    assert found is not None
    with pytest.raises(NotSparse):
        list(found.frames)
    media.cut(source, folder / "whole.mp4", 0.0, RECIPE.model_copy(update={"fps": 25.0}))


def test_a_surprise_while_decoding_begins_the_clip_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = rendered(folder, "60", "h264.mp4", *H264)
    whole = cut(source, 1.0)

    def broken(*arguments):
        good = sparsely(*arguments)
        assert good is not None

        def frames():
            yield next(good.frames)
            raise NotSparse

        return Sparse(good.t0, frames())

    monkeypatch.setattr(media, "sparsely", broken)
    assert cut(source, 1.0) == whole
