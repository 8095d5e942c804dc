"""A program that stays: it is asked in lines of JSON and answers each with a line, so that it loads its networks once.

It runs as those of `avbench.baselines._external_process` do: no shell, its own process group, nothing left behind it.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from avbench.baselines._external_process import GRACE_S, ended, started

_LOOK_S = 0.5
"""How often it is looked whether a program that says nothing still runs: what it started may keep its output open."""


class Worker:
    """A running program.

    Args:
        argv: The command.
        folder: Where it runs.
        env: All of its environment.
        work: Folder of its note, see `avbench.baselines._external_process.started`.
        log: Where its errors and whatever else it prints go.

    Raises:
        avbench.baselines._external_process.NotStarted: It could not be started.
    """

    def __init__(self, argv: Sequence[str], *, folder: Path, env: Mapping[str, str], work: Path, log: Path) -> None:
        self._held = ExitStack()
        self._process = self._held.enter_context(started(argv, folder=folder, env=env, work=work, log=log, talks=True))
        self._heard = b""

    def ask(self, question: Mapping[str, Any], timeout_s: float) -> str:
        """Ask one thing and wait for the answer.

        Args:
            question: What it is told, as one line of JSON.
            timeout_s: How long it may take.

        Returns:
            Why there is no answer, without paths of this machine; empty when there is one. After a reason the program
            is of no more use: `close` it.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: said below
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        end = time.monotonic() + timeout_s
        while b"\n" not in self._heard:
            left = end - time.monotonic()
            if left <= 0:
                return f"gave no answer within {timeout_s:g} s"
            said = self._listen(min(left, _LOOK_S))
            has_ended = said is None and self._process.poll() is not None
            if has_ended:
                said = self._listen(0) or b""  # what it said with its last breath
            if said == b"":
                return self._how_it_ended()
            self._heard += said or b""
        self._heard = self._heard.partition(b"\n")[2]
        return ""

    def _listen(self, seconds: float) -> bytes | None:
        """What it says now; None where it says nothing, and nothing at all where it has closed its output."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return os.read(self._process.stdout.fileno(), 1 << 16) if selector.select(seconds) else None

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            if code := self._process.wait(GRACE_S):
                return ended(code)
        return "ended before it answered"

    def close(self) -> None:
        """End it, and all that it started."""
        self._held.close()
