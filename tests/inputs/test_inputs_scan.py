"""What is found in a folder: which files make a clip, what it is called, and what is refused with which reason."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import media_beacon as beacon
import numpy as np
import pytest
from folders import BOTH, PICTURE, SOUND, film, pictures, sounds, stills, wav

from avbench.errors import UserError
from avbench.inputs import Item, Window, outputs, reference, same_content
from avbench.protocol import Protocol
from tests.clips import write_npz


def first(item: Item, rules: Protocol = BOTH) -> Window:
    return next(iter(item.windows(rules)))


def names(folder: Path, rules: Protocol = BOTH) -> list[str]:
    return [item.item_id for item in outputs(folder, rules)[0]]


def shows(window: Window, seed: int) -> bool:
    """The window shows the clip of that seed (lossy codecs blur it)."""
    return float(np.abs(window.signals.video.astype(int) - pictures(seed)).mean()) < 10


def sounds_like(window: Window, seed: int, tolerance: float = 0.02) -> bool:
    inner = slice(1000, -1000)  # codecs smear the edges
    return float(np.abs(window.signals.audio - sounds(seed))[:, inner].max()) < tolerance


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi", ".webm"])
def test_films_with_sound_inside(suffix: str, tmp_path: Path) -> None:
    for seed in (1, 2):
        film(tmp_path / f"c{seed}{suffix}", seed)
    items, failed = outputs(tmp_path, BOTH)
    assert [item.item_id for item in items] == [f"c1{suffix}", f"c2{suffix}"]
    assert not failed
    assert all(shows(first(item), seed) for seed, item in enumerate(items, 1))


@pytest.mark.parametrize(
    ("picture", "sound"),
    [
        ("c{}.mp4", "c{}.wav"),
        ("c{}.mp4", "c{}.flac"),
        ("c{}.mp4", "c{}.mp3"),
        ("c{}.mp4", "audio/c{}.wav"),
        ("c{}.mp4", "audios/c{}.ogg"),
        ("video/c{}.mp4", "audio/c{}.wav"),
        ("videos/c{}.mp4", "audios/c{}.wav"),
        ("c{}.gif", "c{}.wav"),
        ("a/b/c{}.mp4", "a/b/c{}.m4a"),
    ],
)
def test_a_silent_film_and_the_sound_file_of_its_name(picture: str, sound: str, tmp_path: Path) -> None:
    for seed in (1, 2):
        film(tmp_path / picture.format(seed), seed, sound=False)
        wav(tmp_path / sound.format(seed), seed)
    items, failed = outputs(tmp_path, BOTH)
    assert [item.item_id for item in items] == [picture.format(1), picture.format(2)]
    assert not failed
    lossless = sound.endswith((".wav", ".flac"))
    for seed, item in enumerate(items, 1):
        assert sounds_like(first(item), seed, 1e-3 if lossless else 0.2)
        assert not sounds_like(first(item), 3 - seed, 0.2)


def test_films_in_a_folder_called_video_find_the_sound_beside_that_folder(tmp_path: Path) -> None:
    for seed in (1, 2):
        film(tmp_path / "videos" / f"c{seed}.mp4", seed, sound=False)
        wav(tmp_path / "audios" / f"c{seed}.wav", seed)
    items, failed = outputs(tmp_path / "videos", BOTH)
    assert all(sounds_like(first(item), seed, 1e-3) for seed, item in enumerate(items, 1))
    assert not failed


def test_the_sound_beside_a_film_counts_and_not_the_one_inside(tmp_path: Path) -> None:
    film(tmp_path / "sample_0000.mp4", 1)
    film(tmp_path / "sample_0001.mp4", 1)
    wav(tmp_path / "sample_0000.wav", 2)
    beside, inside = outputs(tmp_path, BOTH)[0]
    assert sounds_like(first(beside), 2, 1e-3)
    assert sounds_like(first(inside), 1, 1e-3)
    assert beside.content_sha256() != inside.content_sha256()


def test_sound_alone_is_a_clip_where_no_picture_is_needed(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        wav(tmp_path / "pred_audio" / f"c{seed}.flac", seed)
    film(tmp_path / "pred_audio" / "c1.mp4", 1, sound=False)
    items, failed = outputs(tmp_path, SOUND)
    assert [item.item_id for item in items] == [f"pred_audio/c{k}" for k in ("1.mp4", "2.flac", "3.flac")]
    assert not failed
    assert all(sounds_like(first(item, SOUND), seed, 1e-3) for seed, item in enumerate(items, 1))
    film(tmp_path / "pred_audio" / "c9.mp4", 1)
    items, failed = outputs(tmp_path, BOTH)
    assert [item.item_id for item in items] == ["pred_audio/c1.mp4", "pred_audio/c9.mp4"]
    assert set(failed) == {"pred_audio/c2.flac", "pred_audio/c3.flac"}
    assert failed["pred_audio/c2.flac"].startswith("pred_audio/c2.flac: has no picture")


def test_a_lossless_twin_counts_once_and_a_preview_does_not_count(tmp_path: Path) -> None:
    for name in ("a", "b"):
        film(tmp_path / f"{name}.mp4", 1)
        write_npz(tmp_path / f"{name}.npz", 1)
        wav(tmp_path / f"{name}.wav", 1)
        film(tmp_path / f"{name}.gif", 1)
    film(tmp_path / "c.mp4")
    film(tmp_path / "c.gif")
    assert names(tmp_path) == ["a.npz", "b.npz", "c.mp4"]


def test_names_below_the_folder_stay_apart_and_hidden_files_out(tmp_path: Path) -> None:
    film(tmp_path / "a" / "x.mp4", 1)
    film(tmp_path / "b" / "x.mp4", 2)
    film(tmp_path / "x.mp4", 3)
    film(tmp_path / "x.mkv", 4)
    film(tmp_path / ".hidden.mp4", 5)
    film(tmp_path / ".cache" / "y.mp4", 6)
    items, _ = outputs(tmp_path, BOTH)
    assert [item.item_id for item in items] == ["a/x.mp4", "b/x.mp4", "x.mkv", "x.mp4"]
    assert [first(item).window_id for item in items] == ["a/x@0", "b/x@0", "x.mkv@0", "x.mp4@0"]
    assert len({first(item).cluster for item in items}) == 4


@pytest.mark.parametrize("name", ["sp ace", "ünï", "new\nline", "per%03dcent", "-dash", "日本", "a.b.c", "quote'\""])
def test_any_name_is_read_and_shown_on_one_line(name: str, tmp_path: Path) -> None:
    film(tmp_path / f"{name}.mp4", 1)
    film(tmp_path / "other.mp4", 2)
    item = next(item for item in outputs(tmp_path, BOTH)[0] if item.item_id != "other.mp4")
    assert shows(first(item), 1)
    assert item.item_id == f"{name}.mp4".replace("\n", "\\n")
    (tmp_path / f"{name}.mp4").write_bytes(b"nothing")
    with pytest.raises(UserError) as caught:
        first(item)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_name_that_is_no_text_is_escaped(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", 1)
    shutil.copyfile(tmp_path / "a.mp4", os.fsencode(tmp_path) + b"/b\xff.mp4")
    items, _ = outputs(tmp_path, BOTH)
    assert [item.item_id for item in items] == ["a.mp4", "b\\udcff.mp4"]
    assert shows(first(items[1]), 1)


def test_links_are_followed_once(tmp_path: Path) -> None:
    film(tmp_path / "real" / "a.mp4", 1)
    film(tmp_path / "real" / "b.mp4", 2)
    out = tmp_path / "out"
    out.mkdir()
    (out / "clips").symlink_to(tmp_path / "real")
    (out / "again").symlink_to(out)
    (out / "c.mp4").symlink_to(tmp_path / "real" / "a.mp4")
    (out / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    items, _ = outputs(out, BOTH)
    assert [item.item_id for item in items] == ["c.mp4", "clips/a.mp4", "clips/b.mp4", "gone.mp4"]
    with pytest.raises(UserError, match=r"^gone\.mp4: there is no such file$"):
        first(items[3])
    assert same_content(items) == [("clips/a.mp4", "c.mp4")]


def test_equal_content_is_found_between_two_folders(tmp_path: Path) -> None:
    for seed in range(3):
        film(tmp_path / "out" / f"c{seed}.mp4", seed)
    for seed in range(2, 5):
        film(tmp_path / "real" / f"r{seed}.mp4", seed)
    items, others = outputs(tmp_path / "out", BOTH)[0], reference(tmp_path / "real", BOTH)[0]
    assert same_content(items, others) == [("c2.mp4", "r2.mp4")]
    assert not same_content(items)


def test_a_reference_folder_is_named_by_what_it_holds(tmp_path: Path) -> None:
    film(tmp_path / "real" / "a.mp4", 1)
    film(tmp_path / "real" / "b.mp4", 2)
    items, about = reference(tmp_path / "real", BOTH)
    assert (about["name"], about["version"], about["split"], len(items)) == ("real", "", "", 2)
    shutil.copytree(tmp_path / "real", tmp_path / "copy")
    assert reference(tmp_path / "copy", BOTH)[1]["sha256"] == about["sha256"]
    film(tmp_path / "copy" / "b.mp4", 3)
    assert reference(tmp_path / "copy", BOTH)[1]["sha256"] != about["sha256"]


def test_refused_files_of_a_reference_fail_with_their_reason(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", 1)
    wav(tmp_path / "b.wav", 2)
    items, _ = reference(tmp_path, BOTH)
    with pytest.raises(UserError, match=r"^b\.wav: has no picture"):
        first(items[1])


def test_folders_of_pictures_beside_films(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", 1)
    stills(tmp_path / "b", 2)
    wav(tmp_path / "b.wav", 2)
    items, failed = outputs(tmp_path, BOTH)
    assert [item.item_id for item in items] == ["a.mp4", "b"]
    assert not failed
    assert sounds_like(first(items[1]), 2, 1e-3)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "holds no clip; a score needs at least 2 clips"),
        ({"a.pt": b"x", "b.pth": b"x"}, "it holds 2 pickled files, which are not opened: save the tensors as .npz"),
        ({"a.zip": b"x"}, "it holds archives, which are not opened: unpack them"),
        ({"a.wav": b"x"}, "holds no clip; .* a.wav: has no picture"),
        ({"a.tar": b"x"}, "holds no clip; .* a.tar: not a readable tar"),
    ],
)
def test_a_folder_without_clips_is_one_sentence(files: dict[str, bytes], sentence: str, tmp_path: Path) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=sentence) as caught:
        outputs(tmp_path, BOTH)
    assert "\n" not in str(caught.value)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    for call in (outputs, reference):
        with pytest.raises(UserError, match="there is no such folder"):
            call(path, BOTH)


def test_two_streams_of_a_name_count_as_the_first(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", 1, sound=False)
    film(tmp_path / "b.mp4", 2, sound=False)
    wav(tmp_path / "a.flac", 3)
    wav(tmp_path / "a.wav", 1)
    beacon.run("-i", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"))
    item = outputs(tmp_path, BOTH)[0][0]
    assert sounds_like(first(item), 3, 1e-3)
    assert names(tmp_path, PICTURE) == ["a.mp4", "b.mp4"]
