"""Comparing two results: only what may be compared, paired where the clips pair, the better one named rightly."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from avbench.compare import Comparison, Row, compare_results
from avbench.errors import UserError
from avbench.scored import build_reference, score_folder
from tests.clips import write_npz

PROTOCOL = """
name = "toy"
description = "toy"
source = "tests"
metrics = ["av_align", "mel_fd", "flow_fd"]
frames = {frames}
fps = 10
size = 32
n = 64
min_n = 4
interval_draws = 10
"""


def folder(root: Path, seeds: range, loud: float = 0.5) -> Path:
    for place, seed in enumerate(seeds):
        write_npz(root / f"clip-{place:03d}.npz", seed, loud=loud)
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scored folders: good, another good one, and one almost without sound; all against one reference."""
    root = tmp_path_factory.mktemp("compared")
    (root / "toy.toml").write_text(PROTOCOL.format(frames=16))
    folder(root / "real", range(200, 224))
    build_reference(str(root / "real"), str(root / "toy.toml"), root / "real.safetensors", workers=1)
    for name, seeds, loud in (("good", range(24), 0.5), ("other", range(50, 74), 0.5), ("mute", range(24), 0.0)):
        folder(root / name, seeds, loud)
        score_folder(root / name, str(root / "real.safetensors"), str(root / "toy.toml"), workers=1)
    return root


def rows(found: Comparison) -> dict[str, Row]:
    return {row.metric: row for row in found.rows}


def test_a_real_difference_is_found_and_named(place: Path) -> None:
    found = compare_results(place / "good", place / "mute" / "result.json")
    assert found.pairing == "clips pair by name"
    for metric in ("av_align", "mel_fd"):
        row = rows(found)[metric]
        assert row.verdict == "A is better"
        assert row.p <= row.p_adjusted < 0.05
        assert not row.interval[0] <= 0 <= row.interval[1]
    # both have the same pictures
    assert rows(found)["flow_fd"].difference == pytest.approx(0, abs=1e-9)
    assert rows(found)["flow_fd"].verdict == "no difference shown"


def test_the_other_order_turns_the_sign(place: Path) -> None:
    one, two = (
        rows(compare_results(place / "good", place / "mute")),
        rows(compare_results(place / "mute", place / "good")),
    )
    assert two["mel_fd"].verdict == "B is better"
    assert two["mel_fd"].difference == pytest.approx(-one["mel_fd"].difference)


def test_two_sets_of_one_kind_show_no_difference(place: Path) -> None:
    found = rows(compare_results(place / "good", place / "other"))
    assert {row.verdict for row in found.values()} == {"no difference shown"}


def test_a_result_does_not_differ_from_itself(place: Path) -> None:
    for row in compare_results(place / "good", place / "good").rows:
        assert (row.difference, row.p) == (0.0, 1.0)


def test_other_protocols_are_refused_and_the_fields_named(place: Path, tmp_path: Path) -> None:
    (tmp_path / "toy.toml").write_text(PROTOCOL.format(frames=12))
    shutil.copytree(place / "good", tmp_path / "short")
    score_folder(tmp_path / "short", str(place / "real"), str(tmp_path / "toy.toml"), workers=1)
    with pytest.raises(UserError, match=r"the protocols toy@\w+ and toy@\w+ differ in frames \(16, 12\)"):
        compare_results(place / "good", tmp_path / "short")


def test_another_reference_is_refused(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "good", tmp_path / "again")
    folder(tmp_path / "elsewhere", range(300, 312))
    score_folder(tmp_path / "again", str(tmp_path / "elsewhere"), str(place / "toy.toml"), workers=1)
    with pytest.raises(UserError, match=r"the references differ in name \(real, elsewhere\) and sha256"):
        compare_results(place / "good", tmp_path / "again")


def test_missing_files_are_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent/result.json|there is no such result"):
        compare_results(tmp_path / "absent", place / "good")
    shutil.copytree(place / "good", tmp_path / "bare")
    (tmp_path / "bare" / "features.safetensors").unlink()
    with pytest.raises(UserError, match=r"features.safetensors: is missing beside result.json; score the clips again"):
        compare_results(tmp_path / "bare", place / "good")


def test_statistics_give_the_score_that_the_clips_give(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "good", tmp_path / "good")
    direct = score_folder(tmp_path / "good", str(place / "real"), str(place / "toy.toml"), workers=1)
    stored = score_folder(tmp_path / "good", str(place / "real.safetensors"), str(place / "toy.toml"), workers=1)
    assert direct.scores == stored.scores
    assert direct.dataset == stored.dataset
    assert np.isfinite([score.value for score in direct.scores]).all()
