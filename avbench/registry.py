"""Plug-ins are found by file name: every public module of a package is one plug-in.

``avbench/filters/silence.py`` is the filter ``silence``; nothing else registers it. Modules whose name begins with an
underscore are shared helpers. A wrong name is answered with the nearest right ones.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from avbench.errors import UserError

PACKAGES = {
    "filter": "avbench.filters",
    "feature": "avbench.features",
    "metric": "avbench.metrics",
    "baseline": "avbench.baselines",
    "codec": "avbench.codecs",
}
"""Kinds of plug-in and the package whose files they are."""


def names(kind: str) -> list[str]:
    """Sorted names of every plug-in of ``kind``, without importing any of them."""
    package = importlib.import_module(PACKAGES[kind])
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def module(kind: str, name: str) -> ModuleType:
    """Import the plug-in ``name`` of ``kind``.

    Raises:
        UserError: There is no such plug-in; the message offers the nearest names.
    """
    known = names(kind)
    key = name.replace("-", "_")
    if key not in known:
        raise unknown(kind, name, known)
    return importlib.import_module(f"{PACKAGES[kind]}.{key}")


def summary(kind: str, name: str) -> str:
    """First line of the plug-in's docstring, read without importing it (features and metrics import torch)."""
    import ast

    package = importlib.import_module(PACKAGES[kind])
    source = Path(package.__path__[0]) / f"{name}.py"
    return (ast.get_docstring(ast.parse(source.read_text())) or "").split("\n", 1)[0]


def unknown(kind: str, name: str, known: list[str]) -> UserError:
    """The error for a name that is not known: offers the nearest right names, or lists all when none is near."""
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=3, cutoff=0.5)
    offer = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
    return UserError(f"there is no {kind} called {name!r}; {offer}")
