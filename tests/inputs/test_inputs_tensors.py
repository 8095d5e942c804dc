"""Clips that are tensors: exactly the numbers that were saved, or a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import BOTH, PICTURE, pictures, sounds, wav
from safetensors.numpy import save_file

from avbench.errors import MediaError
from avbench.inputs import Window, outputs
from avbench.protocol import Protocol
from tests.clips import RATE

RATES = {"fps": 10, "sample_rate_hz": RATE}


def card(folder: Path, **facts: Any) -> None:
    (folder / "samples.json").write_text(json.dumps({**RATES, **facts}))


def all_windows(folder: Path, rules: Protocol = BOTH) -> list[Window]:
    items, failed = outputs(folder, rules)
    assert not failed
    return [window for item in items for window in item.windows(rules)]


def exact(window: Window, seed: int, tolerance: float = 0.0) -> bool:
    same = np.array_equal(window.signals.video, pictures(seed))
    return same and bool(np.abs(window.signals.audio - sounds(seed)).max() <= tolerance)


def save(folder: Path, kind: str, seed: int) -> None:
    """One clip in one of the forms that tensors come in."""
    video, audio = pictures(seed), sounds(seed)
    match kind:
        case "npz":
            np.savez(folder / f"c{seed}.npz", video=video, audio=audio, **RATES)
        case "npz-flat":
            np.savez_compressed(folder / f"c{seed}.npz", video=video, audio=audio[0])
        case "safetensors":
            tensors = {"video": video, "audio": audio}
            save_file(tensors, folder / f"c{seed}.safetensors", metadata={k: str(v) for k, v in RATES.items()})
        case "safetensors-card":
            save_file({"video": video, "audio": audio}, folder / f"c{seed}.safetensors")
        case "npy":
            np.save(folder / f"c{seed}.video.npy", video)
            np.save(folder / f"c{seed}.audio.npy", audio)
        case "npy-plain":
            np.save(folder / f"c{seed}.npy", video)
            np.save(folder / f"c{seed}.audio.npy", audio[0])
        case "npy-wav":
            np.save(folder / f"c{seed}.npy", video)
            wav(folder / f"c{seed}.wav", seed, codec="pcm_f32le")
        case "npy-folders":
            (folder / f"c{seed}").mkdir()
            np.save(folder / f"c{seed}" / "video.npy", video)
            np.save(folder / f"c{seed}" / "audio.npy", audio)


@pytest.mark.parametrize(
    "kind",
    ["npz", "npz-flat", "safetensors", "safetensors-card", "npy", "npy-plain", "npy-wav", "npy-folders"],
)
def test_every_form_gives_back_the_very_numbers(kind: str, tmp_path: Path) -> None:
    if kind not in ("npz", "safetensors"):
        card(tmp_path)
    for seed in (1, 2):
        save(tmp_path, kind, seed)
    found = all_windows(tmp_path)
    assert len(found) == 2
    assert all(exact(window, seed) for seed, window in enumerate(found, 1))
    assert found[0].window_id == ("c1/video@0" if kind == "npy-folders" else "c1@0")


def test_many_clips_in_one_array(tmp_path: Path) -> None:
    card(tmp_path)
    np.save(tmp_path / "video.npy", np.stack([pictures(seed) for seed in range(3)]))
    np.save(tmp_path / "audio.npy", np.stack([sounds(seed) for seed in range(3)]))
    items, _ = outputs(tmp_path, BOTH)
    assert [item.item_id for item in items] == [f"video.npy#0000{k}" for k in range(3)]
    assert len({item.content_sha256() for item in items}) == 3
    assert all(exact(window, seed) for seed, window in enumerate(all_windows(tmp_path)))
    np.save(tmp_path / "audio.npy", np.stack([sounds(seed) for seed in range(2)]))
    with pytest.raises(MediaError, match=r"^video\.npy#00000: 3 clips in video\.npy, 2 in its sound$"):
        next(items[0].windows(BOTH))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_floats_in_a_stated_range_are_the_grey_levels_they_stand_for(
    low: float, high: float, dtype: type, tmp_path: Path
) -> None:
    card(tmp_path, range=[low, high])
    for seed in (1, 2):
        video = (pictures(seed) / 255 * (high - low) + low).astype(dtype)
        np.savez(tmp_path / f"c{seed}.npz", video=video, audio=sounds(seed))
    assert all(exact(window, seed) for seed, window in enumerate(all_windows(tmp_path), 1))


def test_16_bit_sound_is_scaled(tmp_path: Path) -> None:
    for seed in (1, 2):
        audio = np.rint(sounds(seed) * 32768).astype(np.int16)
        np.savez(tmp_path / f"c{seed}.npz", video=pictures(seed), audio=audio, **RATES)
    assert all(exact(window, seed, 1 / 32768) for seed, window in enumerate(all_windows(tmp_path), 1))


NAN = np.full((1, 25600), np.nan, np.float32)
VIDEO = pictures(1)
FLOAT = VIDEO.astype(np.float32)


@pytest.mark.parametrize(
    ("arrays", "stated", "reason"),
    [
        ({"video": FLOAT / 255}, {}, 'its video is float32 and nothing states the range .* put "range": \\[0, 1\\]'),
        ({"video": FLOAT}, {"range": [0, 1]}, "holds values from .* beyond the range \\[0, 1\\] that is stated"),
        ({"video": np.full_like(FLOAT, np.inf)}, {"range": [0, 1]}, "its video holds NaN or infinity"),
        ({"audio": NAN}, {}, "its sound holds NaN or infinity"),
        ({"video": VIDEO.astype(np.int32)}, {}, "its video is int32, must be uint8 or floating point"),
        (
            {"video": VIDEO.transpose(0, 3, 1, 2)},
            {},
            r"its video is uint8 \(16, 3, 32, 32\), must be uint8 \(T, H, W, 3",
        ),
        ({"audio": sounds(1).T}, {}, r"its audio is \(25600, 1\), must be \(channels, samples\)"),
        ({"audio": sounds(1).astype(np.int32)}, {}, "its audio is int32"),
        ({"fps": 8.0}, {}, "8 fps, the protocol takes 10 fps; write these clips as .mp4, which is resampled"),
        ({"sample_rate_hz": 44100}, {}, "its sound ends after 9288 samples, 25600 are needed"),
        ({"fps": 0}, {}, "nothing states its frame rate; save 'fps' with it or put it into samples.json"),
        ({"video": VIDEO[:8]}, {}, r"shorter than one window of 1.6 s \(8 frames at 10 fps"),
        ({"audio": sounds(1)[:, :20_000]}, {}, "its sound ends after 20000 samples, 25600 are needed"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_reason(
    arrays: dict[str, Any], stated: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "samples.json").write_text(json.dumps(stated))
    good = {"video": VIDEO, "audio": sounds(1), **RATES}
    np.savez(tmp_path / "bad.npz", **{**good, **arrays})
    np.savez(tmp_path / "good.npz", **good)
    bad, fine = outputs(tmp_path, BOTH)[0]
    with pytest.raises(MediaError, match=rf"^bad\.npz: .*{reason}"):
        list(bad.windows(BOTH))
    assert len(list(fine.windows(BOTH))) == 1


@pytest.mark.parametrize("name", ["bad.npz", "bad.safetensors", "bad.video.npy"])
@pytest.mark.parametrize("data", [b"", b"no tensors at all", b"PK\x03\x04 cut", b"\x93NUMPY\x01\x00v\x00"])
def test_a_damaged_file_is_one_sentence(name: str, data: bytes, tmp_path: Path) -> None:
    card(tmp_path)
    (tmp_path / name).write_bytes(data)
    for seed in (1, 2):
        save(tmp_path, "npz", seed)
    item = outputs(tmp_path, BOTH)[0][0]
    with pytest.raises(MediaError, match=rf"^{name}: not a readable") as caught:
        list(item.windows(BOTH))
    assert str(tmp_path) not in str(caught.value)


def test_a_pickle_inside_is_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", video=np.array([{"x": 1}], dtype=object), audio=sounds(1), **RATES)
    save(tmp_path, "npz", 2)
    with pytest.raises(MediaError, match=r"^a\.npz: not a readable \.npz file \(Object arrays cannot be loaded"):
        list(outputs(tmp_path, BOTH)[0][0].windows(BOTH))


def test_arrays_that_are_no_video_are_no_clips(tmp_path: Path) -> None:
    for seed in (1, 2):
        save(tmp_path, "npz", seed)
    np.save(tmp_path / "features.npy", np.zeros((10, 400), np.float32))
    save_file({"fvd": np.zeros((10, 400), np.float32)}, tmp_path / "features.safetensors")
    assert len(all_windows(tmp_path)) == 2


def test_one_sound_for_many_clips_is_refused(tmp_path: Path) -> None:
    card(tmp_path)
    np.save(tmp_path / "x.npy", np.stack([pictures(1)] * 2))
    wav(tmp_path / "x.wav", 1)
    for seed in (1, 2):
        save(tmp_path, "npz", seed)
    _, failed = outputs(tmp_path, BOTH)
    assert failed["x.npy"] == "x.npy: holds 2 clips, and x.wav is one sound; save audio.npy beside it"


def test_a_clip_without_sound_is_fine_where_none_is_needed(tmp_path: Path) -> None:
    for seed in (1, 2):
        np.savez(tmp_path / f"c{seed}.npz", video=pictures(seed), fps=10)
    assert len(all_windows(tmp_path, PICTURE)) == 2
    with pytest.raises(MediaError, match=r"^c1\.npz: has no sound$"):
        all_windows(tmp_path)


def test_what_the_folder_says_is_part_of_the_content(tmp_path: Path) -> None:
    save(tmp_path, "npy", 1)
    save(tmp_path, "npy", 2)
    card(tmp_path)
    before = outputs(tmp_path, BOTH)[0][0].content_sha256()
    card(tmp_path, fps=20)
    assert outputs(tmp_path, BOTH)[0][0].content_sha256() != before


@pytest.mark.parametrize("rate_hz", [44100, 48000, 8000])
def test_sound_is_brought_to_the_protocols_rate_as_that_of_a_film_is(tmp_path: Path, rate_hz: int) -> None:
    from tests.clips import write_npz

    seconds = np.arange(round(1.6 * RATE)) / RATE
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)[None]
    np.savez(tmp_path / "a.npz", video=pictures(1), audio=tone, **RATES)
    write_npz(tmp_path / "b.npz", 2)
    rules = BOTH.model_copy(update={"sample_rate_hz": rate_hz})
    (window, _) = all_windows(tmp_path, rules)
    heard = window.signals.audio
    assert heard.shape == (1, round(1.6 * rate_hz))
    assert heard.dtype == np.float32
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(heard.shape[1]) / rate_hz)
    inner = slice(rate_hz // 100, -rate_hz // 100)
    assert np.abs(heard[0, inner] - wanted[inner]).max() < 0.005, "pitch, level and time are kept"
