"""The commands as they are typed: from clips to tables, and bad input in one sentence with exit code 2."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from avbench.cli import main
from avbench.study import record
from tests.study.conftest import lovers, take_part


def avbench(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["avbench", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_from_clips_to_tables(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    words = ("study", "create", "--a", folders / "alpha", "--b", folders / "beta", "--trials", 4, "--out", out)
    words = (*words, "--workers", 1)
    assert avbench(monkeypatch, *words) == 0
    told = capsys.readouterr().out
    assert f"{out}: 12 clips" in told
    assert "each item is judged 20 times" in told
    assert "loudness as played, LUFS: alpha" in told
    assert avbench(monkeypatch, *words) == 0
    assert "made before" in capsys.readouterr().out
    study = record.read(out)
    take_part(study, out / record.ANSWERS, 5, lovers)
    assert avbench(monkeypatch, "study", "analyse", out) == 0
    told = capsys.readouterr().out
    assert "5 people joined; answers of 5 count, 5 of them complete" in told
    assert "alpha over beta" in told
    assert (out / "analysis" / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create",), "needs systems"),
        (("create", "--a", "alpha"), "needs two systems"),
        (("create", "--a", "alpha", "--b", "nowhere"), "no such folder of clips"),
        (("create", "--a", "alpha", "--b", "fewer"), "'alpha' has 4 clips and 'fewer' 3"),
        (("create", "--a", "alpha", "--b", "broken", "--trials", "4", "--workers", "1"), "not a video"),
        (("create", "--a", "alpha", "--b", "beta"), "trials = 20"),
        (("create", "--a", "alpha", "--b", "beta", "--question", "beauty"), "none of quality"),
        (("create", "--a", "alpha", "--b", "beta", "--trials", "4", "--out", "file"), "is a file"),
        (("create", "--a", "alpha", "--test", "turing"), "needs real clips"),
        (("create", "absent.toml"), "no such file"),
        (("create", "bad.toml"), "unknown key 'trails'"),
        (("create", "bad.toml", "--seed", "1"), "says everything itself"),
        (("serve", "nowhere"), "holds no study"),
        (("serve", "study", "--host", "192.0.2.1"), "cannot listen"),
        (("serve", "foreign"), "another study"),
        (("serve", "songs"), "no database"),
        (("serve", "gone"), "is missing"),
        (("analyse", "study"), "no answers yet"),
        (("analyse", "nowhere"), "holds no study"),
        (("analyse", "songs"), "no database"),
    ],
)
def test_bad_input_is_one_sentence(
    folders: Path,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    for name in ("alpha", "beta"):
        (tmp_path / name).symlink_to(folders / name)
    for name in ("fewer", "broken"):
        shutil.copytree(folders / "beta", tmp_path / name)
    (tmp_path / "fewer" / "sample-00001.mp4").unlink()
    (tmp_path / "broken" / "sample-00002.mp4").write_text("not a film")
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.toml").write_text("trails = 3\nsystems = []\n")
    for name in ("study", "foreign", "songs", "gone"):
        if name in words:
            shutil.copytree(made, tmp_path / name)
    if "songs" in words:
        (tmp_path / "songs" / record.ANSWERS).write_text("no database at all" * 99)
    if "foreign" in words:
        from avbench.study.answers import Answers

        Answers(tmp_path / "foreign" / record.ANSWERS, "another").close()
    if "gone" in words:
        next((tmp_path / "gone" / "clips").iterdir()).unlink()
    monkeypatch.chdir(tmp_path)
    assert avbench(monkeypatch, "study", *words) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not list(tmp_path.rglob(".tmp*"))
