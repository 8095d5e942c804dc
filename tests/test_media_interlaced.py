"""Interlaced sources: one whole picture per frame, at the time of its first half, without combs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import media_beacon as beacon
import numpy as np
import pytest

from avbench import media, media_native
from avbench.recipe import SegmentRecipe

SIZE = (320, 240)
KINDS = {
    "25i.mp4": (Fraction(25), ("-c:v", "libx264", "-x264opts", "tff=1", "-crf", "5", "-c:a", "aac")),
    "29.97i.ts": (Fraction(30000, 1001), ("-c:v", "mpeg2video", "-b:v", "9M", "-c:a", "mp2")),
}

PLAIN = ("-c:v", "libx264", "-crf", "5", "-c:a", "aac")


def render(path: Path, *codecs: str, rate: Fraction, interlaced: bool) -> Path:
    """Bars that run sideways, in pictures at ``rate``; interlaced they stand elsewhere in each half of a picture."""
    width, height = SIZE
    bars = f"nullsrc=s={width}x{height}:r=1:d=1,geq=lum='128+100*sin(X/12.732)':cb=128:cr=128"
    moving = f"loop=-1:1,fps={2 * rate},setpts=N/FRAME_RATE/TB,trim=end_frame={4 * rate.numerator // rate.denominator}"
    moving += ",scroll=h=0.02," + ("interlace=scan=tff:lowpass=off" if interlaced else "select='not(mod(n,2))'")
    options = ("-flags", "+ildct+ilme") if interlaced else ()
    sound = ("-f", "lavfi", "-i", "anoisesrc=d=2:seed=1")
    pixels = ("-vf", "format=yuv420p", "-r", str(rate))
    beacon.run("-f", "lavfi", "-i", f"{bars},{moving}", *sound, *pixels, *options, *codecs, str(path))
    return path


def combs(pictures: np.ndarray) -> float:
    """How far each line stands from the lines above and below it, grey levels."""
    lines = pictures.astype(float)
    return float(np.abs(lines[:, 1:-1] - (lines[:, :-2] + lines[:, 2:]) / 2).mean())


@pytest.mark.parametrize("name", KINDS)
def test_a_clip_of_interlaced_video_has_no_combs(name: str, tmp_path: Path) -> None:
    rate, codecs = KINDS[name]
    source = render(tmp_path / name, *codecs, rate=rate, interlaced=True)
    woven = np.stack(list(media_native.native_frames(source)))
    media.cut(source, tmp_path / "clip.mp4", 0.2, SegmentRecipe(clip_s=1.0, width=SIZE[0], height=SIZE[1], crf=5))
    clip = media.decode_video(tmp_path / "clip.mp4")
    assert combs(woven) > 5
    assert combs(clip) < 0.2 * combs(woven)
    # every frame is there, at its own time, and none is late by the frame that the filter looks ahead
    plain = render(
        tmp_path / "plain.mp4", *KINDS["25i.mp4"][1][:2], "-crf", "5", "-c:a", "aac", rate=rate, interlaced=False
    )
    whole, expected = media.decode_video(source), media.decode_video(plain)
    assert len(whole) == len(woven)
    n = min(len(whole), len(expected)) - 2
    errors = [np.abs(whole[1:n].astype(int) - expected[1 + k : n + k]).mean() for k in (-1, 0, 1)]
    assert np.argmin(errors) == 1
    assert errors[1] < 2


def test_progressive_video_passes_untouched(tmp_path: Path) -> None:
    source = render(tmp_path / "a.mp4", *PLAIN, rate=Fraction(25), interlaced=False)
    with_native = list(media_native.native_frames(source))
    assert len(media.decode_video(source)) == len(with_native)
