"""Ranks, workers, threads and resumes change who reads a window, never which windows a step holds."""

from __future__ import annotations

import pickle
from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader

from avbench.errors import UserError
from avbench.schema import Batch
from avbench.training import loader as loading
from avbench.training.loader import WindowLoader, WindowSpec
from avbench.training.prefetch import Prefetcher
from avbench.training.stream import WindowStream
from tests.training.rendered_sets import write_dataset

WINDOW = WindowSpec(frames=16, fps=10, size=8, samples=25600, sample_rate_hz=16000)


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> WindowLoader:
    return WindowLoader(write_dataset(tmp_path_factory.mktemp("data") / "toy", clips=5), "train", WINDOW, seed=3)


def same(a: Batch, b: Batch) -> bool:
    return a.ids == b.ids and torch.equal(a.video, b.video) and torch.equal(a.audio, b.audio)


def joined(parts: list[Batch]) -> Batch:
    return Batch(
        torch.cat([part.video for part in parts]),
        torch.cat([part.audio for part in parts]),
        tuple(name for part in parts for name in part.ids),
    )


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6, 12])
def test_the_shares_of_all_ranks_are_the_batch_of_one_process(loader: WindowLoader, world: int) -> None:
    for step in range(3):
        parts = [loader.batch(step, 12, rank=rank, world=world) for rank in range(world)]
        assert {len(part.ids) for part in parts} == {12 // world}
        assert same(joined(parts), loader.batch(step, 12))


@pytest.mark.parametrize(
    ("batch_size", "rank", "world", "word"),
    [(12, 0, 5, "multiple of 5"), (12, 4, 4, "ranks are 0 to 3"), (12, -1, 2, "rank -1"), (0, 0, 1, "batch of 0")],
)
def test_a_batch_that_cannot_be_divided_is_refused(
    loader: WindowLoader, batch_size: int, rank: int, world: int, word: str
) -> None:
    with pytest.raises(UserError, match=word):
        loader.batch(0, batch_size, rank=rank, world=world)
    with pytest.raises(UserError, match=word):
        WindowStream(loader, batch_size, rank=rank, world=world)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_data_loader_workers_do_not_change_the_batches(loader: WindowLoader, workers: int) -> None:
    stream = WindowStream(loader, 4, start=2, rank=1, world=2)
    found = list(islice(DataLoader(stream, batch_size=None, num_workers=workers), 7))
    assert all(same(batch, loader.batch(2 + i, 4, rank=1, world=2)) for i, batch in enumerate(found))
    assert len(found) == 7


def test_no_window_is_shown_to_two_workers_or_two_ranks(loader: WindowLoader) -> None:
    """Five clips, batches of five: an epoch per step, so that each clip must come exactly once."""
    wide = [WindowStream(loader, 5 * 2, rank=rank, world=2) for rank in range(2)]
    for batches in zip(
        *(islice(DataLoader(stream, batch_size=None, num_workers=2), 3) for stream in wide), strict=True
    ):
        shown = [name.split("@")[0] for batch in batches for name in batch.ids]
        assert sorted(shown) == sorted([f"c{c}_0000" for c in range(5)] * 2)


def test_a_stream_goes_on_in_the_middle_of_an_epoch(loader: WindowLoader) -> None:
    whole = list(islice(WindowStream(loader, 2), 9))
    for stop in (1, 4):
        resumed = list(islice(WindowStream(loader, 2, start=stop), 9 - stop))
        assert all(same(a, b) for a, b in zip(whole[stop:], resumed, strict=True))


def test_no_batch_is_short_where_an_epoch_ends(loader: WindowLoader) -> None:
    assert {len(batch.ids) for batch in islice(WindowStream(loader, 4), 10)} == {4}


def test_threads_do_not_change_the_batches(loader: WindowLoader) -> None:
    with Prefetcher(loader.batch, threads=3, ahead=4) as batches:
        assert all(same(batches(step, 4), loader.batch(step, 4)) for step in range(12))
        # a loop may jump, go back or change its mind about the size
        assert all(same(batches(step, size), loader.batch(step, size)) for step, size in ((40, 4), (3, 4), (4, 2)))


def test_reading_ahead_is_bounded_and_each_batch_is_read_once(loader: WindowLoader) -> None:
    asked: list[int] = []

    def counted(step: int, batch_size: int) -> Batch:
        asked.append(step)
        return loader.batch(step, batch_size)

    with Prefetcher(counted, threads=2, ahead=3) as batches:
        for step in range(5):
            batches(step, 2)
            assert len(batches._waiting) <= 3
    assert len(asked) == len(set(asked))
    assert max(asked) <= 4 + 3


def test_an_error_of_a_thread_reaches_the_step_that_needs_the_batch() -> None:
    def broken(step: int, batch_size: int) -> Batch:
        if step == 2:
            raise UserError("shard gone")
        return Batch(torch.zeros(1), torch.zeros(1), (str(step),))

    with Prefetcher(broken, ahead=3) as batches:
        assert [batches(step, 1).ids for step in (0, 1)] == [("0",), ("1",)]
        with pytest.raises(UserError, match="shard gone"):
            batches(2, 1)


def test_a_loader_sent_to_another_process_is_small_and_reads_the_same(loader: WindowLoader) -> None:
    sent = pickle.dumps(loader)
    assert len(sent) < 50_000, "data of the shards must not travel"
    assert same(pickle.loads(sent).batch(7, 6), loader.batch(7, 6))


def test_the_order_of_an_epoch_is_drawn_once(loader: WindowLoader) -> None:
    loading.order.cache_clear()
    for step in range(10):
        loader.batch(step, 5)
    assert loading.order.cache_info().misses == 10
    assert loading.order.cache_info().hits == 40


def test_batches_are_pinned_when_asked_for(loader: WindowLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[tuple[str, ...]] = []

    def pin(batch: Batch) -> Batch:
        pinned.append(batch.ids)
        return batch

    monkeypatch.setattr(Batch, "pin_memory", pin)
    for wanted in (False, True):
        with Prefetcher(loader.batch, ahead=0, pin=wanted) as batches:
            ids = batches(3, 2).ids
        assert pinned == [ids] * wanted


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_batches_hold_the_same_windows(loader: WindowLoader) -> None:
    with Prefetcher(loader.batch, pin=True) as batches:
        batch = batches(0, 4)
    assert batch.video.is_pinned()
    assert batch.audio.is_pinned()
    assert same(batch, loader.batch(0, 4))
    stream = DataLoader(WindowStream(loader, 4), batch_size=None, pin_memory=True)
    assert next(iter(stream)).video.is_pinned()
