"""Leaving frames undecoded changes nothing that is seen: the same bytes, and full decoding where in doubt."""

from __future__ import annotations

import random
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from avbench import _media_open, media
from avbench._media_sparse import NotSparse, Reel, Sparse, sparsely
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


def cut(source: Path, start_s: float, reel: Reel | None = None) -> bytes:
    clip = source.with_name("clip.mp4")
    media.cut(source, clip, start_s, RECIPE, reel=reel)
    return clip.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start_s", [0.0, 1.37])
def test_a_clip_is_the_same_to_the_byte(
    folder: Path, kind: str, start_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate, codec = KINDS[kind]
    source = rendered(folder, rate, kind, *codec)
    assert sparsely(source, Fraction(start_s), Fraction(30), 60, Reel()) is not None
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
    found = sparsely(source, Fraction(0), Fraction(30), 60, Reel())
    assert found is not None
    assert len(list(found.frames)) == 60
    assert 60 <= count < 100  # all of them would be 120


def test_a_file_whose_frames_are_all_shown_is_decoded_in_full(folder: Path) -> None:
    assert sparsely(rendered(folder, "30", "thirty.mp4", *H264), Fraction(0), Fraction(30), 60, Reel()) is None


def test_a_clip_that_reaches_the_end_is_decoded_in_full(folder: Path) -> None:
    assert sparsely(rendered(folder, "60", "h264.mp4", *H264), Fraction(3), Fraction(30), 60, Reel()) is None


def test_interlaced_pictures_are_decoded_in_full(folder: Path) -> None:
    codec = ("-vf", "setfield=tff", "-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-bf", "2")
    source = rendered(folder, "50", "interlaced.ts", *codec)
    found = sparsely(source, Fraction(0), Fraction(25), 50, Reel())
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


OPEN_GOP = (*H264, "-x264-params", "open-gop=1:keyint=40:bframes=3:scenecut=0")
REFRESH = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "2", "-x264-params", "intra-refresh=1:keyint=60")
UNEVEN = ("-vf", "select='not(eq(mod(n\\,7)\\,3))'", "-fps_mode", "vfr", *H264)
REELS = {
    **KINDS,
    "gop.mp4": ("60", (*H264, "-g", "1000")),
    "open.mkv": ("60", OPEN_GOP),
    "open.ts": ("60", OPEN_GOP),
    "refresh.ts": ("60", REFRESH),
    "uneven.mkv": ("60", UNEVEN),
    "vp9.webm": ("60", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "90")),
}
NEXT_S = (0.4, 1.4, 2.4, 3.4)


@pytest.fixture
def seeks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where a clip's decoder began with a seek, one path each."""
    found: list[Path] = []
    real = Reel._from_seek

    def noted(self, path, start):
        found.append(path)
        return real(self, path, start)

    monkeypatch.setattr(Reel, "_from_seek", noted)
    return found


def in_a_row(
    source: Path, recipe: SegmentRecipe, reel: Reel | None, starts_s: tuple[float, ...] = NEXT_S
) -> list[bytes]:
    clip = source.with_name("row.mp4")
    found = []
    for start_s in starts_s:
        media.cut(source, clip, start_s, recipe, reel=reel)
        found.append(clip.read_bytes())
    return found


SHORT = RECIPE.model_copy(update={"clip_s": 1.0})


@pytest.mark.parametrize("kind", REELS)
def test_a_decoder_that_goes_on_gives_the_bytes_of_a_seek(folder: Path, kind: str, seeks: list[Path]) -> None:
    rate, codec = REELS[kind]
    source = rendered(folder, rate, kind, *codec)
    alone = in_a_row(source, SHORT, None)
    n_alone = len(seeks)
    with Reel() as reel:
        assert in_a_row(source, SHORT, reel) == alone
    assert n_alone >= len(NEXT_S) - 1  # the last one may reach too near the end
    if source.suffix in (".mp4", ".mkv", ".webm"):
        assert len(seeks) < 2 * n_alone  # at least one clip went on
    else:
        assert len(seeks) == 2 * n_alone  # a damaged packet can vanish in these


def test_one_seek_is_enough_for_clips_that_follow_each_other(folder: Path, seeks: list[Path]) -> None:
    source = rendered(folder, "60", "gop.mp4", *REELS["gop.mp4"][1])
    with Reel() as reel:
        in_a_row(source, SHORT, reel)
    assert len(seeks) == 1


def test_clips_apart_or_overlapping_begin_with_a_seek_of_their_own(folder: Path, seeks: list[Path]) -> None:
    source = rendered(folder, "60", "often.mp4", *H264, "-g", "20")
    for starts_s in ((0.0, 3.2), (1.0, 1.5), (3.0, 1.0)):
        seeks.clear()
        alone = in_a_row(source, SHORT, None, starts_s)
        with Reel() as reel:
            assert in_a_row(source, SHORT, reel, starts_s) == alone
        assert len(seeks) == 4


def test_another_source_begins_with_a_seek(folder: Path, seeks: list[Path]) -> None:
    one = rendered(folder, "60", "h264.mp4", *H264)
    other = rendered(folder, "60", "gop.mp4", *REELS["gop.mp4"][1])
    with Reel() as reel:
        media.cut(one, folder / "one.mp4", 0.0, SHORT, reel=reel)
        media.cut(other, folder / "other.mp4", 1.0, SHORT, reel=reel)
    media.cut(other, folder / "alone.mp4", 1.0, SHORT)
    assert (folder / "other.mp4").read_bytes() == (folder / "alone.mp4").read_bytes()
    assert seeks == [one, other, other]


@pytest.mark.parametrize("name", ["h264.mp4", "gop.mp4", "open.mkv"])
@pytest.mark.parametrize("seed", range(3))
def test_clips_of_a_damaged_file_are_those_of_a_seek(folder: Path, name: str, seed: int) -> None:
    rate, codec = REELS[name]
    data = bytearray(rendered(folder, rate, name, *codec).read_bytes())
    rng = random.Random(seed)
    for _ in range(5):
        at = int(rng.uniform(0.15, 0.8) * len(data))
        data[at : at + 40] = rng.randbytes(40)
    hurt = folder / f"hurt-{name}"
    hurt.write_bytes(data)

    def frames(reel: Reel, start_s: float) -> list[bytes] | None:
        """Pictures of a clip as `media.cut` would take them; None where it decodes everything."""
        while (found := sparsely(hurt, Fraction(start_s), Fraction(30), 30, reel)) is not None:
            try:
                return [timed.frame.to_ndarray().tobytes() for timed in found.frames]
            except NotSparse:
                if not found.goes_on:
                    break
        return None

    alone = [frames(Reel(), start_s) for start_s in NEXT_S]
    with Reel() as reel:
        assert [frames(reel, start_s) for start_s in NEXT_S] == alone


def test_a_clip_that_could_not_be_written_leaves_no_place_to_go_on_from(folder: Path, seeks: list[Path]) -> None:
    source = rendered(folder, "60", "gop.mp4", *REELS["gop.mp4"][1])
    with Reel() as reel:
        found = sparsely(source, Fraction(0), Fraction(30), 30, reel)
        assert found is not None
        next(found.frames)
        assert in_a_row(source, SHORT, reel, (1.0,)) == in_a_row(source, SHORT, None, (1.0,))
    assert len(seeks) == 3
