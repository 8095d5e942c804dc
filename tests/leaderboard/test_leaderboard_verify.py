"""Verification: honest rows are verified, and every kind of tampering is found and named."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scored_folders
from safetensors import safe_open
from safetensors.numpy import save_file

from avbench import workspace
from avbench.errors import UserError
from avbench.leaderboard import evidence, publishing, ranking, records, reference_rows, standing, tables, verify
from avbench.leaderboard.records import ResultRecord
from avbench.leaderboard.standing import Report
from avbench.metrics import mel_fd
from avbench.submit import submit


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A leaderboard with three submitted runs, one far worse than the other two."""
    root = tmp_path_factory.mktemp("made")
    for seed, (name, shift) in enumerate([("near", 0.0), ("far", 3.0), ("other", 0.05)]):
        scored_folders.write(root / name, seed, shift=shift)
        submit(root / name, root / "board")
    return root / "board"


@pytest.fixture
def board(made: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return shutil.copytree(made, tmp_path / "board")


def record_of(board: Path, model: str) -> ResultRecord:
    return next(record for record in records.load_all(board) if record.model == model)


def differing(reports: list[Report]) -> dict[str, str]:
    """What differs, by what was checked."""
    return {check.what: check.note for report in reports for check in report.of("differs")}


def republish(board: Path, record: ResultRecord, change: Callable[[dict], None]) -> ResultRecord:
    """Change a published record and give the file the name that fits, as a forger would; its evidence goes along."""
    data = record.model_dump(mode="json")
    change(data)
    forged = ResultRecord.model_validate_json(json.dumps(data))
    records.path_of(record, board).unlink()
    records.save(forged, board)
    evidence.home(record, board).rename(evidence.home(forged, board))
    return forged


def test_honest_rows_are_verified_and_what_needs_the_clips_is_listed(board: Path) -> None:
    reports = verify.verify(board)
    assert differing(reports) == {}
    assert all(report.passed for report in reports)
    *runs, tests = reports
    assert tests.record == ranking.STORE_NAME
    assert len(tests.of("done")) == 3
    for report in runs:
        wanted = {"record", "protocol", "evidence", "reference rows", "av_align", *scored_folders.DISTANCES}
        assert {check.what for check in report.of("done")} >= wanted, "without any weights of a network"
        assert {check.what for check in report.of("not possible")} == {"chance levels", "per-clip values"}
        mel = next(check for check in report.checks if check.what == "mel_fd")
        assert mel.note == "value, interval, floor"
    (table,) = tables.tables(records.load_all(board), board)
    assert [row.standing for row in table.rows] == ["verified"] * 3


def test_before_verification_rows_are_reported(board: Path) -> None:
    (table,) = tables.tables(records.load_all(board), board)
    assert [row.standing for row in table.rows] == ["reported"] * 3


def test_ranks_come_from_the_evidence(board: Path) -> None:
    (table,) = tables.tables(records.load_all(board), board)
    assert {row.record.model: row.rank for row in table.rows} == {"near": "1-2", "other": "1-2", "far": "3"}
    assert "3 on their clips" in table.ranked_by


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        (("scores", 0, "value"), 0.5, "mel_fd"),
        (("scores", 0, "floor"), 0.5, "mel_fd"),
        (("scores", 0, "interval"), [0.1, 9.0], "mel_fd"),
        (("scores", 2, "value"), 0.5, "fvd"),
        (("scores", 3, "value"), 0.5, "kvd"),
        (("scores", 4, "value"), 0.5, "fad"),
        (("scores", -1, "value"), 0.9, "av_align"),
        (("scores", -1, "interval"), [0.1, 0.9], "av_align"),
        (("n_asked",), 99, "N"),
        (("n_used",), 25, "N"),
        (("protocol", "settings", "fps"), 12.0, "protocol"),
        (("protocol", "id"), "toy@00000000", "protocol"),
        (("dataset", "sha256"), "cd" * 32, "reference"),
        (("weights",), {"mel": "cd" * 32}, "weights"),
        (("evidence", "per_clip.parquet"), "cd" * 32, "evidence"),
    ],
)
def test_a_forged_record_that_fits_its_name_is_found(board: Path, place: tuple, value: object, what: str) -> None:
    def change(data: dict) -> None:
        *parents, last = place
        for parent in parents:
            data = data[parent]
        data[last] = value

    forged = republish(board, record_of(board, "near"), change)
    (report,) = verify.verify(board, forged.id)
    assert what in differing([report])
    assert not report.passed
    assert not standing.is_verified(forged, board)


def test_an_edited_record_is_found(board: Path) -> None:
    path = records.path_of(record_of(board, "near"), board)
    path.write_text(path.read_text().replace('"near"', '"mine"'))
    assert "edited or moved" in differing(verify.verify(board))["record"]


def test_a_moved_record_is_found(board: Path) -> None:
    path = records.path_of(record_of(board, "near"), board)
    moved = board / "results" / "easier-1" / "joint" / "toy" / path.name
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    reports = verify.verify(board)
    assert "edited or moved" in differing(reports)["record"]
    assert len([report for report in reports if report.passed]) == 3  # the others, and the tests that are left


def test_tampered_features_are_found(board: Path) -> None:
    path = evidence.home(record_of(board, "near"), board) / evidence.FEATURES_NAME
    with safe_open(path, framework="numpy") as file:
        words, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["generated/mel/values"][0, 0] += 1e-3
    save_file(tensors, path, metadata=words)
    note = differing(verify.verify(board))["evidence"]
    assert "features.safetensors: has the digest" in note


def test_tampered_features_with_digests_to_fit_are_found_by_the_numbers(board: Path) -> None:
    record = record_of(board, "far")
    home = evidence.home(record, board)
    shutil.copyfile(
        evidence.home(record_of(board, "near"), board) / evidence.FEATURES_NAME, home / "features.safetensors"
    )
    digest = workspace.file_sha256(home / evidence.FEATURES_NAME)
    forged = republish(board, record, lambda data: data["evidence"].update({evidence.FEATURES_NAME: digest}))
    found = differing(verify.verify(board, forged.id))
    assert {"mel_fd", "flow_fd", "mel per clip", "flow per clip"} <= found.keys()


def test_a_tampered_per_clip_table_is_found(board: Path) -> None:
    path = evidence.home(record_of(board, "near"), board) / evidence.PER_CLIP_NAME
    table = pd.read_parquet(path)
    table.loc[0, "av_align"] = 1.0
    table.to_parquet(path, index=False)
    assert "per_clip.parquet: has the digest" in differing(verify.verify(board))["evidence"]


def test_a_forged_test_of_a_difference_is_found(board: Path) -> None:
    path = board / ranking.STORE_NAME
    data = json.loads(path.read_text())
    name = next(iter(data["pairs"]))
    data["pairs"][name]["p"] = 0.5
    path.write_text(json.dumps(data))
    assert list(differing(verify.verify(board))) == [name]


def test_without_evidence_a_row_is_reported_and_the_reason_is_said(board: Path) -> None:
    record = record_of(board, "near")
    shutil.rmtree(evidence.home(record, board))
    (report,) = verify.verify(board, record.id)
    assert [(check.what, check.state) for check in report.checks][-1] == ("evidence", "not possible")
    assert "is not in" in report.checks[-1].note
    assert not report.passed
    assert not report.of("differs")


def test_a_report_of_another_record_verifies_nothing(board: Path) -> None:
    near, far = record_of(board, "near"), record_of(board, "far")
    verify.verify(board, near.id)
    shutil.copyfile(standing.path_of(near.id, board), standing.path_of(far.id, board))
    assert standing.is_verified(near, board)
    assert not standing.is_verified(far, board)


def test_verifying_again_changes_no_byte(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verify.verify(board)
    before = {path: path.read_bytes() for path in (board / "verified").iterdir()}
    monkeypatch.setattr("avbench.provenance.utc_now", lambda: "2099-01-01T00:00:00+00:00")
    verify.verify(board)
    assert {path: path.read_bytes() for path in (board / "verified").iterdir()} == before


def test_a_damaged_report_is_named_and_mended_by_verifying(board: Path) -> None:
    record = record_of(board, "near")
    path = standing.path_of(record.id, board)
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(UserError, match=rf"{record.id}\.json: damaged .*leaderboard verify"):
        standing.is_verified(record, board)
    verify.verify(board, record.id)
    assert standing.is_verified(record, board)


def test_an_unknown_record_is_refused(board: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{board}: there is no record called '0123456789'; (known|did you mean)"):
        verify.verify(board, "0123456789")
    with pytest.raises(UserError, match=r"empty: holds no records; `avbench submit RUN --leaderboard .*empty` adds"):
        verify.verify(tmp_path / "empty")


def test_a_build_refuses_evidence_that_was_changed_where_it_needs_it(board: Path) -> None:
    (board / ranking.STORE_NAME).unlink()
    path = evidence.home(record_of(board, "near"), board) / evidence.FEATURES_NAME
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"features\.safetensors: has the digest .* restore the file"):
        publishing.build(board)


def test_tests_of_runs_that_are_gone_are_forgotten(board: Path) -> None:
    records.path_of(record_of(board, "far"), board).unlink()
    publishing.build(board)
    near, other = record_of(board, "near"), record_of(board, "other")
    assert list(ranking.load_store(board).pairs) == [ranking.pair_name(near.id, other.id)]


def test_of_runs_that_pair_each_is_computed_once_and_the_tests_are_the_same(board: Path, monkeypatch) -> None:
    loaded = [record_of(board, name) for name in ("near", "far", "other")]
    held = [evidence.read(record, evidence.stored(record, board)) for record in loaded]
    calls = []
    compute = mel_fd.compute_subsets
    monkeypatch.setattr(mel_fd, "compute_subsets", lambda *inputs: calls.append(1) or compute(*inputs))
    pairs = list(itertools.combinations(held, 2))
    alone = [evidence.difference("mel_fd", *pair) for pair in pairs]
    assert len(calls) == 6
    calls.clear()
    memo = evidence.Memo()
    assert [evidence.difference("mel_fd", *pair, memo) for pair in pairs] == alone
    assert len(calls) == 3


def test_a_run_that_brings_a_reference_of_its_own_is_found(board: Path, tmp_path: Path) -> None:
    record = scored_folders.write(
        tmp_path / "cheat", 9, reference_shift=0.5, shift=0.5, created_at="2026-02-01T12:00:00+00:00"
    )
    submit(tmp_path / "cheat", board)
    (report,) = verify.verify(board, record.id)
    assert list(differing([report])) == ["reference rows"]
    assert "differ by 0.5 on average" in differing([report])["reference rows"]
    assert all(check.state == "done" for check in report.checks if check.what in scored_folders.DISTANCES)
    assert not report.passed


def test_a_run_alone_in_its_table_has_no_other_reference_to_be_compared_with(tmp_path: Path) -> None:
    scored_folders.write(tmp_path / "mine")
    submit(tmp_path / "mine", tmp_path / "board")
    (report,) = verify.verify(tmp_path / "board")
    assert {check.what for check in report.of("not possible")} >= {"reference rows"}
    assert report.passed


def test_a_run_compared_with_fewer_windows_has_the_same_reference() -> None:
    names = [f"real-{number}" for number in range(12)]
    full, again = (scored_folders.side(names, np.random.default_rng(3)) for _ in range(2))
    assert reference_rows.difference(full, again.take(np.arange(8))) == ""
    again.embeddings["mel"].values[:, 0] += 0.02
    assert reference_rows.difference(full, again) == ""  # another processor
    again.embeddings["mel"].values[:, 0] += 1.0
    assert "mel" in reference_rows.difference(full, again)
    assert reference_rows.difference(full, again.take(np.arange(8)[::-1])) == "they are of other windows"


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("av_align", "0.5", "the column av_align does not hold numbers"),
        ("mel_outlier", "0.5", "the column mel_outlier does not hold numbers"),
        ("mel_outlier", 99.0, "the table says 99, recomputed"),
        ("warp_outlier", 1.0, "there are no rows of warp"),
        ("window_id", "clip-000@0", "its evidence ['clip-000@0', 'clip-000@0'"),
    ],
)
def test_a_forged_per_clip_table_with_a_digest_to_fit_is_found(board: Path, column: str, value: object, said) -> None:
    record = record_of(board, "near")
    path = evidence.home(record, board) / evidence.PER_CLIP_NAME
    pd.read_parquet(path).assign(**{column: value}).to_parquet(path, index=False)
    digest = workspace.file_sha256(path)
    forged = republish(board, record, lambda data: data["evidence"].update({evidence.PER_CLIP_NAME: digest}))
    (report,) = verify.verify(board, forged.id)
    assert any(said in note for note in differing([report]).values()), report
    assert not report.passed
