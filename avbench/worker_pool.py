"""Processes that do the work of `avbench.parallel`: each has a pipe of its own to a thread of this process.

`concurrent.futures.ProcessPoolExecutor` shares queues among its workers. Their locks are named semaphores, which stay
in ``/dev/shm`` when everything is killed at once; and when a worker dies nobody knows which item it had, so all are
ended. A pipe per worker needs no lock and holds one item at a time.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")


class WorkerDied(Exception):
    """The process that was at an item is gone: killed, or out of memory."""


class WorkerPool:
    """So many processes, started when they are needed and anew when they died.

    Args:
        workers: How many.
        begin: Called in each process before its first item, with its place (0, 1, ...); picklable.
    """

    def __init__(self, workers: int, begin: Callable[[int], None]) -> None:
        self._workers = [_Worker(begin, place) for place in range(workers)]
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        # Ctrl-C is for the main thread. What a thread blocks its processes inherit, so that it reaches no worker that
        # is still being started. Python's own helper is started first: starting it ends the blocking.
        resource_tracker.ensure_running()
        block = (signal.SIG_BLOCK, {signal.SIGINT})
        self._threads = ThreadPoolExecutor(workers, "worker", signal.pthread_sigmask, block)

    def submit(self, function: Callable[..., R], *arguments: Any) -> Future[R]:
        """Have a process call a function; function, arguments and result must be picklable.

        Returns:
            What the function returns or raises; or `WorkerDied`.
        """
        return self._threads.submit(self._call, function, arguments)

    def end(self) -> None:
        """End all processes at once, whatever they are at."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.bury()

    def _call(self, function: Callable[..., R], arguments: tuple[Any, ...]) -> R:
        worker = self._free.get()  # there are as many as threads
        try:
            value: R = worker.call(function, arguments)
            return value
        finally:
            self._free.put(worker)


class _Worker:
    """One process, and this end of the pipe to it."""

    def __init__(self, begin: Callable[[int], None], place: int) -> None:
        self._begin, self._place = begin, place
        self._running: tuple[BaseProcess, Connection] | None = None
        self._is_ended = False
        self._lock = threading.Lock()

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        pipe = self._pipe()
        try:
            pipe.send((function, arguments))
            value, error = pipe.recv()
        except (EOFError, ConnectionError) as died:
            self.bury()
            raise WorkerDied from died
        if error is not None:
            raise error
        return value

    def kill(self) -> None:
        """Kill the process, for good."""
        with self._lock:
            self._is_ended = True
            if self._running is not None:
                self._running[0].kill()

    def bury(self) -> None:
        """Wait until the process is gone; a next call starts another."""
        with self._lock:
            if self._running is not None:
                self._running[0].kill()  # whoever closes the pipe is no use any more
                self._running[0].join()
                self._running = None

    def _pipe(self) -> Connection:
        """The pipe to the process, which is started where there is none."""
        with self._lock:
            if self._is_ended:
                raise WorkerDied
            if self._running is None:
                # spawn: forking a process in which torch or OpenCV has started threads can deadlock
                context = multiprocessing.get_context("spawn")
                ours, theirs = context.Pipe()
                with theirs:  # closed here once the process has it, else its end would not end the pipe
                    process = context.Process(target=_serve, args=(theirs, self._begin, self._place))
                    process.start()
                self._running = process, ours
            return self._running[1]


def _serve(pipe: Connection, begin: Callable[[int], None], place: int) -> None:
    """In a worker: answer every call that comes through the pipe until its other end is closed."""
    # ignored, no longer blocked: programs that a worker starts are to end with Ctrl-C as they always do
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()
    begin(place)
    while True:
        answer: tuple[Any, Exception | None]
        try:
            function, arguments = pipe.recv()
        except (EOFError, ConnectionError):
            return
        except Exception as error:  # noqa: BLE001 - what cannot be unpickled here is raised there
            answer = None, error
        else:
            answer = _answer(function, arguments)
        try:
            pipe.send(answer)
        except ConnectionError:
            return
        except Exception as error:  # noqa: BLE001 - what cannot be pickled is raised there
            pipe.send((None, error))


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return function(*arguments), None
    except Exception as error:  # noqa: BLE001 - raised there
        return None, error


def _end_with_parent() -> None:
    """Wait for the end of the process that started this worker, which may come by kill -9, and follow it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
