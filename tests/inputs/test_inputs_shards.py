"""Clips in WebDataset shards and in our own datasets."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from folders import BOTH, PICTURE, SOUND, film, pictures, sounds, wav

from avbench.curate._tar import TarWriter
from avbench.errors import MediaError, UserError
from avbench.inputs import Item, Window, outputs, prompts, reference
from avbench.protocol import Protocol
from avbench.workspace import file_sha256
from tests.clips import RATE


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def tar(path: Path, held: dict[str, bytes]) -> dict[str, int]:
    """A tar of these members; returns where the data of each begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(path) as writer:
        return {name: writer.add(name, data) for name, data in held.items()}


def mp4(folder: Path, seed: int, **options: float) -> bytes:
    return film(folder / f".{seed}.mp4", seed, **options).read_bytes()  # type: ignore[arg-type]


def only(item: Item, rules: Protocol = BOTH) -> Window:
    (window,) = item.windows(rules)
    return window


def test_films_sounds_and_texts_of_a_shard(tmp_path: Path) -> None:
    sound = wav(tmp_path / ".s.wav", 5).read_bytes()
    tar(
        tmp_path / "out" / "part-0.tar",
        {
            "a.mp4": mp4(tmp_path, 1), "a.txt": b"a red ball\n",
            "b.mp4": mp4(tmp_path, 2), "b.wav": sound, "b.json": b'{"caption": "a blue ball"}',
            "readme.md": b"words",
        },
    )  # fmt: skip
    tar(tmp_path / "out" / "part-1.tar", {"sub/a.mp4": mp4(tmp_path, 3), "b.mp4": mp4(tmp_path, 4)})
    items, failed = outputs(tmp_path / "out", BOTH)
    assert [item.item_id for item in items] == ["part-0.tar/a", "part-0.tar/b", "part-1.tar/b", "part-1.tar/sub/a"]
    assert not failed
    found = [only(item) for item in items]
    assert [window.window_id for window in found] == ["a@0", "part-0.tar/b@0", "part-1.tar/b@0", "sub/a@0"]
    for window, seed in zip(found, (1, 5, 4, 3), strict=True):
        np.testing.assert_allclose(window.signals.audio, sounds(seed), atol=1e-3)
    assert prompts(tmp_path / "out", [item.item_id for item in items]) == {
        "part-0.tar/a": "a red ball",
        "part-0.tar/b": "a blue ball",
    }


def test_arrays_count_at_the_protocols_rates_and_the_film_at_others(tmp_path: Path) -> None:
    rates = json.dumps({"fps": 30, "view_fps": 10, "view_sample_rate_hz": RATE}).encode()
    held = {}
    for seed in (1, 2):
        held |= {
            f"c{seed}.mp4": mp4(tmp_path, seed + 5), f"c{seed}.video.npy": npy(pictures(seed)),
            f"c{seed}.audio.npy": npy(sounds(seed)[0]), f"c{seed}.json": rates,
        }  # fmt: skip
    tar(tmp_path / "x" / "a.tar", held)
    item = outputs(tmp_path / "x", BOTH)[0][0]
    np.testing.assert_array_equal(only(item).signals.video, pictures(1))
    np.testing.assert_array_equal(only(item).signals.audio, sounds(1))
    other = BOTH.model_copy(update={"fps": 5, "frames": 8})
    np.testing.assert_allclose(only(item, other).signals.audio, sounds(6), atol=1e-3)


def test_arrays_alone_need_rates(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", {f"c{s}.video.npy": npy(pictures(s)) for s in (1, 2)})
    item = outputs(tmp_path, PICTURE)[0][0]
    with pytest.raises(MediaError, match=r"^a\.tar/c1: nothing states its frame rate"):
        only(item, PICTURE)
    (tmp_path / "samples.json").write_text('{"fps": 10}')
    np.testing.assert_array_equal(only(outputs(tmp_path, PICTURE)[0][0], PICTURE).signals.video, pictures(1))


def test_tensors_in_a_shard(tmp_path: Path) -> None:
    held = {}
    for seed in (1, 2):
        stream = io.BytesIO()
        np.savez(stream, video=pictures(seed), audio=sounds(seed), fps=10, sample_rate_hz=RATE)
        held[f"c{seed}.npz"] = stream.getvalue()
    tar(tmp_path / "a.tar", held)
    np.testing.assert_array_equal(only(outputs(tmp_path, BOTH)[0][1]).signals.video, pictures(2))


def test_damage_is_seen(tmp_path: Path) -> None:
    tar(tmp_path / "good.tar", {"a.mp4": mp4(tmp_path, 1), "b.mp4": b"no film", "c.mp4": mp4(tmp_path, 2)})
    data = (tmp_path / "good.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.tar").write_bytes(b"words " * 1000)
    tar(tmp_path / "empty.tar", {"readme.md": b"x"})
    items, failed = outputs(tmp_path, BOTH)
    assert [item.item_id for item in items] == ["good.tar/a", "good.tar/b", "good.tar/c"]
    assert set(failed) == {"cut.tar", "text.tar", "empty.tar"}
    assert "cut off" in failed["cut.tar"] or "not a readable tar" in failed["cut.tar"]
    with pytest.raises(MediaError, match=r"^good\.tar/b: not a video or audio file \(.*\)$"):
        only(items[1])


def test_equal_members_have_equal_content(tmp_path: Path) -> None:
    one, two = mp4(tmp_path, 1), mp4(tmp_path, 2)
    tar(tmp_path / "a.tar", {"a.mp4": one, "b.mp4": two, "c.mp4": one})
    a, b, c = (item.content_sha256() for item in outputs(tmp_path, BOTH)[0])
    assert a == c != b


def test_a_tar_made_by_tar_is_read(tmp_path: Path) -> None:
    for seed in (1, 2):
        film(tmp_path / f"clip{seed}.mp4", seed)
    (tmp_path / "out").mkdir()
    with tarfile.open(tmp_path / "out" / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for seed in (1, 2):
            archive.add(tmp_path / f"clip{seed}.mp4", arcname=f"./a ünïcode folder {'x' * 120}/clip{seed}.mp4")
    items, _ = outputs(tmp_path / "out", BOTH)
    assert len(items) == 2
    np.testing.assert_allclose(only(items[1]).signals.audio, sounds(2), atol=1e-3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset of four clips of 4 s: films at 20 fps, and views of other content, so that one can tell."""
    root = tmp_path_factory.mktemp("dataset")
    shards, rows, held = root / "shards", [], {}
    for seed in range(4):
        held |= {
            f"c{seed}.mp4": mp4(root, seed + 10, frames=80, fps=20.0),
            f"c{seed}.video.npy": npy(pictures(seed, frames=40)),
            f"c{seed}.audio.npy": npy(sounds(seed, 4.0)[0]),
        }
    offsets = tar(shards / "train-00000.tar", held)
    for seed in range(4):
        head = {part: len(held[f"c{seed}.{part}.npy"]) for part in ("video", "audio")}
        raw = {"video": 40 * 32 * 32 * 3, "audio": 64_000 * 4}
        at = {part: offsets[f"c{seed}.{part}.npy"] + head[part] - raw[part] for part in raw}
        rows.append(
            {
                "clip_id": f"c{seed}", "source_id": f"s{seed // 2}", "split": ("train", "test")[seed % 2],
                "shard": "train-00000.tar", "view_frames": 40, "view_size": 32, "view_fps": 10.0,
                "view_samples": 64_000, "view_sample_rate_hz": RATE,
                "video_offset": at["video"], "audio_offset": at["audio"],
            }
        )  # fmt: skip
    pd.DataFrame(rows).to_parquet(shards / "index.parquet")
    card = {
        "schema_version": 1, "name": "toy", "version": "2", "dataset_sha256": "d" * 64,
        "index_sha256": file_sha256(shards / "index.parquet"),
        "splits": {"train": {"clips": 2}, "validation": {"clips": 0}, "test": {"clips": 2}},
        "shards": [{"file": "train-00000.tar", "bytes": (shards / "train-00000.tar").stat().st_size}],
    }  # fmt: skip
    (shards / "DATASET.json").write_text(json.dumps(card))
    return root


@pytest.mark.parametrize(("policy", "starts"), [("first", [0]), ("centre", [12]), ("tile", [0, 16])])
def test_the_view_is_read_where_it_is_what_the_protocol_takes(policy: str, starts: list[int], dataset: Path) -> None:
    rules = BOTH.model_copy(update={"windows": policy})
    items, about = reference(dataset, rules)
    assert about == {"name": "toy", "version": "2", "sha256": "d" * 64, "split": "test"}
    assert [item.item_id for item in items] == ["c1", "c3"]
    found = list(items[1].windows(rules))
    assert [(window.window_id, window.cluster) for window in found] == [(f"c3@{start}", "s1") for start in starts]
    for window, start in zip(found, starts, strict=True):
        np.testing.assert_array_equal(window.signals.video, pictures(3, frames=40)[start : start + 16])
        np.testing.assert_array_equal(window.signals.audio, sounds(3, 4.0)[:, start * 1600 : start * 1600 + 25_600])


@pytest.mark.parametrize(
    "changes",
    [
        {"fps": 20, "frames": 32},
        {"fps": None, "frames": 32},
        {"size": 48},
        {"sample_rate_hz": 44_100},
        {"fit": "crop"},
        {"resize": "torch-bicubic"},
        {"windows": "spread"},
        {"frames": 41, "fps": 11},
    ],
)
def test_the_film_is_decoded_where_the_view_does_not_fit(changes: dict, dataset: Path) -> None:
    rules = BOTH.model_copy(update=changes)
    items, _ = reference(dataset, rules)
    window = only(items[1], rules)
    assert window.signals.video.shape == (rules.frames, rules.size, rules.size, 3)
    assert (window.window_id, window.cluster, window.native_fps) == ("c3@0", "s1", 20.0)
    times = np.arange(window.signals.audio.shape[1]) / rules.sample_rate_hz
    tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * 13) * times)
    assert np.abs(window.signals.audio[0] - tone)[500:-500].max() < 0.01


def test_content_of_a_dataset_clip_is_its_id_in_the_dataset(dataset: Path) -> None:
    items, _ = reference(dataset, BOTH)
    again, _ = reference(dataset, BOTH.model_copy(update={"size": 48}))
    assert [item.content_sha256() for item in items] == [item.content_sha256() for item in again]
    assert items[0].content_sha256() != items[1].content_sha256()
    assert dataclasses.replace(items[0], dataset_sha256="e").content_sha256() != items[0].content_sha256()


def test_a_dataset_built_again_in_the_same_place_is_read_anew(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    items, _ = reference(tmp_path / "set", BOTH)
    before = only(items[0]).signals.video
    shards = tmp_path / "set" / "shards"
    at = int(pd.read_parquet(shards / "index.parquet").set_index("clip_id").loc["c1", "video_offset"])
    data = np.frombuffer((shards / "train-00000.tar").read_bytes(), np.uint8).copy()
    data[at : at + before.size * 2] ^= 255
    (shards / "train-00000.tar").write_bytes(data.tobytes())
    card = json.loads((shards / "DATASET.json").read_text())
    (shards / "DATASET.json").write_text(json.dumps({**card, "dataset_sha256": "e" * 64}))
    items, _ = reference(tmp_path / "set", BOTH)
    np.testing.assert_array_equal(only(items[0]).signals.video, 255 - before)


def test_a_dataset_may_be_scored_with_all_its_splits(dataset: Path) -> None:
    items, failed = outputs(dataset, BOTH)
    assert sorted(item.item_id for item in items) == ["c0", "c1", "c2", "c3"]
    assert not failed
    assert not prompts(dataset, [item.item_id for item in items])
    with pytest.raises(UserError, match="its validation split holds no clip"):
        reference(dataset, BOTH.model_copy(update={"reference_split": "validation"}))


def test_its_shards_without_their_card_are_read_as_shards(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes((dataset / "shards" / "train-00000.tar").read_bytes())
    (tmp_path / "samples.json").write_text(json.dumps({"fps": 10, "sample_rate_hz": RATE}))
    items, _ = outputs(tmp_path, SOUND)
    assert [item.item_id for item in items] == [f"x.tar/c{k}" for k in range(4)]
