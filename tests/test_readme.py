"""README's file map is true, its first screen says what to type, and the project's own facts agree with each other."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from avbench import __version__

ROOT = Path(__file__).resolve().parent.parent


def file_map(text: str) -> dict[str, str]:
    """Path to description, from the fenced tree between the two ``file map`` comments.

    A line is an indented name, two or more spaces, and one phrase; a folder's name ends in a slash.
    """
    found = re.search(r"<!-- file map -->\s*```\w*\n(.*?)```\s*<!-- end of file map -->", text, re.DOTALL)
    assert found, "README has no fenced tree between '<!-- file map -->' and '<!-- end of file map -->'"
    paths: dict[str, str] = {}
    open_folders: list[tuple[int, str]] = []
    for line in found[1].splitlines():
        name, _, phrase = line.strip().partition("  ")
        indent = len(line) - len(line.lstrip())
        while open_folders and open_folders[-1][0] >= indent:
            open_folders.pop()
        path = (open_folders[-1][1] if open_folders else "") + name
        paths[path] = phrase.strip()
        if name.endswith("/"):
            open_folders.append((indent, path))
    return paths


def wrong_in_map(paths: dict[str, str], files: list[str]) -> list[str]:
    """Entries that are not there or say nothing, and neighbours of an entry that the map leaves out.

    Names that begin with a dot or an underscore (a package's helpers) need no entry.
    """
    parents = {"/".join(file.split("/")[:depth]) + "/" for file in files for depth in range(1, file.count("/") + 1)}
    there = {*files, *parents}
    bad = [f"{path} is in the map but not in the repository" for path in paths if path not in there]
    bad += [f"{path} has no phrase that says what it holds" for path, phrase in paths.items() if not phrase]
    shown = {_folder(path) for path in paths}
    missing = (path for path in sorted(there - set(paths)) if _folder(path) in shown)
    return bad + [f"{path} is not in the map" for path in missing if path[len(_folder(path))] not in "._"]


def _folder(path: str) -> str:
    """The folder that holds a file or a folder: ``a/b/`` and ``a/b`` stand in ``a/``."""
    head, slash, _ = path.rstrip("/").rpartition("/")
    return head + slash


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text()


def test_file_map_lists_exactly_what_is_there(readme: str, project_files: list[str]) -> None:
    paths = file_map(readme)
    assert {"avbench/", "avbench/curate/", "tests/", "Makefile"} <= set(paths)
    bad = wrong_in_map(paths, project_files)
    assert not bad, "\n".join(["", *bad])


def test_first_screen_says_what_to_type(readme: str) -> None:
    first_screen = "\n".join(readme.splitlines()[:30])
    assert "$ make demo" in first_screen
    assert "$ make test" in first_screen


def test_a_wrong_map_is_noticed() -> None:
    tree = "a/           a folder\n  one.py     first\n  gone.py    left\nb/   not opened\ntop.md\n"
    paths = file_map(f"<!-- file map -->\n```\n{tree}```\n<!-- end of file map -->")
    files = ["a/__init__.py", "a/one.py", "a/two.py", "a/c/x.py", "b/any.py", "top.md", ".gitignore"]
    assert wrong_in_map(paths, files) == [
        "a/gone.py is in the map but not in the repository",
        "top.md has no phrase that says what it holds",
        "a/c/ is not in the map",
        "a/two.py is not in the map",
    ]


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_one_version_everywhere(project: dict) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert {project["version"], citation["version"], newest[1]} == {__version__}


def test_citation_has_what_the_format_requires() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])


def _pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._]+", line) for line in lines), "names and versions only"
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_every_dependency_is_pinned_to_a_version_that_satisfies_it(project: dict) -> None:
    pins = _pins()
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(line)
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(pin), f"constraints.txt pins {requirement.name}=={pin}, not {line}"


def _imported_distributions() -> dict[str, str]:
    """Each third-party distribution that avbench imports anywhere, and one module that does."""
    owners = packages_distributions()
    found: dict[str, str] = {}
    for path in sorted((ROOT / "avbench").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                for owner in owners.get(name.partition(".")[0], []):
                    found.setdefault(canonicalize_name(owner), str(path.relative_to(ROOT)))
    found.pop("avbench", None)
    return found


USED_WITHOUT_IMPORT: dict[str, str] = {}
"""Dependencies that another library loads for avbench, and why they are needed."""


def test_dependencies_are_what_the_package_imports(project: dict) -> None:
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    optional = {
        canonicalize_name(Requirement(line).name)
        for lines in project["optional-dependencies"].values()
        for line in lines
    }
    imported = _imported_distributions()
    undeclared = {name: path for name, path in imported.items() if name not in declared | optional}
    assert not undeclared, f"imported but not in pyproject.toml: {undeclared}"
    unused = declared - set(imported) - set(USED_WITHOUT_IMPORT)
    assert not unused, f"in pyproject.toml but never imported: {sorted(unused)}"
