"""Clips that are folders of numbered pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from folders import BOTH, PICTURE, film, pictures, sounds, stills, wav
from PIL import Image

from avbench.errors import MediaError
from avbench.inputs import Window, outputs


def windows(folder: Path, name: str = "c1", rules=BOTH) -> list[Window]:
    item = next(item for item in outputs(folder, rules)[0] if item.item_id == name)
    return list(item.windows(rules))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in (1, 2):
        stills(tmp_path / f"c{seed}", seed)
        wav(tmp_path / f"c{seed}" / "audio.wav", seed)
    return tmp_path


def test_pictures_are_exact_and_their_sound_lies_inside(folder: Path) -> None:
    (window,) = windows(folder)
    np.testing.assert_array_equal(window.signals.video, pictures(1))
    np.testing.assert_allclose(window.signals.audio, sounds(1), atol=1e-4)
    assert (window.window_id, window.native_fps) == ("c1@0", 10.0)


@pytest.mark.parametrize("where", ["{}.wav", "audio/{}.flac"])
def test_the_sound_may_lie_beside(where: str, tmp_path: Path) -> None:
    for seed in (1, 2):
        stills(tmp_path / f"c{seed}", seed, name="frame{}.png")
        wav(tmp_path / where.format(f"c{seed}"), seed)
    (window,) = windows(tmp_path)
    np.testing.assert_array_equal(window.signals.video, pictures(1))
    np.testing.assert_allclose(window.signals.audio, sounds(1), atol=1e-4)


def test_numbers_count_and_not_the_alphabet(tmp_path: Path) -> None:
    for seed in (1, 2):
        stills(tmp_path / f"c{seed}", seed, name="{}.png")
    np.testing.assert_array_equal(windows(tmp_path, rules=PICTURE)[0].signals.video, pictures(1))


@pytest.mark.parametrize("stated_in", ["fps.txt", "samples.json"])
def test_a_stated_rate_brings_them_to_the_protocol(stated_in: str, tmp_path: Path) -> None:
    for seed in (1, 2):
        stills(tmp_path / f"c{seed}", seed, frames=32)
        if stated_in == "fps.txt":
            (tmp_path / f"c{seed}" / "fps.txt").write_text("20\n")
    if stated_in == "samples.json":
        (tmp_path / "samples.json").write_text(json.dumps({"fps": 20}))
    (window,) = windows(tmp_path, rules=PICTURE)
    np.testing.assert_array_equal(window.signals.video, pictures(1, frames=32)[::2])
    assert window.native_fps == 20


def test_own_frames_need_a_stated_rate(folder: Path) -> None:
    rules = BOTH.model_copy(update={"fps": None})
    with pytest.raises(MediaError, match=r"^c1: nothing states its frame rate; put it into fps\.txt or samples\.json$"):
        windows(folder, rules=rules)
    (folder / "c1" / "fps.txt").write_text("10")
    assert windows(folder, rules=rules)[0].signals.fps == 10


def test_a_gap_a_damaged_and_an_odd_picture_have_reasons(folder: Path) -> None:
    (folder / "c1" / "000004.png").rename(folder / "c1" / "000099.png")
    with pytest.raises(MediaError, match=r"^c1: its pictures jump from 3 to 5$"):
        windows(folder)
    stills(folder / "c2", 2)
    data = (folder / "c2" / "000005.png").read_bytes()
    (folder / "c2" / "000005.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"^c2: 000005\.png is no readable picture"):
        windows(folder, "c2")
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(folder / "c2" / "000005.png")
    with pytest.raises(MediaError, match=r"^c2: 000005\.png is 32 x 16 pixels, the pictures before it are 32 x 32$"):
        windows(folder, "c2")
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(folder / "c2" / "000005.png")
    with pytest.raises(MediaError, match=r"^c2: 000005\.png has grey levels of mode"):
        windows(folder, "c2")


def test_a_rate_that_is_none_is_refused(folder: Path) -> None:
    film(folder / "c3.mp4", 3)
    (folder / "c1" / "fps.txt").write_text("ten")
    _, failed = outputs(folder, BOTH)
    assert failed == {"c1": "c1: fps.txt holds 'ten', must be one positive number"}


def test_grey_and_transparent_pictures_are_read_as_rgb(tmp_path: Path) -> None:
    for seed, mode in ((1, "L"), (2, "RGBA")):
        (tmp_path / f"c{seed}").mkdir()
        for number, picture in enumerate(pictures(seed)):
            Image.fromarray(picture).convert(mode).save(tmp_path / f"c{seed}" / f"{number}.png")
    grey = windows(tmp_path, rules=PICTURE)[0].signals.video
    assert (grey[..., 0] == grey[..., 2]).all()
    np.testing.assert_array_equal(windows(tmp_path, "c2", PICTURE)[0].signals.video, pictures(2))


def test_content_is_that_of_the_files_in_order(folder: Path) -> None:
    first, second = outputs(folder, BOTH)[0]
    stills(folder / "other", 1)
    wav(folder / "other" / "audio.wav", 1)
    twin = outputs(folder, BOTH)[0][2]
    assert twin.content_sha256() == first.content_sha256() != second.content_sha256()
    (folder / "other" / "000002.png").rename(folder / "other" / "x.png")
    (folder / "other" / "000003.png").rename(folder / "other" / "000002.png")
    (folder / "other" / "x.png").rename(folder / "other" / "000003.png")
    assert outputs(folder, BOTH)[0][2].content_sha256() != first.content_sha256()
