"""Measuring a side: batches across clips, the cache, shares of long files, windows a network cannot describe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avbench import inputs, measure, sides
from avbench.cache import FeatureCache
from avbench.errors import MediaError
from avbench.features._base import Embedding
from avbench.protocol import Protocol
from avbench.sides import Side
from tests.clips import write_npz

RULES = Protocol(name="toy", metrics=("fvd",), frames=16, fps=10, size=32, windows="tile", n=64, min_n=2)
CHEAP = RULES.model_copy(update={"metrics": ("av_align", "mel_fd", "flow_fd")})


class Network:
    """Stands for a feature network: the mean grey level and the number of the call that saw the clip."""

    modality, fps, sample_rate_hz, dim, name = "video", None, None, 2, "i3d"

    def __init__(self, batch_dependent: bool = False, dark_is_bad: bool = False) -> None:
        self.settings = {"stub": 1}
        self.weights_sha256 = "ab" * 32
        self.batch_dependent, self.batch_size = batch_dependent, 3 if batch_dependent else None
        self.batches: list[int] = []
        self.dark_is_bad = dark_is_bad

    def embed(self, clips: np.ndarray) -> Embedding:
        if self.dark_is_bad and (clips.reshape(len(clips), -1).max(axis=1) == 0).any():
            raise MediaError("too dark to see")
        self.batches.append(len(clips))
        rows = np.stack([np.array([clip.mean(), len(self.batches)]) for clip in clips]).astype(np.float32)
        return Embedding(rows, np.arange(len(clips)))


def folder(root: Path, count: int, **options: float) -> Path:
    for seed in range(count):
        write_npz(root / f"clip-{seed:03d}.npz", seed, **options)
    return root


def collect(where: Path, rules: Protocol = RULES, network: Network | None = None, **options: object) -> Side:
    items, _ = inputs.outputs(where, rules)
    networks = {"i3d": network} if network is not None else {}
    return sides.collect(items, rules, networks, **{"per_clip": True, **options})  # type: ignore[arg-type]


def test_a_network_sees_whole_batches_that_reach_across_clips(tmp_path: Path) -> None:
    network = Network()
    side = collect(folder(tmp_path, 19), network=network)
    assert network.batches == [8, 8, 3]
    assert side.embeddings["i3d"].owner.tolist() == list(range(19))
    assert len(side.window_ids) == 19


def test_rows_follow_their_clips_whatever_the_batch(tmp_path: Path) -> None:
    folder(tmp_path, 11)
    whole = collect(tmp_path, network=Network()).embeddings["i3d"].values[:, 0]
    alone = collect(tmp_path, network=Network(batch_dependent=True)).embeddings["i3d"].values[:, 0]
    assert whole.tolist() == alone.tolist()
    expected = [np.load(path)["video"].mean(dtype=np.float64) for path in sorted(tmp_path.glob("*.npz"))]
    assert whole == pytest.approx(expected, rel=1e-5)


def test_what_is_cached_is_neither_decoded_nor_embedded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = folder(tmp_path / "clips", 6)
    rules = CHEAP.model_copy(update={"metrics": ("av_align", "mel_fd", "fvd")})
    with FeatureCache(tmp_path / "c.sqlite") as cache:
        first = collect(where, rules, Network(), cache=cache)
    decoded: list[str] = []

    def counted(job: measure.Job) -> measure.Measured:
        decoded.append(job.item.item_id)
        return plain(job)

    plain = measure.measure
    monkeypatch.setattr(measure, "measure", counted)
    network = Network()
    with FeatureCache(tmp_path / "c.sqlite") as cache:
        again = collect(where, rules, network, cache=cache)
    assert (decoded, network.batches) == ([], [])
    assert again.window_ids == first.window_ids
    assert again.evidence == first.evidence
    for name in ("mel", "i3d"):
        assert again.embeddings[name].values.tolist() == first.embeddings[name].values.tolist()

    write_npz(where / "clip-003.npz", 99)
    other = Network()
    with FeatureCache(tmp_path / "c.sqlite") as cache:
        changed = collect(where, rules, other, cache=cache)
    assert (decoded, other.batches) == (["clip-003.npz"], [1])
    differ = (changed.embeddings["mel"].values != first.embeddings["mel"].values).any(axis=1)
    assert np.flatnonzero(differ).tolist() == [3]


@pytest.mark.parametrize("change", [{"settings": {"stub": 2}}, {"weights_sha256": "cd" * 32}])
def test_another_option_or_other_weights_are_measured_anew(tmp_path: Path, change: dict[str, object]) -> None:
    where, other = folder(tmp_path / "clips", 3), Network()
    vars(other).update(change)
    with FeatureCache(tmp_path / "c.sqlite") as cache:
        collect(where, network=Network(), cache=cache)
        collect(where, network=other, cache=cache)
    assert other.batches == [3]


def test_a_network_that_depends_on_the_batch_is_never_cached(tmp_path: Path) -> None:
    where, networks = folder(tmp_path / "clips", 7), [Network(batch_dependent=True) for _ in range(2)]
    with FeatureCache(tmp_path / "c.sqlite") as cache:
        for network in networks:
            collect(where, network=network, cache=cache)
    assert [network.batches for network in networks] == [[3, 3, 1], [3, 3, 1]]


def test_a_clip_that_a_network_cannot_describe_is_left_out_of_that_feature_alone(tmp_path: Path) -> None:
    folder(tmp_path, 4)
    video, sound = np.zeros((16, 32, 32, 3), np.uint8), np.zeros((1, 25600), np.float32)
    np.savez(tmp_path / "clip-001.npz", video=video, audio=sound, fps=10.0, sample_rate_hz=16000)
    side = collect(tmp_path, network=Network(dark_is_bad=True))
    assert len(side.window_ids) == 4
    assert side.embeddings["i3d"].owner.tolist() == [0, 2, 3]
    assert side.faults["i3d"] == {1: "too dark to see"}


def test_levels_change_what_the_network_sees(tmp_path: Path) -> None:
    folder(tmp_path, 4)
    plain = collect(tmp_path, network=Network()).embeddings["i3d"].values[:, 0]
    washed_out = RULES.model_copy(update={"levels": "javisbench"})
    seen = collect(tmp_path, washed_out, Network()).embeddings["i3d"].values[:, 0]
    assert seen == pytest.approx(127.5 + plain / 2, abs=0.6)


def test_long_files_give_no_more_than_their_share(tmp_path: Path) -> None:
    for seed in range(2):
        write_npz(tmp_path / f"long-{seed}.npz", seed, frames=160)
    for seed in range(2, 8):
        write_npz(tmp_path / f"short-{seed}.npz", seed)
    side = collect(tmp_path, RULES.model_copy(update={"n": 24}))
    assert [side.items.count(f"long-{seed}.npz") for seed in range(2)] == [3, 3]
    assert len(side.window_ids) == 12
    starts = [start for item, start in zip(side.items, side.start_s, strict=True) if item == "long-0.npz"]
    assert starts == sorted(starts)
    assert len(set(starts)) == 3


def test_shares_add_up_to_n_and_do_not_favour_the_first() -> None:
    found = measure.shares(RULES.model_copy(update={"n": 100}), 30)
    assert sum(found) == 100
    assert set(found) == {3, 4}
    assert found != sorted(found, reverse=True)
    assert measure.shares(RULES.model_copy(update={"windows": "first"}), 3) == [1, 1, 1]


def test_clips_are_repeated_only_where_the_protocol_says_so(tmp_path: Path) -> None:
    folder(tmp_path, 5)
    endless = RULES.model_copy(update={"n": 12, "repeat_to_n": True})
    side = collect(tmp_path, endless, Network())
    assert (len(side.window_ids), side.distinct) == (12, 5)
    assert side.window_ids[5] == side.window_ids[0]
    assert side.embeddings["i3d"].values[5].tolist() == side.embeddings["i3d"].values[0].tolist()
    assert len(collect(tmp_path, RULES.model_copy(update={"n": 12}), Network()).window_ids) == 5


def test_a_file_that_vanishes_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    items, _ = inputs.outputs(folder(tmp_path, 3), CHEAP)
    (tmp_path / "clip-001.npz").unlink()
    with FeatureCache(tmp_path / "c.sqlite") as cache:
        side = sides.collect(items, CHEAP, {}, per_clip=True, cache=cache)
    assert list(side.failed) == ["clip-001.npz"]
    assert len(side.window_ids) == 2


@pytest.mark.slow
def test_the_side_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    folder(tmp_path, 9)
    one, two = (collect(tmp_path, CHEAP, workers=workers) for workers in (1, 2))
    assert one.window_ids == two.window_ids
    for a, b in zip(one.evidence["av_align"], two.evidence["av_align"], strict=True):
        assert (a.audio_times_s, a.video_times_s) == (b.audio_times_s, b.video_times_s)
    assert one.embeddings["flow"].values.tolist() == two.embeddings["flow"].values.tolist()
