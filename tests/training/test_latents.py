"""A dataset as latents: encoded once, the same after a kill, normalised by what was measured, and never stale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench.errors import UserError
from avbench.training import latents
from avbench.training.latents import LatentLoader, encode_dataset
from avbench.training.loader import WindowLoader
from tests.training import folding

STRIDE = 4
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folding.write_set(tmp_path_factory.mktemp("latents") / "data")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of two windows."""
    monkeypatch.setattr(latents, "_SHARD_BYTES", 2 * 4 * (5 * 24 * 8 * 8 + 45 * 32))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def encode(dataset: Path, folder: Path, **options: object) -> Path:
    return encode_dataset(dataset, "train", options.pop("pair", None) or folding.pair(), stride=STRIDE, folder=folder)  # type: ignore[arg-type]


def test_each_window_is_encoded_by_itself_at_its_fixed_start(dataset: Path, tmp_path: Path) -> None:
    loader = LatentLoader(encode(dataset, tmp_path), "train", seed=0)
    pair, source = folding.pair(), WindowLoader(dataset, "train", folding.WINDOW, seed=0)
    starts = [(row, start) for row in range(3) for start in (0, 4, 8)]
    assert len(loader) == len(starts)
    for number, (row, start) in enumerate(starts):
        video, audio = source.window_at(row, start)
        wanted = pair.encode(torch.from_numpy(video).permute(0, 3, 1, 2)[None], torch.from_numpy(audio)[None, None])
        found_video, found_audio, name = loader.raw(number)
        assert name == f"c{row}_0000@{start}"
        assert np.array_equal(found_video, wanted[0][0].numpy())
        assert np.array_equal(found_audio, wanted[1][0].numpy())


def test_batches_have_zero_mean_and_unit_variance_in_every_channel(dataset: Path, tmp_path: Path) -> None:
    loader = LatentLoader(encode(dataset, tmp_path), "train", seed=0)
    batch, statistics = loader.batch(0, 9), loader.statistics
    assert batch.video.shape == (9, 5, 24, 8, 8)
    assert batch.audio.shape == (9, 45, 32)
    for values, axes in ((batch.video, (0, 1, 3, 4)), (batch.audio, (0, 1))):
        assert values.dtype == torch.float32
        assert values.double().mean(axes).abs().max() < 1e-4
        assert (values.double().std(axes, correction=0) - 1).abs().max() < 1e-4
    largest = float(batch.video.abs().max()), float(batch.audio.abs().max())
    assert largest == pytest.approx((statistics.video_largest, statistics.audio_largest), rel=1e-5)


def test_an_epoch_shows_every_window_once_and_a_batch_depends_on_seed_and_step_alone(
    dataset: Path, tmp_path: Path
) -> None:
    folder = encode(dataset, tmp_path)
    loader = LatentLoader(folder, "train", seed=5)
    epoch = [name for step in range(3) for name in loader.batch(step, 3).ids]
    assert len(set(epoch)) == 9
    again = LatentLoader(folder, "train", seed=5).batch(2, 3)
    assert again.ids == tuple(epoch[6:])
    assert torch.equal(again.video, loader.batch(2, 3).video)
    assert LatentLoader(folder, "train", seed=6).batch(0, 9).ids != tuple(epoch)
    assert [name for step in range(3, 6) for name in loader.batch(step, 3).ids] != epoch


def test_the_shares_of_two_processes_are_the_batch_of_one(dataset: Path, tmp_path: Path) -> None:
    loader = LatentLoader(encode(dataset, tmp_path), "train", seed=0)
    whole, parts = loader.batch(1, 4), [loader.batch(1, 4, rank=rank, world=2) for rank in (0, 1)]
    assert torch.equal(torch.cat([part.video for part in parts]), whole.video)
    assert torch.equal(torch.cat([part.audio for part in parts]), whole.audio)
    assert parts[0].ids + parts[1].ids == whole.ids


KILLED = """
import os, signal, sys
from pathlib import Path
from avbench.training import latents
from tests.training import folding

class Killed(folding.FoldedPictures):
    def _encode(self, clip):
        if self.calls == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._encode(clip)

latents._SHARD_BYTES = int(sys.argv[3])
pair = folding.pair()
object.__setattr__(pair, "video", Killed())
latents.encode_dataset(Path(sys.argv[1]), "train", pair, stride=4, folder=Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_after_kill_9_the_same_call_ends_with_the_same_bytes(dataset: Path, tmp_path: Path, small_shards: None) -> None:
    whole = encode(dataset, tmp_path / "whole")
    arguments = [str(dataset), str(tmp_path / "killed"), str(latents._SHARD_BYTES)]
    child = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, cwd=ROOT)
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / whole.name).exists()
    pair = folding.pair()
    again = encode(dataset, tmp_path / "killed", pair=pair)
    assert pair.video.calls == 9 - 4  # type: ignore[attr-defined] # two shards of two windows were finished
    assert again.name == whole.name
    assert content(again) == content(whole)


def test_latents_that_are_there_are_not_encoded_again(dataset: Path, tmp_path: Path) -> None:
    first, pair = encode(dataset, tmp_path), folding.pair()
    assert encode(dataset, tmp_path, pair=pair) == first
    assert pair.video.calls == 0  # type: ignore[attr-defined]


def without_the_largest(folder: Path) -> Path:
    """Latents as earlier versions left them."""
    card = json.loads((folder / "LATENTS.json").read_text())
    for name in ("video_largest", "audio_largest"):
        del card["statistics"][name]
    (folder / "LATENTS.json").write_text(json.dumps(card))
    return folder


def test_of_latents_that_do_not_say_how_large_they_are_it_is_measured_and_nothing_is_encoded(
    dataset: Path, tmp_path: Path, small_shards: None
) -> None:
    folder, pair = encode(dataset, tmp_path), folding.pair()
    before = content(folder)
    without_the_largest(folder)
    assert encode(dataset, tmp_path, pair=pair) == folder
    assert content(folder) == before
    assert pair.video.calls == 0  # type: ignore[attr-defined]


def test_such_latents_are_not_measured_where_they_are_damaged(dataset: Path, tmp_path: Path) -> None:
    folder = without_the_largest(encode(dataset, tmp_path))
    os.truncate(folder / "train-00000.audio.npy", 5000)
    with pytest.raises(UserError, match=r"train-00000\.audio\.npy: absent or damaged; delete the folder"):
        encode(dataset, tmp_path)


def test_of_two_that_ask_at_once_one_encodes(dataset: Path, tmp_path: Path) -> None:
    pairs = [folding.pair(), folding.pair()]
    threads = [threading.Thread(target=encode, args=(dataset, tmp_path), kwargs={"pair": pair}) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pair.video.calls for pair in pairs) == [0, 9]  # type: ignore[attr-defined]


def test_another_codec_stride_or_dataset_has_a_folder_of_its_own(dataset: Path, tmp_path: Path) -> None:
    made = {encode(dataset, tmp_path), encode(dataset, tmp_path, pair=folding.pair(scale=4.0))}
    made.add(encode_dataset(dataset, "train", folding.pair(), stride=9, folder=tmp_path))
    # a takedown changes the dataset's digest: what was encoded of the recording is not found any more
    changed = folding.write_set(tmp_path / "changed", clips=2)
    card = changed / "shards" / "DATASET.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "dataset_sha256": "1" * 64}))
    made.add(encode(changed, tmp_path))
    assert len(made) == 4


def test_a_channel_that_never_changes_comes_back_as_it_was(tmp_path: Path) -> None:
    data = folding.write_set(tmp_path / "data")
    silent = folding.pair()
    object.__setattr__(silent, "audio", Silent())
    statistics = LatentLoader(encode(data, tmp_path / "latents", pair=silent), "train", seed=0).statistics
    assert set(statistics.audio_std) == {1.0}
    assert set(statistics.audio_mean) == {2.0}


class Silent(folding.LowTones):
    """A collapsed codec: says the same of every sound."""

    def _encode(self, clip: torch.Tensor) -> torch.Tensor:
        return torch.full_like(super()._encode(clip), 2.0)


class Broken(folding.LowTones):
    """Overflows on one clip."""

    def _encode(self, clip: torch.Tensor) -> torch.Tensor:
        found = super()._encode(clip)
        return found * float("nan") if len(self.heard) == 5 else found


def test_latents_that_are_no_numbers_are_refused_by_the_name_of_their_window(dataset: Path, tmp_path: Path) -> None:
    broken = folding.pair()
    object.__setattr__(broken, "audio", Broken())
    with pytest.raises(UserError, match=r"codec low-tones: .* window c1_0000@4 hold NaN"):
        encode(dataset, tmp_path, pair=broken)
    assert not [path for path in tmp_path.iterdir() if path.name[0] != "."]


@pytest.mark.parametrize("file", ["train-00000.video.npy", "train-00000.audio.npy", "index.parquet"])
def test_a_file_that_is_cut_off_is_named_with_the_way_out(dataset: Path, tmp_path: Path, file: str) -> None:
    folder = encode(dataset, tmp_path)
    os.truncate(folder / file, 100)
    with pytest.raises(UserError, match=rf"{file}: absent or damaged; delete the folder"):
        LatentLoader(folder, "train", seed=0)


def test_a_card_without_the_mean_of_a_modality_is_named_with_the_place(dataset: Path, tmp_path: Path) -> None:
    folder = encode(dataset, tmp_path)
    card = json.loads((folder / "LATENTS.json").read_text())
    del card["statistics"]["video_mean"]
    (folder / "LATENTS.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"LATENTS.json: damaged \(statistics.video_mean"):
        LatentLoader(folder, "train", seed=0)


def test_another_split_is_not_read_as_this_one(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="latents of the split 'train', not 'test'"):
        LatentLoader(encode(dataset, tmp_path), "test", seed=0)


def test_the_card_says_what_the_latents_are(dataset: Path, tmp_path: Path) -> None:
    card = LatentLoader(encode(dataset, tmp_path), "train", seed=0).card
    assert card["codecs"]["video"]["name"] == "folded"
    assert card["codecs"]["audio"]["licence"] == "MIT"
    assert card["dataset_sha256"] == "0" * 64
    assert card["windows"] == 9
    assert card["shape"] == {"video": [5, 24, 8, 8], "audio": [45, 32]}
