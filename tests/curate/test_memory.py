"""A long source needs no more memory than a short one, but for a few bytes per packet."""

from __future__ import annotations

import multiprocessing
import re
import tracemalloc
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import media_beacon as beacon
import numpy as np
import pytest
from curate.test_segment_stage import add_source, recipe

from avbench import media
from avbench.curate.segment import segment
from avbench.workspace import Workspace

MIB = 2**20
BYTES_PER_PICTURE = 100
"""40 measured; an object per packet takes 470."""

PEAK_GROWTH_MIB = 35
"""For 90 minutes more: 18 measured, nearly all of it libav's own index of an mp4; with objects 77."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Twenty seconds of a moving bar, repeated to any length without encoding it again."""
    folder = tmp_path_factory.mktemp("films")
    frames = np.zeros((600, 40, 64, 3), np.uint8)
    for k, frame in enumerate(frames):
        frame[:, k % 64] = 255
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, (1, 20 * 16_000)).astype(np.float32)
    media.encode(folder / "piece.mp4", frames, 30, noise, 16_000)

    def of(seconds: int) -> Path:
        made = folder / f"{seconds}.mp4"
        if not made.exists():
            looped = ("-stream_loop", "-1", "-i", str(folder / "piece.mp4"), "-t", str(seconds), "-c", "copy")
            beacon.run(*looped, str(made))
        return made

    return of


def test_an_index_of_a_source_keeps_numbers_and_no_object_per_packet(film: Callable[[int], Path]) -> None:
    peaks, pictures = [], []
    for seconds in (60, 60, 600):  # the first turn imports what it needs
        path = film(seconds)
        tracemalloc.start()
        info, starts_s = media.timeline(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        pictures.append(info.n_frames)
        assert len(starts_s) == info.n_frames
    assert pictures[2] > 9 * pictures[1]
    assert (peaks[2] - peaks[1]) / (pictures[2] - pictures[1]) < BYTES_PER_PICTURE


@pytest.mark.slow
def test_cutting_a_ten_times_longer_source_takes_the_same_memory(film: Callable[[int], Path], tmp_path: Path) -> None:
    peaks = [peak_of_cutting(tmp_path / str(seconds), film(seconds), seconds) for seconds in (600, 6000)]
    assert peaks[1] - peaks[0] < PEAK_GROWTH_MIB


def peak_of_cutting(root: Path, source: Path, seconds: int) -> float:
    """Peak memory, MiB, of a new process that cuts clips from the beginning, the middle and the end of a source."""
    ws = Workspace(root)
    add_source(ws, "a", source)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_cut, args=(ws, seconds, theirs))
    child.start()
    theirs.close()  # so that a child that dies is an end of file, not a wait
    done, failed, peak = ours.recv()
    child.join()
    assert (done, failed) == (1, {})
    record = ws.record("segment", "a")
    assert record is not None
    assert [round(clip["start_s"]) for clip in record["clips"]] == [0, seconds // 2 - 5, seconds - 10]
    return float(peak)


def _cut(ws: Workspace, seconds: int, told: Connection) -> None:
    summary = segment(ws, ["a"], recipe(lead_s=0.0, clip_s=2.0, stride_s=seconds / 2 - 5))
    status = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert status is not None
    told.send((summary.done, summary.failed, int(status[1]) * 1024 / MIB))
