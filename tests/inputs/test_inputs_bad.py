"""Clips that cannot be scored, made by ffmpeg: each has its reason, and the others are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import media_beacon as beacon
import numpy as np
import pytest
from folders import BOTH, PICTURE, film, wav

from avbench import parallel
from avbench.inputs import Item, outputs


def short(path: Path) -> None:
    film(path.with_suffix(".mp4"), frames=5)


def mute(path: Path) -> None:
    film(path.with_suffix(".mp4"), sound=False)


def sound_in_a_film_box(path: Path) -> None:
    source = wav(path.parent.parent / "s.wav")
    beacon.run("-i", str(source), "-c:a", "aac", str(path.with_suffix(".mp4")))


def truncated(path: Path) -> None:
    data = film(path.parent.parent / "whole.mp4", frames=40).read_bytes()
    path.with_suffix(".mp4").write_bytes(data[: int(0.6 * len(data))])


def truncated_webm(path: Path) -> None:
    data = film(path.parent.parent / "whole.webm", frames=16).read_bytes()
    path.with_suffix(".webm").write_bytes(data[: len(data) // 3])


def one_picture_gif(path: Path) -> None:
    beacon.run("-f", "lavfi", "-i", "color=red:s=32x32", "-frames:v", "1", str(path.with_suffix(".gif")))
    wav(path.with_suffix(".wav"))


def gif_without_sound(path: Path) -> None:
    film(path.with_suffix(".gif"))


def text(path: Path) -> None:
    path.with_suffix(".mp4").write_text("no film")


def empty(path: Path) -> None:
    path.with_suffix(".mp4").touch()


def page(path: Path) -> None:
    path.with_suffix(".webm").write_text("<!DOCTYPE html><html>Sign in</html>")


def bad_sound_beside(path: Path) -> None:
    film(path.with_suffix(".mp4"))
    path.with_suffix(".wav").write_bytes(b"RIFFxxxxWAVE")


def short_sound_beside(path: Path) -> None:
    film(path.with_suffix(".mp4"))
    wav(path.with_suffix(".wav"), frames=10)


def sound_of_nan(path: Path) -> None:
    film(path.with_suffix(".mp4"))
    raw = path.parent.parent / "nan.raw"
    raw.write_bytes(np.full(25_600, np.nan, "<f4").tobytes())
    arguments = ("-f", "f32le", "-ar", "16000", "-ch_layout", "mono", "-i", str(raw), "-c:a", "pcm_f32le")
    beacon.run(*arguments, str(path.with_suffix(".wav")))


def cover_art(path: Path) -> None:
    picture, source = path.parent.parent / "cover.png", wav(path.parent.parent / "s.m4a")
    beacon.run("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", str(picture))
    attach = ("-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic")
    beacon.run("-i", str(source), "-i", str(picture), *attach, str(path.with_suffix(".mp4")))


BAD: dict[Callable[[Path], None], str] = {
    short: "the video ends at 0.500 s, before the 1.6 s asked for|shorter than one window",
    mute: "has no sound",
    sound_in_a_film_box: "has no picture",
    truncated: "cut off|not a video or audio file",
    truncated_webm: "ends at|not a video or audio file",
    one_picture_gif: "ends at|shorter than one window|no picture at or after 0 s that lasts half a frame of 10 fps",
    gif_without_sound: "has no sound",
    text: "not a video or audio file",
    empty: "not a video or audio file",
    page: "not a video or audio file",
    bad_sound_beside: "sound|not a video or audio file|audio",
    short_sound_beside: "the sound ends at 1|sound of 1 s",
    sound_of_nan: "its sound holds NaN or infinity",
    cover_art: "has no picture",
}


def attempt(item: Item, rules=BOTH) -> str:
    return parallel.attempt(lambda it: list(it.windows(rules)), item, item.item_id).error


@pytest.mark.parametrize("policy", ["first", "tile", "centre"])
@pytest.mark.parametrize("make", list(BAD), ids=lambda make: make.__name__)
def test_a_bad_clip_has_its_reason_and_the_others_are_read(
    make: Callable[[Path], None], policy: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    for seed in (1, 2):
        film(folder / f"good{seed}.mp4", seed)
    make(folder / "bad")
    rules = BOTH.model_copy(update={"windows": policy})
    items, failed = outputs(folder, rules)
    assert not failed
    reasons = {item.item_id: attempt(item, rules) for item in items}
    bad = next(name for name in reasons if name.startswith("bad"))
    assert {name for name, reason in reasons.items() if reason} == {bad}
    assert reasons[bad].startswith(f"{bad}: ")

    assert re.search(BAD[make], reasons[bad]), reasons[bad]
    assert str(tmp_path) not in reasons[bad]
    assert "\n" not in reasons[bad]


@pytest.mark.parametrize(("width", "height"), [(33, 31), (17, 64), (250, 18)])
def test_odd_sizes_are_read(width: int, height: int, tmp_path: Path) -> None:
    for name in ("a", "b"):
        source = f"testsrc2=s={max(width, 16)}x{max(height, 16)}:r=10:d=2"
        cropped = f"crop={width}:{height}:0:0,format=yuv444p"
        beacon.run("-f", "lavfi", "-i", source, "-vf", cropped, "-c:v", "ffv1", str(tmp_path / f"{name}.mkv"))
    items, _ = outputs(tmp_path, PICTURE)
    assert [attempt(item, PICTURE) for item in items] == ["", ""]


def test_films_of_other_rates_are_brought_to_the_protocols_and_say_theirs(tmp_path: Path) -> None:
    for name, fps in (("a", 8.0), ("b", 24.0), ("c", 30.0)):
        film(tmp_path / f"{name}.mp4", frames=round(2 * fps), fps=fps)
    items, _ = outputs(tmp_path, BOTH)
    windows = [next(iter(item.windows(BOTH))) for item in items]
    assert [window.native_fps for window in windows] == [8.0, 24.0, 30.0]
    assert {window.signals.video.shape for window in windows} == {(16, 32, 32, 3)}
    assert {window.signals.fps for window in windows} == {10.0}


def test_a_file_that_vanishes_after_it_was_found_has_a_reason(tmp_path: Path) -> None:
    for seed in (1, 2):
        film(tmp_path / f"c{seed}.mp4", seed)
    items, _ = outputs(tmp_path, BOTH)
    (tmp_path / "c1.mp4").unlink()
    assert [attempt(item) for item in items] == ["c1.mp4: there is no such file", ""]
