"""What is known of a file, kept while it stands unchanged; what a new version holds takes the place of the old."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def while_unchanged(most: int) -> Callable[[Callable[[Path], T]], Callable[[Path], T]]:
    """Read a file once per process, and again when its inode, size or time of writing differs.

    A cache by path and state would keep every state that a file ever had.

    Args:
        most: Paths that are remembered; those that were not asked for longest are forgotten first.

    Returns:
        A decorator for a function of a path. What it decorates raises OSError where there is no such file.
    """

    def decorate(read: Callable[[Path], T]) -> Callable[[Path], T]:
        @functools.lru_cache(maxsize=most)
        def known(path: Path) -> dict[tuple[int, ...], T]:
            return {}

        @functools.wraps(read)
        def once(path: Path) -> T:
            stat, by_state = path.stat(), known(path)
            state = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if state in by_state:
                return by_state[state]
            found = read(path)
            by_state.clear()
            by_state[state] = found
            return found

        return once

    return decorate
