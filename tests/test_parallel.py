"""One outcome per item whatever happens to it, and only what makes the run pointless stops the run."""

from __future__ import annotations

import errno
import functools
import os
import pickle
import signal
import subprocess
import time
from multiprocessing import synchronize
from pathlib import Path
from typing import Any

import pytest

from avbench import parallel
from avbench.errors import EnvironmentFault, UserError
from avbench.schema import Outcome


def work(item: int) -> int:
    if item == 3:
        raise UserError("three is not wanted")
    if item == 4:
        raise ValueError("a defect")
    if item == 5:
        os._exit(1)
    if item == 6:
        raise OSError(errno.ENOSPC, "No space left on device")
    if item == 7:
        raise EnvironmentFault("no ffmpeg")
    if item == 8:
        time.sleep(60)
    return item * item


def outcomes(items: list[int], workers: int) -> dict[str, Outcome[int]]:
    found = list(parallel.run(work, items, item_id=str, workers=workers))
    assert len(found) == len(items)
    return {outcome.item_id: outcome for outcome in found}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_bad_item_is_an_outcome_with_a_reason_and_the_others_go_on(workers: int) -> None:
    found = outcomes([1, 2, 3, 4, 9], workers)
    assert [found[k].value for k in ("1", "2", "9")] == [1, 4, 81]
    assert found["3"].error == "three is not wanted"
    assert not found["3"].ok
    assert "ValueError: a defect (at test_parallel.py:" in found["4"].error
    assert found["4"].value is None


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_own_item_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(*_: object, **__: object) -> None:
        raise AssertionError("a semaphore with a name stays in /dev/shm when everything is killed")

    monkeypatch.setattr(synchronize.SemLock, "__init__", named)
    found = outcomes([1, 2, 5, 9, 10], 2)
    assert "worker process died" in found["5"].error
    assert [found[k].value for k in ("1", "2", "9", "10")] == [1, 4, 81, 100]


@pytest.mark.parametrize(("item", "word"), [(6, "disk is full"), (7, "no ffmpeg")])
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_disk_or_a_missing_tool_stops_the_run(item: int, word: str, workers: int) -> None:
    with pytest.raises(EnvironmentFault, match=word):
        outcomes([1, item], workers)


@pytest.mark.slow
def test_stopping_does_not_wait_for_work_in_flight() -> None:
    stream = parallel.run(work, [8, 1, 2], item_id=str, workers=2)
    assert next(stream).value in (1, 4)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt())
    assert time.monotonic() - begun < 30, "the sleeping worker was waited for"


def _dies_beside_others(item: tuple[Path, int]) -> int:
    """The first item takes its worker with it while the second one works; alone it is done."""
    folder, number = item
    if number == 2:
        (folder / "busy").touch()
        while not (folder / "died").exists():
            time.sleep(0.01)
    elif not (folder / "died").exists():
        while not (folder / "busy").exists():
            time.sleep(0.01)
        (folder / "died").touch()
        os._exit(1)
    with (folder / "begun").open("a") as handle:
        handle.write(str(number))
    return number


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_item_that_costs_its_worker_is_tried_again_alone_and_what_ran_beside_it_only_once(tmp_path: Path) -> None:
    found = parallel.run(
        _dies_beside_others, [(tmp_path, 1), (tmp_path, 2)], item_id=lambda item: str(item[1]), workers=2
    )
    assert [outcome.value for outcome in found] == [2, 1]
    assert (tmp_path / "begun").read_text() == "21"


def _interrupted(item: int) -> bool:
    """Whether a program that this worker starts gets Ctrl-C; the worker itself must outlive one."""
    os.kill(os.getpid(), signal.SIGINT)
    mask = subprocess.run(["grep", "SigBlk", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    return int(mask.split()[1], 16) >> (signal.SIGINT - 1) & 1 == 0


@pytest.mark.slow
def test_ctrl_c_is_left_to_the_parent_and_to_the_programs_that_workers_start() -> None:
    found = list(parallel.run(_interrupted, [1, 2], item_id=str, workers=2))
    assert [outcome.value for outcome in found] == [True, True]


def _unpicklable(item: int) -> object:
    return lambda: item


@pytest.mark.slow
def test_a_value_that_cannot_be_sent_is_a_defect_and_no_dead_worker() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError), match="pickle"):
        list(parallel.run(_unpicklable, [1, 2], item_id=str, workers=2))


def _some(span: range) -> tuple[list[list[int]], list[range]]:
    """Work on a span until workers wait for work, then leave the rest of it over; returns what this share did."""
    done: list[int] = []
    for place, number in enumerate(span):
        left, deadline = span[place:], time.monotonic() + 60
        while len(left) == 4 and time.monotonic() < deadline:
            if shares := parallel.shares_for_idle(left):
                return [done], [range(share[0], share[-1] + 1) for share in shares]
        done.append(number)
    return [done], []


SHARING = parallel.Sharing[Any, Any](left=lambda value: value[1], joined=lambda one, other: (one[0] + other[0], []))


@pytest.mark.slow
def test_a_worker_without_work_is_told_of_and_gets_a_share_of_what_is_left() -> None:
    (found,) = parallel.run(_some, [range(6)], item_id=str, workers=2, sharing=SHARING)
    assert found.value is not None
    assert sorted(found.value[0]) == [[0, 1], [2, 3], [4, 5]]


def _told_inside(item: int) -> int:
    return next(parallel.run(_told, [item], item_id=str)).value or 0


def _told(item: int) -> int:
    return parallel.idle_workers()


@pytest.mark.slow
def test_a_run_inside_a_worker_keeps_its_work() -> None:
    (outside,) = parallel.run(_told, [1], item_id=str, workers=2)
    (inside,) = parallel.run(_told_inside, [1], item_id=str, workers=2)
    assert (outside.value, inside.value) == (1, 0)


def _first(numbers: tuple[int, ...]) -> tuple[list[int], list[tuple[int, ...]]]:
    """Does the first number and leaves the others over, each for itself."""
    if numbers[0] == 6:
        raise UserError("no sixes")
    return [numbers[0]], [(number,) for number in numbers[1:]]


@pytest.mark.parametrize("ordered", [False, True])
def test_an_item_that_is_shared_out_has_one_outcome_when_its_last_share_is_done(ordered: bool) -> None:
    items = [(1, 2, 3), (7,), (4, 6, 5)]
    found = list(parallel.run(_first, items, item_id=lambda item: str(item[0]), sharing=SHARING, ordered=ordered))
    assert [outcome.item_id for outcome in found] == (["1", "7", "4"] if ordered else ["7", "1", "4"])
    by_id = {outcome.item_id: outcome for outcome in found}
    assert (by_id["1"].value, by_id["7"].value) == (([1, 2, 3], []), ([7], []))
    assert (by_id["4"].value, by_id["4"].error) == (None, "no sixes")


def test_nobody_waits_for_a_share_outside_of_workers() -> None:
    assert parallel.idle_workers() == 0
    assert parallel.shares_for_idle([1, 2, 3]) == []


def test_shares_are_runs_of_neighbours_none_empty() -> None:
    assert parallel.shares(range(5), 2) == [(0, 1), (2, 3, 4)]
    assert parallel.shares("ab", 9) == [("a",), ("b",)]


def _threads_of_flow(item: int) -> int:
    import cv2

    return int(cv2.getNumThreads())


@pytest.mark.slow
def test_workers_share_the_cores_instead_of_crowding_them() -> None:
    cores = parallel.default_workers()
    for workers in (2, 4):
        found = [o.value for o in parallel.run(_threads_of_flow, [1, 2], item_id=str, workers=workers)]
        assert found == [max(1, cores // workers)] * 2


def _core(item: int) -> int:
    time.sleep(0.3)
    (core,) = os.sched_getaffinity(0)
    return core


@pytest.mark.slow
def test_workers_keep_a_core_of_their_own_where_asked_and_there_are_enough() -> None:
    cores = parallel.default_workers()
    if cores < 2:
        pytest.skip("one core: there is nothing to keep apart")
    items = list(range(4 * cores))
    found = {o.value for o in parallel.run(_core, items, item_id=str, workers=cores, own_core=True)}
    assert found == os.sched_getaffinity(0)
    shared = [o.value for o in parallel.run(_cores, [1, 2], item_id=str, workers=cores)]
    assert shared == [cores, cores]


def _cores(item: int) -> int:
    return len(os.sched_getaffinity(0))


def test_items_are_taken_lazily() -> None:
    seen: list[int] = []
    stream = parallel.run(functools.partial(_note, seen), [1, 2, 3], item_id=str)
    next(stream)
    assert seen == [1]


def _note(seen: list[int], item: int) -> None:
    seen.append(item)


@pytest.mark.slow
def test_outcomes_come_in_the_order_of_the_items_when_asked_even_after_a_dead_worker() -> None:
    items = [10, 2, 5, 1, 9, 11, 12, 13]
    found = [outcome.item_id for outcome in parallel.run(_slower_first, items, item_id=str, workers=2, ordered=True)]
    assert found == [str(item) for item in items]


def _slower_first(item: int) -> int:
    if item == 10:
        time.sleep(0.5)
    return work(item)


def test_reasons_that_differ_in_numbers_are_one() -> None:
    summary = parallel.StageSummary(
        "filter", dropped={"a": "silent for 95.2%", "b": "silent for 97%", "c": "too short"}
    )
    assert summary.reasons(summary.dropped) == {"silent for #%": 2, "too short": 1}
