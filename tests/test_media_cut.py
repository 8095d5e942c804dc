"""Cutting: the right first frame, exact counts, and picture and sound exactly as far apart as in the source."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media_beacon as beacon
import numpy as np
import pytest

from avbench import media
from avbench.errors import MediaError
from avbench.recipe import SegmentRecipe

NTSC, FILM = Fraction(30000, 1001), Fraction(24000, 1001)
VFR = {
    "video_filter": "select='not(eq(mod(n*7,11),3))*not(eq(mod(n,5),2))'",
    "codecs": (*beacon.H264, "-fps_mode", "vfr", "-c:a", "aac"),
}


def recipe(fps: float = 30.0, **values: Any) -> SegmentRecipe:
    settings = {"clip_s": 2.0, "width": beacon.WIDTH, "height": beacon.HEIGHT, "preset": "ultrafast", **values}
    return SegmentRecipe(fps=fps, **settings)


@dataclass(frozen=True)
class Case:
    """A kind of source file."""

    name: str
    fps: Fraction = Fraction(30)
    options: dict[str, Any] = field(default_factory=dict)


VP8 = ("-c:v", "libvpx", "-threads", "1", "-b:v", "1M", "-deadline", "realtime", "-cpu-used", "8", "-g", "100")
CASES = [
    Case("aac.mp4"),
    Case("ntsc.mp4", NTSC),
    Case("film.mp4", FILM),
    Case("sixty.mp4", Fraction(60)),
    Case("pal.mkv", Fraction(25), {"rate_hz": 44100}),
    Case("vfr.mp4", options=VFR),
    Case("vfr.mkv", options=VFR),
    Case("opus.webm", options={"codecs": (*VP8, "-c:a", "libopus")}),
    Case("opus.mp4", options={"codecs": (*beacon.H264, "-c:a", "libopus")}),
    Case("mp3.mp4", options={"codecs": (*beacon.H264, "-c:a", "libmp3lame")}),
    Case("theora.ogv", options={"codecs": ("-c:v", "libtheora", "-q:v", "8", "-c:a", "libvorbis")}),
    Case("aac.ts"),
    Case("mp3.avi", options={"codecs": ("-c:v", "mpeg4", "-bf", "2", "-q:v", "3", "-c:a", "libmp3lame")}),
    Case("aac.flv", options={"rate_hz": 44100}),
    Case("six.mp4", options={"channels": 6}),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Case]:
    case: Case = request.param
    return beacon.make(tmp_path_factory.mktemp("source") / case.name, case.fps, **case.options), case


@pytest.mark.parametrize("fps", [30, 25])
def test_picture_and_sound_keep_their_distance(source: tuple[Path, Case], fps: int, tmp_path: Path) -> None:
    path, case = source
    clip = tmp_path / "clip.mp4"
    media.cut(path, clip, 3.37, recipe(fps))
    shown_s, sound_s = beacon.clip_times_s(clip, case.fps)
    assert len(shown_s) == 2 * fps
    skew_s = beacon.source_skew_s(path, case.fps)
    # how far each picture stands from the sound of its grid point, beyond what the source itself has
    error_s = sound_s + np.arange(len(shown_s)) / fps - shown_s - skew_s
    assert abs(error_s[0]) < 0.001
    if case.fps % fps == 0 and "vfr" not in case.name:
        assert np.abs(error_s).max() < 0.001
    # no picture is shown half an output frame or more before its time
    assert error_s.min() > -0.5 / fps - 0.001
    onsets = np.flatnonzero(np.diff(shown_s, prepend=-1))
    if case.fps <= fps:
        # every picture appears within half an output frame of its time
        assert np.abs(error_s[onsets]).max() < 0.5 / fps + 0.001
    elif "vfr" not in case.name:
        assert np.abs(error_s).max() < 0.5 / case.fps + 0.001


@pytest.mark.parametrize("delayed", ["audio", "video"])
@pytest.mark.parametrize("start_s", [0.0, 2.0])
def test_a_late_stream_stays_late(delayed: str, start_s: float, tmp_path: Path) -> None:
    plain, late, clip = beacon.make(tmp_path / "plain.mp4"), tmp_path / "late.mp4", tmp_path / "clip.mp4"
    maps = ("0:v", "1:a") if delayed == "audio" else ("1:v", "0:a")
    beacon.run(
        *("-i", str(plain), "-itsoffset", "0.5", "-i", str(plain), "-map", maps[0], "-map", maps[1], "-c", "copy"),
        str(late),
    )
    skew_s = beacon.source_skew_s(late, Fraction(30))
    assert skew_s == pytest.approx(-0.5 if delayed == "audio" else 0.5, abs=0.001)
    media.cut(late, clip, start_s, recipe())
    shown_s, _ = beacon.clip_times_s(clip, Fraction(30))
    samples = beacon.dump_samples(clip)[:, 0].astype(np.float64)
    # from 0.75 s on, past the silence in front of a late soundtrack
    sound_s = (beacon.lag(beacon.sound(7.0), samples[36_000:84_000]) - 36_000) / beacon.RATE_HZ
    assert sound_s - shown_s[0] == pytest.approx(skew_s, abs=0.001)


@pytest.mark.parametrize("k", [150, 457])
def test_timecode_clip_begins_with_the_right_frame(k: int, media_assets: Path, tmp_path: Path) -> None:
    path, clip, size = media_assets / "timecode_42s.mp4", tmp_path / "clip.mp4", (640, 360)
    t0 = media.cut(path, clip, k / 30, recipe(clip_s=1.0, width=size[0], height=size[1], crf=12))
    assert t0 == pytest.approx(k / 30, abs=1e-9)
    near = media.decode_video(path, start_s=(k - 1) / 30, n_frames=3, size=size).astype(float)
    first = media.decode_video(clip, n_frames=1).astype(float)
    # the frame counter burned into the picture is all that changes between neighbours
    counter = np.ptp(near, axis=0).max(axis=-1) > 60
    differences = np.abs(near - first)[:, counter].mean(axis=(1, 2))
    assert differences[1] < 0.25 * min(differences[0], differences[2])


def test_counts_are_exact_in_two_readers(media_assets: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    media.cut(media_assets / "timecode_42s.mp4", clip, 5.0, recipe(clip_s=5.0))
    assert media.decode_video(clip).shape == (150, beacon.HEIGHT, beacon.WIDTH, 3)
    assert media.decode_audio(clip).shape == (2, 240_000)
    assert len(beacon.dump_frames(clip, beacon.WIDTH, beacon.HEIGHT)) == 150
    assert len(beacon.dump_samples(clip)) == 240_000


def test_sound_of_the_timecode_clip_is_that_of_the_source(media_assets: Path, tmp_path: Path) -> None:
    path, clip = media_assets / "timecode_42s.mp4", tmp_path / "clip.mp4"
    media.cut(path, clip, 5.0, recipe(clip_s=2.0))
    source = beacon.dump_samples(path)[:480_000, 0].astype(np.float64)
    samples = beacon.dump_samples(clip)[:, 0].astype(np.float64)
    assert beacon.lag(source, samples) == pytest.approx(240_000, abs=0.5)
    assert np.abs(source[240_000:336_000] - samples).max() < 2 / 32768


def test_every_reader_of_the_clip_sees_the_same_start(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mp4", seconds=3)
    media.cut(path, tmp_path / "clip.mp4", 0.5, recipe(preset="veryfast"))
    info = media.probe(tmp_path / "clip.mp4")
    assert (info.video_start_s, info.audio_start_s, info.video_end_s, info.audio_end_s) == (0, 0, 2, 2)
    assert not info.is_vfr
    assert info.n_frames == 60
    # readers that ignore edit lists too: there are none
    with av.open(str(tmp_path / "clip.mp4"), options={"ignore_editlist": "1"}) as container:
        stamps = [(packet.stream.type, packet.pts, packet.dts) for packet in container.demux() if packet.size]
    assert min(pts for kind, pts, _ in stamps if kind == "video") == 0
    assert min(pts for kind, pts, _ in stamps if kind == "audio") == 0
    assert all(pts == dts for _, pts, dts in stamps)


def test_the_same_cut_gives_the_same_bytes(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mp4", seconds=3)
    for codec in ("flac", "aac"):
        for name in ("one.mp4", "two.mp4"):
            media.cut(path, tmp_path / name, 0.5, recipe(audio_codec=codec), note={"params": "x"})
        assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_aac_clip_holds_the_same_sound_at_the_same_time(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mp4", seconds=3)
    media.cut(path, tmp_path / "clip.mp4", 0.5, recipe(audio_codec="aac"))
    samples = media.decode_audio(tmp_path / "clip.mp4", n_samples=2 * beacon.RATE_HZ)[0].astype(np.float64)
    assert beacon.lag(beacon.sound(3), samples) / beacon.RATE_HZ == pytest.approx(0.5, abs=0.001)


def test_the_clip_says_where_it_is_from(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mp4", seconds=3)
    t0 = media.cut(path, tmp_path / "clip.mp4", 0.51, recipe(), note={"params": "x"})
    assert t0 == pytest.approx(16 / 30)
    assert json.loads(media.probe(tmp_path / "clip.mp4").comment) == {"params": "x", "start_s": t0}


@pytest.mark.parametrize("start_s", [5.2, 6.99, 7.5, 100.0])
def test_a_clip_beyond_the_end_is_refused(start_s: float, tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mp4")
    with pytest.raises(MediaError, match=r"a\.mp4: .*(ends at|no picture)"):
        media.cut(path, tmp_path / "clip.mp4", start_s, recipe())
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
