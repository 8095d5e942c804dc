"""Provenance: the commit, the command and the machine are what they are."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy
import pytest
import torch

from avbench import provenance
from avbench.leaderboard.records import Environment


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with one commit that avbench believes to be its own."""
    (tmp_path / "avbench").mkdir()
    (tmp_path / "avbench" / "code.py").write_text("x = 1\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "first")
    monkeypatch.setattr(provenance, "project_root", lambda: tmp_path)
    return tmp_path


def test_commit_of_a_clean_checkout(checkout: Path) -> None:
    assert provenance.git_commit() == _git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("file", "is_dirty"),
    [
        ("avbench/code.py", True),
        ("avbench/new.py", True),
        ("recipes/a.toml", True),
        ("docs/a.md", False),
        ("leaderboard/results/r.json", False),
    ],
)
def test_only_what_changes_a_run_makes_it_dirty(file: str, is_dirty: bool, checkout: Path) -> None:
    (checkout / file).parent.mkdir(parents=True, exist_ok=True)
    (checkout / file).write_text("x = 2\n")
    assert str(provenance.git_commit()).endswith("+dirty") is is_dirty


def test_the_commit_of_a_repository_around_avbench_is_not_its_own(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "project_root", lambda: checkout / "avbench")
    assert provenance.git_commit() is None


def test_no_commit_without_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert provenance.git_commit() is None


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/home/me/.venv/bin/avbench", "score", "my clips/", "--n", "3"], "avbench score 'my clips/' --n 3"),
        (["/home/me/avbench/__main__.py", "doctor"], "python -m avbench doctor"),
    ],
)
def test_command_line_can_be_typed_again(argv: list[str], command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert provenance.command_line() == command


def test_environment_is_what_a_record_holds() -> None:
    found = Environment(**provenance.environment("cpu"))
    assert (found.python, found.torch, found.device) == (platform.python_version(), torch.__version__, "cpu")
    assert found.cpu
    assert found.cores >= 1
    assert platform.node() not in found.model_dump_json() or len(platform.node()) < 4


def test_package_versions_are_the_installed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=2.0", "yt-dlp[default]>=2025", "no-such-thing", 'pytest>=8; extra == "dev"']
    monkeypatch.setattr(provenance.importlib.metadata, "requires", lambda _: wanted)
    found = provenance._package_versions()
    assert list(found) == ["no-such-thing", "numpy", "yt-dlp"]
    assert found["numpy"] == numpy.__version__
    assert found["no-such-thing"] == "absent"


def test_time_is_utc_now() -> None:
    made = datetime.fromisoformat(provenance.utc_now())
    assert made.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - made) < timedelta(minutes=1)
