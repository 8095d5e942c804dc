"""Start a program in a process group of its own, and see that nothing of it is left when it is over.

No shell is involved: the command is a list. Its input is empty and what it prints goes to a file, unless it is one that
answers (`avbench.baselines._external_worker`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from avbench.confidential import masked
from avbench.workspace import write_json

GRACE_S = 10.0
"""Between the request to end and the end, seconds."""
_NOTE = "process.json"
_TAIL_BYTES = 4096


class NotStarted(Exception):
    """A program could not be started; says why, without paths of this machine."""


@contextmanager
def started(
    argv: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str],
    work: Path,
    log: Path,
    talks: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program for the length of the block; behind it nothing that it started is left.

    Args:
        argv: The command.
        folder: Where it runs.
        env: All of its environment.
        work: Folder of the call; a note there lets `end_orphan` find the program after avbench was killed.
        log: Where what it prints goes.
        talks: Its input and its output are pipes; the log has its errors alone.

    Raises:
        NotStarted: There is no such program, or the command holds what no argument may hold.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as out:
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=folder,
                env=dict(env),
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else out,
                stderr=out if talks else subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a character that no argument may hold
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise NotStarted(f"could not be started ({why})") from error
        try:
            write_json(work / _NOTE, {"pid": process.pid, "begun": _begun(process.pid)})
            yield process
        finally:
            # also after a good end: what it left running would hold the GPU and write on
            _end_group(process.pid, process)
            (work / _NOTE).unlink(missing_ok=True)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()


def run(argv: Sequence[str], *, folder: Path, env: Mapping[str, str], work: Path, log: Path, timeout_s: float) -> str:
    """Run a program to its end.

    Args:
        argv: See `started`.
        folder: See `started`.
        env: See `started`.
        work: See `started`.
        log: See `started`.
        timeout_s: After so long it is ended, with everything it started.

    Returns:
        Why it failed, without paths of this machine; empty when it ended with exit code 0.
    """
    try:
        with started(argv, folder=folder, env=env, work=work, log=log) as process:
            code = process.wait(timeout_s)
    except NotStarted as error:
        return str(error)
    except subprocess.TimeoutExpired:
        return f"did not end within {timeout_s:g} s"
    return ended(code) if code else ""


def ended(code: int) -> str:
    """How a program ended, from what `subprocess` says."""
    return f"was ended by signal {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"


def end_orphan(work: Path) -> bool:
    """End the program of a call whose avbench was killed; True when there was one.

    Process numbers are used again, so the program must also have begun when the note says.
    """
    try:
        note = json.loads((work / _NOTE).read_text())
        pid, begun = int(note["pid"]), str(note["begun"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if not begun or _begun(pid) != begun:
        return False
    _end_group(pid)
    return True


def last_words(log: Path) -> str:
    """Last line of a log that says anything, printable, short and without tokens; empty where there is none."""
    try:
        with open(log, "rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    lines = ["".join(c for c in line if c.isprintable()).strip() for line in text.splitlines()]
    return next((masked(line)[:200] for line in reversed(lines) if line), "")


def _end_group(group: int, process: subprocess.Popen[bytes] | None = None) -> None:
    """Ask a process group to end, then end it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of which only zombies are left
            break
        waited = time.monotonic() + GRACE_S
        while time.monotonic() < waited and _alive(group):
            if process is not None:
                process.poll()
            time.sleep(0.02)
    if process is not None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)


def _alive(group: int) -> bool:
    """Whether a process of the group runs; one that has ended and waits for its parent to notice does not."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    processes = Path("/proc")
    if not processes.is_dir():
        return True
    fields = (_fields(int(path.name)) for path in processes.iterdir() if path.name.isdigit())
    return any(found[2:3] == [str(group)] and found[0] != "Z" for found in fields)


def _begun(pid: int) -> str:
    """When a process began, in the kernel's own count since the machine started; empty where that is not known."""
    return "".join(_fields(pid)[19:20])


def _fields(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on: state, parent, group, ...; empty where it says nothing."""
    try:
        # the name in brackets may hold anything; the fields after it are single words
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
