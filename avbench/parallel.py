"""Map a function over items, in this process or over local processes, with progress and one `Outcome` per item.

An item that fails is an outcome with a reason; the others go on. Only what makes the whole run pointless stops it: a
full disk, a missing tool (`EnvironmentFault`), Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from multiprocessing import sharedctypes
from typing import Any, Generic, TypeVar

from avbench import cgroups
from avbench.errors import EnvironmentFault, UserError
from avbench.progress import SILENT, Reporter
from avbench.schema import Outcome
from avbench.worker_pool import WorkerDied, WorkerPool

A = TypeVar("A")
R = TypeVar("R")


@dataclass
class StageSummary:
    """What a stage did: shown at the end of every command and stored.

    Attributes:
        stage: Name of the stage.
        done: Items finished now.
        already: Items an earlier run had finished.
        dropped: Item id to reason: the item is sound but not wanted.
        failed: Item id to reason: the item could not be processed.
        seconds: Wall time.
        notes: Sentences a person should read beside the counts.
    """

    stage: str
    done: int = 0
    already: int = 0
    dropped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def reasons(self, table: dict[str, str]) -> Counter[str]:
        """How often each reason occurs, numbers in it aside (``silent for 95%`` and ``silent for 97%`` are one)."""
        return Counter(map(without_numbers, table.values()))


@dataclass(frozen=True)
class Sharing(Generic[A, R]):
    """How several workers do one long item: its function stops half-way where `shares_for_idle` says that some wait.

    Attributes:
        left: What a value leaves to be done, as further items: shares of the same one.
        joined: The value of an item from those of two of its shares, in any order.
    """

    left: Callable[[R], Sequence[A]]
    joined: Callable[[R, R], R]


def without_numbers(reason: str) -> str:
    """A reason with ``#`` for each number, so that reasons of one kind can be counted together."""
    return re.sub(r"[-+]?\d[\d.,:e+-]*", "#", reason)


def default_workers() -> int:
    """Processes to use when the user does not say: the cores this process may run on, and has time on.

    Where a container has a share of the processor's time, that many whole cores of it, at least one.
    """
    cores = len(os.sched_getaffinity(0))
    quota = cgroups.quota_cores()
    return cores if quota is None else max(1, min(cores, int(quota)))


def run(
    function: Callable[[A], R],
    items: Sequence[A],
    *,
    item_id: Callable[[A], str],
    workers: int = 1,
    reporter: Reporter = SILENT,
    description: str = "",
    ordered: bool = False,
    own_core: bool = False,
    sharing: Sharing[A, R] | None = None,
) -> Iterator[Outcome[R]]:
    """Yield one outcome per item, in the order they finish or in the order of the items.

    An item that was shared out has failed where one of its shares has.

    Args:
        function: Picklable (module-level, or a partial of one) when ``workers > 1``.
        items: What to work on; must be picklable when ``workers > 1``.
        item_id: Name of an item, for outcomes and messages.
        workers: Processes; 1 runs in this process.
        reporter: Where progress goes.
        description: Label of the progress bar.
        ordered: Yield in the order of ``items``; at most ``2 * workers`` outcomes wait for an earlier one.
        own_core: Keep each worker on a core of its own where there are as many workers as cores. For work that runs in
            one thread and starts no program.
        sharing: How several workers do one item; None: each does its own.

    Raises:
        EnvironmentFault: The run cannot go on; finished items stay finished.
    """
    held: dict[int, Outcome[R]] = {}
    place = 0
    todo = list(items)
    shared = _Shared(todo, sharing)
    with reporter.bar(description, total=len(todo)) as bar:
        outcomes = (
            _serial(function, todo, item_id)
            if workers <= 1
            else _pool(function, todo, item_id, workers, held, own_core)
        )
        for index, part in outcomes:
            known = len(todo)
            whole = shared.add(index, part)
            if len(todo) > known:
                bar.total(len(todo))
            bar.advance(1, part.item_id)
            if whole is None:
                continue
            if not ordered:
                yield whole[1]
                continue
            held[whole[0]] = whole[1]
            while place in held:
                yield held.pop(place)
                place += 1


class _Shared(Generic[A, R]):
    """What became of the shares of each item.

    Args:
        todo: Items; shares that are left over are added to it.
        sharing: How items are shared, or None.
    """

    def __init__(self, todo: list[A], sharing: Sharing[A, R] | None) -> None:
        self._todo, self._sharing = todo, sharing
        self._item_of = list(range(len(todo)))
        self._open = Counter(self._item_of)
        self._so_far: dict[int, Outcome[R]] = {}

    def add(self, index: int, part: Outcome[R]) -> tuple[int, Outcome[R]] | None:
        """Take what became of one share; returns place and outcome of its item once that is whole."""
        item = self._item_of[index]
        if self._sharing is not None and part.value is not None:
            left = self._sharing.left(part.value)
            self._todo += left
            self._item_of += [item] * len(left)
            self._open[item] += len(left)
        before = self._so_far.pop(item, None)
        outcome = part if before is None else self._joined(before, part)
        self._open[item] -= 1
        if self._open[item]:
            self._so_far[item] = outcome
            return None
        return item, outcome

    def _joined(self, one: Outcome[R], other: Outcome[R]) -> Outcome[R]:
        seconds = one.seconds + other.seconds
        if self._sharing is None or one.value is None or other.value is None:
            return replace(one if one.value is None else other, item_id=one.item_id, seconds=seconds)
        return replace(one, value=self._sharing.joined(one.value, other.value), seconds=seconds)


def attempt(function: Callable[[A], R], item: A, name: str) -> Outcome[R]:
    """Run ``function`` on one item and turn what goes wrong with that item into an outcome.

    Raises:
        EnvironmentFault: Disk full or a missing tool: not the item's fault.
    """
    start = time.monotonic()
    try:
        value = function(item)
    except EnvironmentFault:
        raise
    except UserError as error:
        return Outcome(name, None, str(error), time.monotonic() - start, type(error).__name__)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EnvironmentFault("the disk is full; free some space and run the same command again") from error
        return Outcome(name, None, f"{type(error).__name__}: {error}", time.monotonic() - start, type(error).__name__)
    except Exception as error:  # noqa: BLE001 - one bad item must not lose the others; its traceback is kept
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} (at {os.path.basename(where.filename)}:{where.lineno})"
        return Outcome(name, None, reason, time.monotonic() - start, type(error).__name__)
    return Outcome(name, value, "", time.monotonic() - start)


def _serial(
    function: Callable[[A], R], items: Sequence[A], item_id: Callable[[A], str]
) -> Iterator[tuple[int, Outcome[R]]]:
    """Work in this process; ``items`` may grow meanwhile."""
    global _serial_runs
    for index, item in enumerate(items):
        _serial_runs += 1
        try:
            outcome = attempt(function, item, item_id(item))
        finally:
            _serial_runs -= 1
        yield index, outcome


_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
"""What numerical libraries read when they are loaded."""


_idle: Any = None
"""In a worker: shared count of the workers for which there is no item left."""
_serial_runs = 0
"""Runs in this process that are at an item: what they leave over nobody else takes."""


def idle_workers() -> int:
    """How many workers of this run wait for something to do; whoever is told of them is to leave work over for them.

    They are told of once; two that ask in the same instant may both be told, and then share out more than is needed.
    0 outside a worker, and inside a run of the worker's own.
    """
    if _idle is None or _serial_runs:
        return 0
    told, _idle.value = int(_idle.value), 0
    return told


def shares_for_idle(left: Sequence[A]) -> list[tuple[A, ...]]:
    """What is left of an item, shared out to this worker and to those that wait; empty where nobody does."""
    waiting = idle_workers() if len(left) > 1 else 0
    return shares(left, waiting + 1) if waiting else []


def shares(items: Sequence[A], count: int) -> list[tuple[A, ...]]:
    """``items`` as at most ``count`` runs of neighbours, as even as can be and none empty."""
    count = min(count, len(items))
    borders = [part * len(items) // count for part in range(count + 1)]
    return [tuple(items[begin:end]) for begin, end in pairwise(borders)]


def _begin_worker(threads: int, own_core: bool, idle: Any, place: int) -> None:
    """Workers share the cores without crowding them.

    Args:
        threads: Threads for each numerical library.
        own_core: Stay on one core.
        idle: Shared counter of the workers that wait for work.
        place: Number of the worker.
    """
    global _idle
    _idle = idle
    if own_core:
        cores = sorted(os.sched_getaffinity(0))
        for thread in os.listdir("/proc/self/task"):  # those that a library has started stay where they are else
            os.sched_setaffinity(int(thread), {cores[place % len(cores)]})
    limit_threads(threads)


def limit_threads(threads: int) -> None:
    """Let each numerical library of this process use so many threads, whether it is loaded already or will be."""
    for name in _THREAD_COUNTS:
        os.environ[name] = str(threads)
    # a script that imports them at its top has loaded them by now
    if "numpy" in sys.modules:
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)


def _pool(
    function: Callable[[A], R],
    items: Sequence[A],
    item_id: Callable[[A], str],
    workers: int,
    held: dict[int, Outcome[R]],
    own_core: bool,
) -> Iterator[tuple[int, Outcome[R]]]:
    """Keep ``2 * workers`` items in flight or held, so that memory and the work lost to Ctrl-C stay bounded.

    An item that cost its worker is tried once more when nothing else runs: it may have been memory that was short.

    Yields the place of each item and its outcome, as they finish. ``held`` is what the caller keeps back for order.
    ``items`` may grow while an outcome is looked at.
    """
    # without a lock, which a worker that is killed while it asks would keep for good
    idle: Any = sharedctypes.RawValue("i", 0)
    # A process that wanders between cores leaves its caches behind: AV-align on 2 cores took a fifth longer. Where
    # there are more cores than this process gets time on, others would choose the same ones.
    pinned = own_core and workers == default_workers() == len(os.sched_getaffinity(0))
    pool = WorkerPool(workers, partial(_begin_worker, max(1, default_workers() // workers), pinned, idle))
    flying: dict[Future[Outcome[R]], int] = {}
    suspects: list[int] = []
    begun = 0

    def start(index: int) -> None:
        flying[pool.submit(attempt, function, items[index], item_id(items[index]))] = index

    try:
        while begun < len(items) or flying or suspects:
            while begun < len(items) and len(flying) + len(held) < 2 * workers:
                start(begun)
                begun += 1
            if is_alone := not flying:
                start(suspects.pop(0))
            idle.value = max(0, workers - len(flying))
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in done:
                index = flying.pop(future)
                try:
                    outcome = future.result()
                except WorkerDied:
                    if not is_alone:
                        suspects.append(index)
                        continue
                    reason = "its worker process died (killed or out of memory)"
                    outcome = Outcome(item_id(items[index]), None, reason)
                yield index, outcome
    finally:
        # After Ctrl-C or a full disk: do not wait for hours of work in flight; unfinished items have left nothing
        # published. After the last item: nobody waits for a worker that is still being started.
        pool.end()
