"""Sources of every awkward kind come out right through the stage: counts, pictures, sound.

How `media.cut` treats rates, codecs and late streams is tested beside it; here stand the kinds which only a source as a
whole has, and the verdict that the stage itself reaches.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import media_beacon as beacon
import pytest
from curate.test_segment_stage import add_source, recipe

from avbench import media
from avbench.curate.segment import segment
from avbench.schema import Clip
from avbench.workspace import Workspace

SETTINGS: dict[str, Any] = {
    "width": beacon.WIDTH,
    "height": beacon.HEIGHT,
    "sample_rate_hz": beacon.RATE_HZ,
    "channels": 2,
    "clip_s": 2.0,
    "lead_s": 0.7,
}
SECONDS = 5.0
VP8 = ("-c:v", "libvpx", "-threads", "1", "-b:v", "1M", "-deadline", "realtime", "-cpu-used", "8", "-g", "100")


def copied(source: Path, target: Path, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> Path:
    beacon.run(*before, "-i", str(source), "-map", "0", "-c", "copy", *after, str(target))
    return target


def rotated(folder: Path) -> Path:
    """Stored lying on its side, with a display matrix that sets it upright."""
    side = beacon.make(folder / "side.mp4", seconds=SECONDS, video_filter="transpose=1")
    return copied(side, folder / "rotated.mp4", before=("-display_rotation", "90"))


def interlaced(folder: Path) -> Path:
    codecs = ("-c:v", "mpeg2video", "-q:v", "3", "-flags", "+ilme+ildct", "-c:a", "mp2")
    return beacon.make(folder / "a.ts", Fraction(25), seconds=SECONDS, video_filter="setfield=tff", codecs=codecs)


def edit_list(folder: Path) -> Path:
    """A stream copy that begins between key frames: the file holds more than it shows."""
    long = beacon.make(folder / "long.mp4", seconds=SECONDS)
    return copied(long, folder / "edited.mp4", before=("-ss", "1.5"))


def late_transport_stream(folder: Path) -> Path:
    plain = beacon.make(folder / "plain.ts", seconds=SECONDS)
    return copied(plain, folder / "late.ts", after=("-output_ts_offset", "1000"))


def ends(folder: Path, picture_s: float, sound_s: float) -> Path:
    full = beacon.make(folder / "full.mp4", seconds=SECONDS)
    for kind, seconds in (("v", picture_s), ("a", sound_s)):
        beacon.run("-i", str(full), "-map", f"0:{kind}", "-t", str(seconds), "-c", "copy", str(folder / f"{kind}.mp4"))
    both = ("-i", str(folder / "v.mp4"), "-i", str(folder / "a.mp4"))
    beacon.run(*both, "-map", "0:v", "-map", "1:a", "-c", "copy", str(folder / "uneven.mp4"))
    return folder / "uneven.mp4"


def late(folder: Path, maps: tuple[str, str]) -> Path:
    plain = beacon.make(folder / "plain.mp4", seconds=SECONDS)
    both = ("-i", str(plain), "-itsoffset", "0.4", "-i", str(plain))
    beacon.run(*both, "-map", maps[0], "-map", maps[1], "-c", "copy", str(folder / "late.mp4"))
    return folder / "late.mp4"


def made(name: str, fps: Fraction = Fraction(30), **options: Any) -> Callable[[Path], Path]:
    return lambda folder: beacon.make(folder / name, fps, seconds=SECONDS, **options)


KINDS: dict[str, tuple[Callable[[Path], Path], Fraction]] = {
    "23.976": (made("a.mp4", Fraction(24000, 1001)), Fraction(24000, 1001)),
    "29.97": (made("a.mp4", Fraction(30000, 1001)), Fraction(30000, 1001)),
    "59.94": (made("a.mp4", Fraction(60000, 1001)), Fraction(60000, 1001)),
    "opus webm": (made("a.webm", codecs=(*VP8, "-c:a", "libopus")), Fraction(30)),
    "vorbis mkv": (made("a.mkv", codecs=(*beacon.H264, "-c:a", "libvorbis")), Fraction(30)),
    "mp3 mp4": (made("a.mp4", codecs=(*beacon.H264, "-c:a", "libmp3lame")), Fraction(30)),
    "odd size": (made("a.webm", video_filter="scale=161:97", codecs=(*VP8, "-c:a", "libopus")), Fraction(30)),
    "mono": (made("a.mp4", channels=1), Fraction(30)),
    "5.1": (made("a.mp4", channels=6), Fraction(30)),
    "rotated": (rotated, Fraction(30)),
    "interlaced": (interlaced, Fraction(25)),
    "edit list": (edit_list, Fraction(30)),
    "transport stream from 1000 s": (late_transport_stream, Fraction(30)),
    "picture ends first": (lambda folder: ends(folder, 3.2, 5.0), Fraction(30)),
    "sound ends first": (lambda folder: ends(folder, 5.0, 3.2), Fraction(30)),
    "late sound": (lambda folder: late(folder, ("0:v", "1:a")), Fraction(30)),
    "late picture": (lambda folder: late(folder, ("1:v", "0:a")), Fraction(30)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_shows_and_plays_the_same_moment_as_its_source(kind: str, tmp_path: Path) -> None:
    make, fps = KINDS[kind]
    source = make(tmp_path)
    ws = Workspace(tmp_path / "set")
    add_source(ws, "a", source)
    summary = segment(ws, ["a"], recipe(**SETTINGS))
    assert (summary.done, summary.failed) == (1, {})
    record = ws.record("segment", "a")
    assert record is not None
    clips = [Clip(**clip) for clip in record["clips"]]
    assert len(clips) == (1 if "ends first" in kind or kind == "edit list" else 2)
    assert clips[0].verdict == "exact"
    assert clips[0].lag_s == pytest.approx(0, abs=0.0005)
    assert (clips[0].av_offset_s, clips[0].raw_av_offset_s) == (0, 0)
    # the numbers in the pictures and the sound itself, read by another program, say the same
    path = ws.clips / clips[0].file
    shown_s, sound_s = beacon.clip_times_s(path, fps, SECONDS)
    assert len(shown_s) == 60
    assert len(beacon.dump_samples(path)) == 96_000
    if kind != "rotated":
        skew_s = beacon.source_skew_s(source, fps, SECONDS)
        assert sound_s - shown_s[0] == pytest.approx(skew_s, abs=0.001)
    else:
        assert sound_s - shown_s[0] == pytest.approx(0, abs=0.001)


@pytest.mark.slow
def test_a_screen_capture_with_vorbis_in_mp4_comes_out_exact(media_assets: Path, tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    add_source(ws, "a", media_assets / "ossia_graph_vfr_15s.mp4")
    segment(ws, ["a"], recipe(**{**SETTINGS, "lead_s": 13.0, "clip_s": 1.0}))
    clips = ws.record("segment", "a")["clips"]  # type: ignore[index]
    assert len(clips) == 2
    assert [clip["verdict"] for clip in clips] == ["exact"] * 2
    assert max(abs(clip["lag_s"]) for clip in clips) < 0.001


@pytest.mark.slow
@pytest.mark.parametrize("name", ["popcorn_test_64s.ogv", "nasa_13013_16s.mp4", "mmdiff_aist_51s.mp4"])
def test_real_recordings_of_awkward_make_come_out_exact(name: str, media_assets: Path, tmp_path: Path) -> None:
    """Theora with zero-length packets, picture that ends before its sound, MP3 at 16 kHz in mp4."""
    ws = Workspace(tmp_path)
    add_source(ws, "a", media_assets / name)
    summary = segment(ws, ["a"], recipe(**{**SETTINGS, "stride_s": 20.0}))
    assert (summary.done, summary.failed) == (1, {})
    clips = ws.record("segment", "a")["clips"]  # type: ignore[index]
    assert {clip["verdict"] for clip in clips} == {"exact"}
    assert max(abs(clip["lag_s"]) for clip in clips) < 0.001
    assert min(clip["picture_psnr_db"] for clip in clips) > 35


@pytest.mark.slow
def test_the_last_clip_of_an_uneven_source_ends_where_the_shorter_stream_does(tmp_path: Path) -> None:
    ws = Workspace(tmp_path / "set")
    source = ends(tmp_path, 3.5, 5.0)
    add_source(ws, "a", source)
    assert segment(ws, ["a"], recipe(**{**SETTINGS, "lead_s": 0.0, "tail": "shift"})).done == 1
    starts = [clip["start_s"] for clip in ws.record("segment", "a")["clips"]]  # type: ignore[index]
    info = media.probe(source)
    assert info.video_end_s < info.audio_end_s - 1
    assert len(starts) == 2
    assert info.video_end_s - 0.034 < starts[1] + 2.0 <= info.video_end_s + 0.011
