"""Commands as processes forked from one that has imported everything, and what can happen to them on their way."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmarks import _soak_watch
from benchmarks._faults_stage import Command, World
from tests.commands import run_and_end

NOBODY = 65534
_LEAVES_S = 20.0
"""What a command has started must be gone so long after it, seconds."""
_HANGS_S = 600.0
_MS_RDONLY, _MS_REMOUNT = 1, 32


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code, negative for a signal.
        said: What it wrote on standard error.
        seconds: How long it took.
    """

    code: int
    said: str
    seconds: float

    @property
    def last(self) -> str:
        """Its last line."""
        return self.said.strip().splitlines()[-1] if self.said.strip() else ""


class Process:
    """A command that runs.

    Args:
        arguments: Of its command line.
        log: File for what it says.
        before: Called in the new process, before the command begins.
    """

    def __init__(self, arguments: list[str], log: Path, before: Callable[[], None] | None = None) -> None:
        self.log, self.begun = log, time.monotonic()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(arguments, log, before)

    def kill(self, number: int, *, group: bool) -> None:
        """Send a signal to the command alone or to all that it has started."""
        (os.killpg if group else os.kill)(self.pid, number)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    @property
    def answers(self) -> bool:
        """Whether it has said what SIGTERM does: before that, Python itself is ended by a signal, as any program is."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "SigCgt":
                return bool(int(value, 16) & 1 << (signal.SIGTERM - 1))
        return False

    def wait(self, until: float | None = None) -> bool:
        """Wait until it has ended, or until a moment of the monotonic clock; returns whether it has."""
        hangs = self.begun + _HANGS_S
        while not self.is_over:
            if until is not None and time.monotonic() >= until:
                return False
            if time.monotonic() > hangs:
                self.kill(signal.SIGKILL, group=True)
            time.sleep(0.02)
        return True

    def end(self) -> Ended:
        """Wait for it and say how it ended."""
        self.wait()
        seconds = time.monotonic() - self.begun
        _, status = os.waitpid(self.pid, 0)
        return Ended(os.waitstatus_to_exitcode(status), self.log.read_text(errors="replace"), seconds)


def _become(arguments: list[str], log: Path, before: Callable[[], None] | None) -> NoReturn:
    """The new process: the command line of avbench, as a shell would start it; never returns."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(handle, 2)
    sys.argv = ["avbench", *arguments]
    run_and_end(before)


@dataclass
class Scene:
    """A command in its prepared world, and the moment at which something happens to it.

    Attributes:
        world: Where.
        command: Which.
        moment_s: When, seconds from its start.
        grown_bytes: How much it wrote when nothing happened.
        rng: For what else is drawn.
    """

    world: World
    command: Command
    moment_s: float
    grown_bytes: int
    rng: random.Random

    def start(self, log: str = "first.log", before: Callable[[], None] | None = None) -> Process:
        """Begin the command."""
        arguments = self.command.arguments(self.world.work, self.world.hub.endpoint)
        return Process(arguments, self.world.work.parent / log, before)

    def again(self) -> Ended:
        """The same command, undisturbed."""
        return self.start("again.log").end()


Fault = Callable[[Scene], tuple[list[Ended], str]]
"""Does its worst; returns how the commands ended, and what is wrong with that (empty when nothing is)."""


def _signalled(scene: Scene, number: int, *, group: bool, code: int) -> tuple[list[Ended], str]:
    process = scene.start()
    if not process.wait(process.begun + scene.moment_s):
        while number != signal.SIGKILL and not process.answers and not process.is_over:
            time.sleep(0.001)
        process.kill(number, group=group)
    ended = process.end()
    if ended.code == 0:
        return [ended], ""
    if ended.code != code:
        return [ended], f"code {ended.code} and not {code}"
    if number == signal.SIGKILL:
        return [ended], ""
    wrong = "Traceback" in ended.said or not ended.last.endswith("to go on where it stopped")
    return [ended], "no word on how to go on" if wrong else ""


def killed(scene: Scene) -> tuple[list[Ended], str]:
    """kill -9 of the command and all it has started, as when a machine goes down."""
    return _signalled(scene, signal.SIGKILL, group=True, code=-signal.SIGKILL)


def killed_alone(scene: Scene) -> tuple[list[Ended], str]:
    """kill -9 of the command itself, as by a system that is out of memory: its workers must follow."""
    return _signalled(scene, signal.SIGKILL, group=False, code=-signal.SIGKILL)


def terminated(scene: Scene) -> tuple[list[Ended], str]:
    """SIGTERM to the command, as a scheduler sends it."""
    return _signalled(scene, signal.SIGTERM, group=False, code=128 + signal.SIGTERM)


def interrupted(scene: Scene) -> tuple[list[Ended], str]:
    """Ctrl-C: SIGINT to the command and all it has started."""
    return _signalled(scene, signal.SIGINT, group=True, code=128 + signal.SIGINT)


def disk_full(scene: Scene) -> tuple[list[Ended], str]:
    """A disk (of memory) that is full before the command has written everything."""
    more = int(max(scene.grown_bytes, 64 << 10) * scene.rng.uniform(0.02, 0.9))
    with _other_disk(scene.world.work) as disk:
        usage = os.statvfs(disk)
        used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
        _mount("tmpfs", disk, "tmpfs", _MS_REMOUNT, f"size={used + more}")
        ended = scene.start().end()
        shutil.copytree(disk, scene.world.work.parent / "after", symlinks=True)
    _replace(scene.world.work)
    return [ended], _complaint(ended, "disk is full")


def read_only(scene: Scene) -> tuple[list[Ended], str]:
    """A disk that is mounted read-only."""
    with _other_disk(scene.world.work) as disk:
        _mount("tmpfs", disk, "tmpfs", _MS_REMOUNT | _MS_RDONLY, "")
        ended = scene.start().end()
    return [ended], _complaint(ended, "read-only")


def forbidden(scene: Scene) -> tuple[list[Ended], str]:
    """Folders that belong to somebody else."""
    ended = scene.start(before=lambda: os.setuid(NOBODY)).end()
    return [ended], _complaint(ended, "permission")


def vanished(scene: Scene) -> tuple[list[Ended], str]:
    """An input that is taken away while the command works, and comes back before the next attempt."""
    process = scene.start()
    place, away = scene.world.work / scene.command.input, scene.world.work.parent / "away"
    process.wait(process.begun + scene.moment_s)
    place.rename(away)
    ended = process.end()
    if place.is_dir():  # the command may have made the folder anew
        shutil.copytree(place, away, dirs_exist_ok=True)
        shutil.rmtree(place)
    away.rename(place)
    if ended.code == 0:
        return [ended], ""
    # inputs of a build are told one by one, and the rest is done
    wrong = ended.code != 2 or "Traceback" in ended.said
    return [ended], f"code {ended.code} and not 2, or no sentence" if wrong else ""


def twice(scene: Scene) -> tuple[list[Ended], str]:
    """The same command a second time while the first one works."""
    first = scene.start()
    first.wait(first.begun + scene.moment_s * 0.5)
    second = scene.start("second.log")
    both = [first.end(), second.end()]  # whichever came first
    worked, refused = sorted(both, key=lambda ended: ended.code)
    if worked.code:
        return both, f"they ended with codes {both[0].code} and {both[1].code}"
    return both, _complaint(refused, "another avbench")


def clock_jumps(scene: Scene) -> tuple[list[Ended], str]:
    """A clock that jumps up to a day forwards and backwards whenever it is asked."""
    seed = scene.rng.random()

    def unhinge() -> None:
        true, rng = time.time, random.Random(seed)
        time.time = lambda: true() + rng.choice((0.0, 1.0, -1.0)) * rng.uniform(0, 86400)

    ended = scene.start(before=unhinge).end()
    return [ended], "" if ended.code == 0 else f"code {ended.code}"


FAULTS: dict[str, Fault] = {
    "kill -9, all": killed,
    "kill -9, alone": killed_alone,
    "SIGTERM": terminated,
    "Ctrl-C": interrupted,
    "disk full": disk_full,
    "read-only": read_only,
    "no permission": forbidden,
    "input vanishes": vanished,
    "twice at once": twice,
    "clock jumps": clock_jumps,
}
AS_ROOT = {"disk full", "read-only", "no permission"}
"""Those that need mounts, or another user."""


def _complaint(ended: Ended, word: str) -> str:
    """What is wrong with the end of a command that could not work: it must say why, in one sentence, and end with 2."""
    if ended.code == 0:
        return ""
    if ended.code != 2 or "Traceback" in ended.said:
        return f"code {ended.code} and not 2, or a traceback"
    if not ended.last.startswith("error: "):
        return "no sentence"
    return "" if word in ended.last else f"does not say {word!r}"


def left_running() -> list[str]:
    """Processes of ended commands that do not end within `_LEAVES_S`."""
    end = time.monotonic() + _LEAVES_S
    while (found := _soak_watch.running(server=0)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


@contextmanager
def _other_disk(folder: Path) -> Iterator[Path]:
    """A disk of memory in place of the folder, with what was in it; the folder itself is as before afterwards."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy, symlinks=True)
    _mount("tmpfs", folder, "tmpfs", 0, "size=1g")
    try:
        shutil.copytree(copy, folder, dirs_exist_ok=True, symlinks=True)
        yield folder
    finally:
        os.sync()
        _libc().umount2(os.fsencode(folder), 2)  # 2: also while something still runs there
        shutil.rmtree(copy)


def _replace(work: Path) -> None:
    """Go on in the state in which the full disk was left."""
    for path in work.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    after = work.parent / "after"
    shutil.copytree(after, work, dirs_exist_ok=True, symlinks=True)
    shutil.rmtree(after)


def _mount(source: str, target: Path, kind: str, flags: int, data: str) -> None:
    if _libc().mount(source.encode(), os.fsencode(target), kind.encode(), flags, data.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def may_mount(folder: Path) -> bool:
    """Whether this process may mount disks, which the user root of a container often may not."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _mount("tmpfs", folder, "tmpfs", 0, "size=64k")
    except OSError:
        return False
    _libc().umount2(os.fsencode(folder), 2)
    return True
