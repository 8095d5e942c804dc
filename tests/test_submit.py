"""Submitting: a sound run lands whole on the leaderboard, again changes nothing, and a broken one is refused."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avbench import workspace
from avbench.cli import app
from avbench.errors import UserError
from avbench.leaderboard import evidence, publishing, records
from avbench.scored import _as_before, build_reference, score_folder
from avbench.submit import submit
from tests.clips import write_npz
from tests.leaderboard import scored_folders


def files(board: Path) -> dict[str, bytes]:
    return {
        path.relative_to(board).as_posix(): path.read_bytes()
        for path in board.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_a_scored_folder_lands_with_its_evidence_and_again_changes_nothing(tmp_path: Path) -> None:
    record = scored_folders.write(tmp_path / "mine")
    assert submit(tmp_path / "mine", tmp_path / "board") == record
    first = files(tmp_path / "board")
    home = f"evidence/{record.id}/"
    assert {name.removeprefix(home) for name in first if name.startswith(home)} == set(record.evidence)
    assert {"README.md", "index.html", "schema/record-1.json"} <= set(first)
    assert records.load_all(tmp_path / "board") == [record]
    submit(tmp_path / "mine" / "result.json", tmp_path / "board")
    assert files(tmp_path / "board") == first


def test_a_record_that_is_made_again_with_the_same_numbers_is_the_one_before(tmp_path: Path) -> None:
    record = scored_folders.write(tmp_path / "mine")
    path = tmp_path / "mine" / "result.json"
    later = record.model_copy(update={"created_at": "2030-01-01T00:00:00+00:00", "seconds": {"score": 99.0}})
    assert _as_before(path, later) == record, "so that a run which is published again stands on no table twice"
    other = later.model_copy(update={"n_asked": record.n_asked + 1})
    assert _as_before(path, other) is other
    path.write_text("{")
    assert _as_before(path, later) is later


def test_a_run_folder_is_submitted_with_the_samples_that_were_scored(tmp_path: Path) -> None:
    record = scored_folders.write(tmp_path / "run")
    (tmp_path / "run" / "samples-v2a").mkdir()
    shutil.move(tmp_path / "run" / "samples.json", tmp_path / "run" / "samples-v2a")
    (tmp_path / "run" / "samples").mkdir()
    (tmp_path / "run" / "samples" / "samples.json").write_text("{}")
    submit(tmp_path / "run", tmp_path / "board")
    stored = evidence.stored(record, tmp_path / "board")
    assert json.loads(stored["samples.json"].read_text()) == {"model": "run"}


def test_a_submission_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    record = scored_folders.write(tmp_path / "mine")
    submit(tmp_path / "mine", tmp_path / "whole")
    half = evidence.home(record, tmp_path / "board")
    half.mkdir(parents=True)
    (half / "features.safetensors").write_bytes(b"half")
    submit(tmp_path / "mine", tmp_path / "board")
    assert files(tmp_path / "board") == files(tmp_path / "whole")


def killed_at_publication(number: int, mine: Path, board: Path) -> bool:
    """Submit in a process that dies as it is about to give its file ``number`` its final name; False if it ended."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    seen, replace = itertools.count(), os.replace

    def dying(*paths: object) -> None:
        if next(seen) == number:
            os._exit(9)
        replace(*paths)  # type: ignore[arg-type]

    try:
        workspace.os.replace = dying  # type: ignore[attr-defined]
        submit(mine, board)
    finally:
        os._exit(0)


@pytest.mark.slow
def test_a_kill_at_any_publication_leaves_what_the_same_command_completes(tmp_path: Path) -> None:
    scored_folders.write(tmp_path / "mine")
    submit(tmp_path / "mine", tmp_path / "whole")
    for number in itertools.count():
        board = tmp_path / f"board-{number}"
        if not killed_at_publication(number, tmp_path / "mine", board):
            break
        assert list(board.rglob(f"{workspace.TEMPORARY}*"))
        submit(tmp_path / "mine", board)
        assert files(board) == files(tmp_path / "whole")
        assert not list(board.rglob(f"{workspace.TEMPORARY}*"))
    assert number > 6


def test_a_submission_waits_for_another_and_says_so_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored_folders.write(tmp_path / "mine")
    monkeypatch.setattr(publishing, "WAIT_S", 0.1)
    with publishing.lock(tmp_path / "board"), pytest.raises(UserError, match="board: another avbench writes in this"):
        submit(tmp_path / "mine", tmp_path / "board")
    submit(tmp_path / "mine", tmp_path / "board")


def edit(folder: Path, **fields: object) -> None:
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def spoil(name: str):
    def change(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (spoil("features.safetensors"), r"evidence: .*features\.safetensors: has the digest"),
        (spoil("per_clip.parquet"), r"evidence: .*per_clip\.parquet: has the digest"),
        (spoil("samples.json"), r"holds no samples\.json that was scored"),
        (lambda folder: (folder / "per_clip.parquet").unlink(), r"per_clip\.parquet is not in"),
        (lambda folder: (folder / "result.json").unlink(), r"mine: holds no result\.json; score the clips first"),
        (lambda folder: edit(folder, colour="blue"), r"result\.json: colour = 'blue'"),
        (lambda folder: edit(folder, n_asked=99), r"N: the record says N asked 99, the protocol asks for 64"),
        (lambda folder: edit(folder, n_used=23), r"N: mel_fd says N used 24, the record 23"),
        (lambda folder: edit(folder, command=""), r"needs its command"),
        (lambda folder: edit(folder, evidence={}), r"names no per_clip\.parquet and no features\.safetensors"),
        (lambda folder: edit(folder, status="literature", source="A paper"), r"a row from the literature"),
        (
            lambda folder: edit(folder, protocol={"id": "toy@0", "name": "toy", "settings": {"frames": 16}}),
            r"protocol: the settings are no protocol",
        ),
    ],
    ids=lambda value: None if callable(value) else value,
)
def test_what_does_not_hold_together_is_refused_and_leaves_nothing(tmp_path: Path, change, said: str) -> None:
    scored_folders.write(tmp_path / "mine")
    change(tmp_path / "mine")
    with pytest.raises(UserError, match=said):
        submit(tmp_path / "mine", tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_a_run_that_was_scored_by_its_samples_is_pointed_to(tmp_path: Path) -> None:
    scored_folders.write(tmp_path / "run" / "samples")
    with pytest.raises(UserError, match=r"run: holds no result\.json; give .*samples, which does"):
        submit(tmp_path / "run", tmp_path / "board")
    with pytest.raises(UserError, match=r"absent: there is no such folder"):
        submit(tmp_path / "absent", tmp_path / "board")


def test_the_commands_submit_and_verify_and_tell_a_forgery_by_exit_code_1(tmp_path: Path) -> None:
    record = scored_folders.write(tmp_path / "mine")
    board, runner = tmp_path / "board", CliRunner()
    done = runner.invoke(app, ["submit", str(tmp_path / "mine"), "--leaderboard", str(board)])
    assert done.exit_code == 0, done.output
    done = runner.invoke(app, ["leaderboard", "verify", str(board)])
    assert done.exit_code == 0, done.output
    assert f"{record.id}: verified" in done.output
    assert "| verified |" in (board / "README.md").read_text()
    spoil("features.safetensors")(evidence.home(record, board))
    done = runner.invoke(app, ["leaderboard", "verify", str(board), "--only", record.id])
    assert done.exit_code == 1, done.output
    assert f"{record.id}: differs" in done.output
    assert "| reported |" in (board / "README.md").read_text()


@pytest.mark.slow
def test_scored_clips_go_the_same_way_and_are_verified(tmp_path: Path) -> None:
    toy = tmp_path / "toy.toml"
    toy.write_text(
        'name = "toy"\nmetrics = ["av_align", "mel_fd", "flow_fd"]\nframes = 16\nfps = 10\nsize = 32\nn = 64\n'
        "min_n = 4\ninterval_draws = 10\n"
    )
    for name, first in (("real", 100), ("mine", 0)):
        for place in range(8):
            write_npz(tmp_path / name / f"clip-{place:03d}.npz", first + place)
    real, _ = build_reference(str(tmp_path / "real"), str(toy), tmp_path / "real.safetensors", workers=1)
    record = score_folder(tmp_path / "mine", str(real), str(toy), workers=1, leaderboard=tmp_path / "board")
    first = files(tmp_path / "board")
    assert record.evidence["features.safetensors"] == workspace.file_sha256(tmp_path / "mine" / "features.safetensors")
    submit(tmp_path / "mine", tmp_path / "board")
    assert files(tmp_path / "board") == first
    done = CliRunner().invoke(app, ["leaderboard", "verify", str(tmp_path / "board")])
    assert done.exit_code == 0, done.output
    assert f"{record.id}: verified" in done.output
