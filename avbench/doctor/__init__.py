"""Checks of this machine for `avbench doctor`: what works, what does not, and what to type about it.

What a build, a training or a scoring does is tried here in small: a clip is encoded and read back, a file is published
and locked, torch is loaded in a Python of its own. A version number alone says little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from avbench.doctor import compute, machine, network, places, programs
from avbench.doctor._check import Check

__all__ = ["Check", "run"]


def run(folder: Path) -> list[Check]:
    """All checks, in the order they are shown.

    Args:
        folder: Where the user means to work: disk, writing and locking are tried there. Nothing is left behind.
    """
    return list(_run(folder))


def _run(folder: Path) -> Iterator[Check]:
    yield programs.python()
    yield programs.data()
    for name, group in (("ffmpeg", programs.ffmpeg), ("yt-dlp", programs.downloads)):
        yield from _guarded(name, group)
    stack = compute.probe()
    yield from compute.stack(stack)
    yield from machine.machine(stack.threads)
    yield from _guarded("folder", lambda: places.folder(folder))
    yield from _guarded("caches", places.caches)
    if stack.works:
        yield from _guarded("bfloat16", lambda: compute.bfloat16(stack))
        yield from _guarded("weights", places.weights)
    yield from _guarded("hub", network.hub)


def _guarded(name: str, group: Callable[[], list[Check]]) -> list[Check]:
    """The checks of a group, or one fault where a library they rest on cannot be loaded: the others are still made."""
    try:
        return group()
    except ImportError as error:
        broken = (error.name or "").partition(".")[0]
        remedy = f"pip install --force-reinstall {broken or 'avbench'}"
        return [Check(name, False, f"not looked at, {broken or 'a library'} cannot be loaded ({error})", remedy, True)]
