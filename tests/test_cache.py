"""The feature cache: what was put comes back, nothing stale ever does, and a broken file costs time only."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from avbench import cache
from avbench.cache import FeatureCache
from avbench.progress import Reporter


class Heard(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def test_values_come_back_before_and_after_they_are_on_disk(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = tmp_path / "deep" / "cache.sqlite"
    with FeatureCache(path) as first:
        first.put("a", {"rows": rows[:, ::2], "owner": np.arange(3)})
        assert first.get(["a", "b"])["a"]["rows"].tolist() == rows[:, ::2].tolist()
    with FeatureCache(path) as second:
        assert second.get(["b"]) == {}
        assert second.get(["a"])["a"]["rows"].tolist() == rows[:, ::2].tolist()


def test_two_open_caches_see_each_others_values(tmp_path: Path) -> None:
    with FeatureCache(tmp_path / "c.sqlite") as one, FeatureCache(tmp_path / "c.sqlite") as two:
        one.put("k", {"rows": np.ones(2)})
        one.flush()
        assert "k" in two.get(["k"])


def test_a_key_changes_with_every_part_and_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {cache.key(item="a", window=1), cache.key(item="b", window=1), cache.key(item="a", window=2)}
    assert len(keys) == 3
    assert cache.key(window=1, item="a") in keys
    monkeypatch.setattr(cache, "code_sha256", lambda: "other code")
    assert cache.key(item="a", window=1) not in keys


def test_a_file_that_is_no_database_is_said_once_and_scoring_goes_on(tmp_path: Path) -> None:
    path, heard = tmp_path / "c.sqlite", Heard()
    path.write_bytes(b"this is not a database, and it is long enough to be looked at" * 20)
    with FeatureCache(path, heard) as broken:
        broken.put("k", {"rows": np.ones(2)})
        assert broken.get(["k"]) == {}
    assert len(heard.warnings) == 1
    assert "delete the file or set AVBENCH_CACHE" in heard.warnings[0]


def test_a_damaged_value_counts_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with FeatureCache(path) as good:
        good.put("k", {"rows": np.ones(2)})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE measured SET value = ?", (b"\x08rest",))
    with FeatureCache(path) as again:
        assert again.get(["k"]) == {}


def test_clear_deletes_the_file_and_says_how_large_it_was(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with FeatureCache(path) as filled:
        filled.put("k", {"rows": np.ones(1000)})
    assert cache.clear(path) > 8000
    assert not path.exists()
    assert cache.clear(path) == 0


def test_the_folder_is_the_variable_or_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path))
    assert cache.folder() == tmp_path
    monkeypatch.delenv("AVBENCH_CACHE")
    assert cache.folder() == Path.home() / ".cache" / "avbench"
