"""Probing: what packets say, real files as they are, and one sentence for everything that is no media."""

from __future__ import annotations

from pathlib import Path

import media_beacon as beacon
import numpy as np
import pytest

from avbench import media
from avbench.errors import MediaError


@pytest.mark.slow
def test_real_files_read_as_their_makers_describe_them(media_assets: Path) -> None:
    found = {path.name: media.probe(path) for path in media_assets.iterdir() if path.suffix != ".tsv"}
    assert len(found) == 11
    assert all(info.has_video and info.has_audio for info in found.values())
    timecode = found["timecode_42s.mp4"]
    assert (timecode.width, timecode.height, timecode.fps, timecode.n_frames) == (1280, 720, 30.0, 1272)
    assert (timecode.sample_rate_hz, timecode.channels, timecode.video_codec) == (48_000, 2, "h264")
    assert timecode.video_end_s == pytest.approx(42.4)
    assert not timecode.is_vfr
    nasa = found["nasa_13013_16s.mp4"]
    assert nasa.video_end_s == pytest.approx(13.0)
    assert nasa.audio_end_s > nasa.video_end_s
    assert found["mmdiff_aist_51s.mp4"].video_start_s == pytest.approx(0.069, abs=0.001)
    # the left columns that Theora codes but does not show are cut off; repeats are not counted as pictures
    theora = found["popcorn_test_64s.ogv"]
    assert (theora.width, theora.height, theora.n_frames, theora.is_vfr) == (300, 180, 1340, True)
    assert found["popcorn_test_64s.webm"].fps == pytest.approx(24.0, abs=1e-6)


def test_rates_survive_a_clock_of_milliseconds(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mkv", seconds=2)
    info = media.probe(path)
    assert (info.fps, info.is_vfr, info.n_frames) == (30.0, False, 60)
    assert info.video_end_s == pytest.approx(2.0, abs=0.001)
    assert info.duration_s == pytest.approx(2.0, abs=0.03)


def test_a_stream_that_begins_at_some_other_time_begins_at_zero(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.ts", seconds=2)  # an ffmpeg transport stream begins at 1.4 s
    info = media.probe(path)
    assert min(info.video_start_s, info.audio_start_s) == 0
    assert abs(info.video_start_s - info.audio_start_s) < 0.05
    assert info.video_end_s == pytest.approx(info.video_start_s + 2.0)
    assert beacon.number(media.decode_video(path, start_s=info.video_start_s + 1.0, n_frames=1)[0]) == 30


def test_missing_frames_make_a_variable_rate(tmp_path: Path) -> None:
    codecs = (*beacon.H264, "-fps_mode", "vfr", *beacon.AAC)
    path = beacon.make(tmp_path / "a.mp4", seconds=2, video_filter="select='mod(n,3)'", codecs=codecs)
    info, starts_s = media.timeline(path)
    assert info.is_vfr
    assert info.n_frames == 40
    assert starts_s == pytest.approx([k / 30 for k in range(60) if k % 3])


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    picture, sound, song = tmp_path / "cover.png", tmp_path / "a.m4a", tmp_path / "song.m4a"
    beacon.run("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", str(picture))
    beacon.run("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", str(sound))
    attach = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic")
    beacon.run("-i", str(sound), "-i", str(picture), *attach, str(song))
    info = media.probe(song)
    assert (info.has_video, info.has_audio, info.n_frames) == (False, True, 0)
    with pytest.raises(MediaError, match="has no picture"):
        media.decode_video(song)


def test_a_film_without_sound_says_so(tmp_path: Path) -> None:
    media.encode(tmp_path / "a.mp4", np.zeros((5, 32, 32, 3), np.uint8), 25, None, 48_000)
    info = media.probe(tmp_path / "a.mp4")
    assert (info.has_video, info.has_audio, info.sample_rate_hz) == (True, False, 0)
    with pytest.raises(MediaError, match=r"a\.mp4: has no sound"):
        media.decode_audio(tmp_path / "a.mp4")


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_picture_is_shown_upright(turn: int, tmp_path: Path) -> None:
    plain, turned = beacon.make(tmp_path / "a.mp4", seconds=1), tmp_path / "turned.mp4"
    beacon.run("-display_rotation", str(turn), "-i", str(plain), "-c", "copy", str(turned))
    upright = np.rot90(media.decode_video(plain)[5], turn // 90)
    shown = media.decode_video(turned)[5]
    assert shown.shape == upright.shape
    np.testing.assert_array_equal(shown, upright)
    info = media.probe(turned)
    assert (info.height, info.width) == upright.shape[:2]
    by_ffmpeg = beacon.dump_frames(turned, info.width, info.height)[5]
    np.testing.assert_array_equal(bright(by_ffmpeg), bright(shown))


def bright(image: np.ndarray) -> np.ndarray:
    """Bright or dark, on a coarse grid."""
    return image[8::16, 8::16].mean(axis=-1) > 130


def test_wide_pixels_make_a_wide_picture(tmp_path: Path) -> None:
    path = beacon.make(tmp_path / "a.mp4", seconds=1, video_filter="setsar=4/3")
    assert media.probe(path).width == round(beacon.WIDTH * 4 / 3)
    assert media.decode_video(path, n_frames=1).shape[2] == round(beacon.WIDTH * 4 / 3)


NOT_MEDIA = {
    "text.txt": b"just a few words\n" * 50,
    "text.mp4": b"just a few words\n" * 50,
    "page.html": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "empty.mp4": b"",
    "noise.webm": np.random.default_rng(0).bytes(5000),
    "list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.ts\n#EXT-X-ENDLIST\n",
    "list.ffconcat": b"ffconcat version 1.0\nfile other.mp4\n",
    "subtitles.srt": b"1\n00:00:00,000 --> 00:00:02,000\nHello\n",
}


@pytest.mark.parametrize("name", NOT_MEDIA)
def test_what_is_no_media_gets_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(NOT_MEDIA[name])
    for call in (media.probe, media.decode_video, media.decode_audio):
        with pytest.raises(MediaError, match=rf"{name}: not a video or audio file \(.+\)$") as caught:
            call(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_playlist_cannot_open_another_file(tmp_path: Path) -> None:
    beacon.make(tmp_path / "other.mp4", seconds=1)
    (tmp_path / "list.ffconcat").write_bytes(NOT_MEDIA["list.ffconcat"])
    with pytest.raises(MediaError, match="not a video or audio file"):
        media.probe(tmp_path / "list.ffconcat")


def test_an_absent_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.mp4", tmp_path):
        with pytest.raises(MediaError, match="there is no such file"):
            media.probe(path)


@pytest.mark.parametrize("faststart", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_broken_download_is_seen(faststart: bool, share: float, tmp_path: Path) -> None:
    codecs = (*beacon.H264, *beacon.AAC, *(("-movflags", "+faststart") if faststart else ()))
    whole = beacon.make(tmp_path / "whole.mp4", seconds=2, codecs=codecs)
    data = whole.read_bytes()
    (tmp_path / "part.mp4").write_bytes(data[: int(share * len(data))])
    with pytest.raises(MediaError, match=r"part\.mp4: (cut off|not a video or audio file)"):
        media.probe(tmp_path / "part.mp4")


def test_names_are_taken_as_they_are(tmp_path: Path) -> None:
    source = beacon.make(tmp_path / "a.mp4", seconds=1)
    for name in ("per%03dcent.mp4", "col:on.mp4", "-dash.mp4", "sp ace é.mp4", "concat:a|b.mp4"):
        path = tmp_path / name
        path.write_bytes(source.read_bytes())
        assert media.probe(path).n_frames == 30
