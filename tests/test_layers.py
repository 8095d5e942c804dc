"""The shape of the house, read from the source: who may import whom, what stays light, how long a file may be.

Every check is a function from sources (dotted module name -> text) to a list of complaints, so that each is itself
tested on a small bad example.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = (
    ("errors", "schema", "registry", "progress"),
    (
        "recipe",
        "recipe_avdit",
        "recipe_baseline",
        "recipe_external",
        "recipe_two_step",
        "workspace",
        "dataset",
        "provenance",
        "confidential",
        "formats",
        "network",
        "npz",
        "cgroups",
        "worker_pool",
        "parallel",
        "heap",
        "processor",
        "media",
        "weights",
        "hub_weights",
        "checkpoint",
    ),
    ("features", "models", "codecs", "diffusion"),
    ("filters", "metrics"),
    ("curate", "baselines", "training"),
    ("protocol", "levels", "inputs", "cache", "measure", "sides", "statistics", "context", "scoring"),
    ("leaderboard", "inspection"),
    (
        "runs",
        "scored",
        "submit",
        "compare",
        "drift",
        "sweep",
        "given_clips",
        "selftest",
        "study",
        "doctor",
        "catalogue",
    ),
    ("cli", "main__"),
)
"""A room imports from its own layer and from those before it, never from a later one."""

STAGES = ("download", "segment", "filter", "shard")
"""Stages of ``avbench.curate``: they meet on disk, never in an import."""

MEDIA_LIBRARIES = {"av", "ffmpeg", "imageio_ffmpeg"}
NETWORK_LIBRARIES = {"aiohttp", "ftplib", "http.client", "httpx", "huggingface_hub", "requests", "socket"} | {
    "urllib.request",
    "urllib3",
    "yt_dlp",
}
MAY_USE_NETWORK = {
    "network",
    "weights",
    "hub_weights",
    "curate.web",
    "curate.hub",
    "curate.publish",
    "curate._ray",
    "doctor",
    "leaderboard.export_hub",
}
"""Weights come through `weights` and `hub_weights`, sources from sites through `curate.web`, datasets through
`curate.hub`. `leaderboard.export_hub` reaches nobody: it writes the hub's formats with the hub's own classes."""

HEAVY = (
    {"accelerate", "cv2", "diffusers", "huggingface_hub", "jinja2", "librosa", "matplotlib", "numba", "numpy"}
    | {
        "open_clip",
        "pandas",
        "pyarrow",
        "ray",
        "scenedetect",
        "scipy",
        "sklearn",
        "torch",
        "torchaudio",
        "torchvision",
        "transformers",
        "webdataset",
        "yt_dlp",
    }
    | MEDIA_LIBRARIES
)
"""What ``avbench --help`` must not load: it is to answer in under half a second."""

MAX_LINES = 500
MAX_MEDIAN_LINES = 200


@dataclass(frozen=True)
class Import:
    """One imported module as written at one place.

    Attributes:
        target: Absolute dotted name; ``from a import b`` gives both ``a`` and ``a.b``.
        line: Line number.
        on_import: Runs when the module is imported (not inside a function, not under TYPE_CHECKING).
    """

    target: str
    line: int
    on_import: bool


def imports(name: str, source: str, *, is_package: bool = False) -> list[Import]:
    """Every import of a module, those inside functions too, relative ones made absolute."""
    found: list[Import] = []

    def visit(node: ast.AST, on_import: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, on_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                drop = node.level - (1 if is_package else 0)
                parent = name.split(".")[: len(name.split(".")) - drop]
                base = ".".join([*parent, base] if base else parent)
            found.append(Import(base, node.lineno, on_import))
            found.extend(Import(f"{base}.{alias.name}", node.lineno, on_import) for alias in node.names)
        inner = on_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            inner = False
        for child in ast.iter_child_nodes(node):
            visit(child, inner)

    visit(ast.parse(source), True)
    return found


def room(module: str) -> str:
    """Room of a module: ``avbench.curate.download`` stands in ``curate``, ``avbench.media_probe`` in ``media``."""
    first = module.partition(".")[2].partition(".")[0].lstrip("_")
    return "media" if first.startswith("media") else first


def in_any(target: str, libraries: set[str]) -> str:
    """The library of ``libraries`` that ``target`` is or lies in, or an empty string."""
    parts = target.split(".")
    return next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in libraries), "")


def _edges(sources: dict[str, str]) -> Iterator[tuple[str, Import]]:
    packages = {name.rpartition(".")[0] for name in sources}
    for name, source in sorted(sources.items()):
        for found in imports(name, source, is_package=name in packages):
            yield name, found


def wrong_layer(sources: dict[str, str]) -> list[str]:
    """Imports of a later layer, and rooms that stand in none."""
    level = {member: n for n, layer in enumerate(LAYERS) for member in layer}
    bad = [
        f"{name} stands in no layer: give {room(name)!r} a place in LAYERS of tests/test_layers.py"
        for name in sorted(sources)
        if room(name) and room(name) not in level
    ]
    for name, found in _edges(sources):
        here, there = level.get(room(name)), level.get(room(found.target))
        if found.target.startswith("avbench.") and here is not None and there is not None and there > here:
            bad.append(f"{name}:{found.line} imports {found.target}, which is of a later layer")
    return list(dict.fromkeys(bad))


def rooms_in_a_ring(sources: dict[str, str]) -> list[str]:
    """Rooms that import each other, directly or round a corner: neither could be read or replaced alone."""
    needs: dict[str, set[str]] = {}
    for name, found in _edges(sources):
        if found.target.startswith("avbench.") and room(name) and room(found.target) != room(name):
            needs.setdefault(room(name), set()).add(room(found.target))

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        ahead = needs.get(start, set()) - seen
        return goal in ahead or any(reaches(step, goal, seen | ahead) for step in ahead)

    return [
        f"avbench.{start} imports itself through other rooms" for start in sorted(needs) if reaches(start, start, set())
    ]


def sibling_stages(sources: dict[str, str]) -> list[str]:
    """A stage of `curate` that imports another."""
    stages = {f"avbench.curate.{stage}" for stage in STAGES}
    return list(
        dict.fromkeys(
            f"{name}:{found.line} imports its sibling stage {hit}; they meet on disk"
            for name, found in _edges(sources)
            if in_any(name, stages) and (hit := in_any(found.target, stages)) and hit != in_any(name, stages)
        )
    )


def misplaced_library(sources: dict[str, str]) -> list[str]:
    """ffmpeg or PyAV outside media, network libraries outside the modules that may reach out."""
    bad = []
    for name, found in _edges(sources):
        if (library := in_any(found.target, MEDIA_LIBRARIES)) and room(name) != "media":
            bad.append(f"{name}:{found.line} imports {library}; only avbench.media calls ffmpeg and PyAV")
        allowed = in_any(name.removeprefix("avbench."), MAY_USE_NETWORK)
        if (library := in_any(found.target, NETWORK_LIBRARIES)) and not allowed:
            bad.append(f"{name}:{found.line} imports {library}; only {', '.join(sorted(MAY_USE_NETWORK))} may")
    return list(dict.fromkeys(bad))


def heavy_on_help(sources: dict[str, str], start: tuple[str, ...]) -> list[str]:
    """Heavy libraries that importing ``start`` loads, with the chain of modules that leads there."""
    wanted: dict[str, list[Import]] = {}
    for name, found in _edges(sources):
        if found.on_import:
            wanted.setdefault(name, []).append(found)
    bad = []
    chains = {name: name for name in start if name in sources}
    queue = list(chains)
    while queue:
        name = queue.pop(0)
        for found in wanted.get(name, []):
            if library := in_any(found.target, HEAVY):
                bad.append(f"{chains[name]} loads {library} (line {found.line}); import it inside the function")
            parts = found.target.split(".")
            for target in (".".join(parts[:n]) for n in range(1, len(parts) + 1)):
                if target in sources and target not in chains:
                    chains[target] = f"{chains[name]} -> {target}"
                    queue.append(target)
    return list(dict.fromkeys(bad))


def acts_on_import(sources: dict[str, str]) -> list[str]:
    """Calls for their effect at the top level of a module: importing does nothing, but cli may wire its commands."""
    return [
        f"{name}:{node.lineno} calls {ast.unparse(node.value.func)}() on import"
        for name, source in sorted(sources.items())
        if room(name) != "cli"
        for node in ast.parse(source).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]


def undocumented(sources: dict[str, str]) -> list[str]:
    """Modules without a docstring."""
    return [
        f"{name} has no docstring" for name, text in sorted(sources.items()) if not ast.get_docstring(ast.parse(text))
    ]


def too_long(sources: dict[str, str]) -> list[str]:
    """Files beyond the ceiling, and a median that has crept up."""
    lengths = {name: len(text.splitlines()) for name, text in sources.items()}
    bad = [f"{name} has {n} lines; {MAX_LINES} at most" for name, n in sorted(lengths.items()) if n > MAX_LINES]
    # a package's one-line __init__ would only flatter the median
    files = [n for n in lengths.values() if n > 5]
    if files and statistics.median(files) > MAX_MEDIAN_LINES:
        bad.append(f"the median file has {statistics.median(files):g} lines; {MAX_MEDIAN_LINES} at most")
    return bad


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    found = {}
    for path in sorted((ROOT / "avbench").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    assert len(found) > 10
    return found


LIGHT = (
    "cli",
    "errors",
    "schema",
    "registry",
    "progress",
    "recipe",
    "recipe_avdit",
    "recipe_baseline",
    "workspace",
    "parallel",
)


@pytest.mark.parametrize(
    "check",
    [
        wrong_layer,
        rooms_in_a_ring,
        sibling_stages,
        misplaced_library,
        lambda sources: heavy_on_help(sources, tuple(f"avbench.{name}" for name in LIGHT)),
        acts_on_import,
        undocumented,
        too_long,
    ],
    ids=["layers", "rings", "stages", "libraries", "light", "import-does-nothing", "docstrings", "length"],
)
def test_the_house_keeps(check, sources: dict[str, str]) -> None:
    complaints = check(sources)
    assert not complaints, "\n".join(["", *complaints])


@pytest.mark.parametrize(
    ("check", "example", "complaint"),
    [
        (wrong_layer, {"avbench.media": "def f():\n    from avbench.metrics import fvd"}, "avbench.media:2 imports"),
        (wrong_layer, {"avbench.metrics.fvd": "from ..training import loop"}, "avbench.training, which is of a later"),
        (wrong_layer, {"avbench.curate": "from .. import leaderboard", "avbench.curate.x": ""}, "avbench.leaderboard"),
        (wrong_layer, {"avbench.attic": ""}, "stands in no layer"),
        (
            rooms_in_a_ring,
            {"avbench.recipe": "import avbench.media", "avbench.media": "from avbench import recipe"},
            "avbench.media imports itself",
        ),
        (sibling_stages, {"avbench.curate.shard": "from avbench.curate import segment"}, "avbench.curate.segment"),
        (misplaced_library, {"avbench.filters.cuts": "import av.video"}, "only avbench.media"),
        (misplaced_library, {"avbench.features.i3d": "def f():\n    import urllib.request"}, "urllib.request"),
        (acts_on_import, {"avbench.recipe": "import torch\ntorch.manual_seed(0)"}, "calls torch.manual_seed()"),
        (undocumented, {"avbench.recipe": "x = 1"}, "no docstring"),
        (too_long, {"avbench.recipe": "\n" * 501}, "501 lines"),
        (too_long, {"avbench.recipe": "\n" * 201}, "median"),
    ],
)
def test_a_broken_house_is_noticed(check, example: dict[str, str], complaint: str) -> None:
    assert complaint in "\n".join(check(example))


def test_heavy_import_is_traced_through_other_modules() -> None:
    example = {
        "avbench.cli": "from avbench import middle\ndef f():\n    import torch",
        "avbench.middle": "from typing import TYPE_CHECKING\nimport avbench.deep\nif TYPE_CHECKING:\n    import cv2",
        "avbench.deep": "import pandas as pd",
    }
    (complaint,) = heavy_on_help(example, ("avbench.cli",))
    assert complaint.startswith("avbench.cli -> avbench.middle -> avbench.deep loads pandas")


def test_stages_may_use_what_is_not_a_stage() -> None:
    assert not sibling_stages({"avbench.curate.download": "from avbench.curate import synthetic, manifest"})
    assert not misplaced_library({"avbench.media_probe": "import av", "avbench.weights": "import urllib.request"})


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    program = "import avbench, avbench.cli, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(loaded.stdout.split()), sorted(HEAVY & set(loaded.stdout.split()))
