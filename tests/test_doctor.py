"""`avbench doctor` as a whole: states, exit codes, JSON, and a report that survives whatever is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avbench import cli, doctor
from avbench.doctor import Check, compute, network, places, programs

RUNNER = CliRunner()


def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds or a network."""
    versions = {"torch": "2", "torchvision": "2", "torchaudio": "2"}
    monkeypatch.setattr(compute, "probe", lambda: compute.Stack(versions, threads=1))
    monkeypatch.setattr(network, "hub", list)
    monkeypatch.setattr(programs, "ffmpeg", lambda: [Check("ffmpeg", True, "6.0", needed=True)])
    monkeypatch.setattr(programs, "downloads", lambda: [Check("yt-dlp", False, "old", "pip install -U yt-dlp")])
    monkeypatch.setattr(places, "weights", list)


def test_warnings_end_with_exit_code_0_and_a_fault_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    healthy(monkeypatch)
    result = RUNNER.invoke(cli.app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "warn   yt-dlp       old\n                    -> pip install -U yt-dlp\n" in result.output
    monkeypatch.setattr(programs, "ffmpeg", lambda: [Check("ffmpeg", False, "none", "install it", needed=True)])
    result = RUNNER.invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "fault  ffmpeg       none\n                    -> install it\n" in result.output


def test_json_holds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    healthy(monkeypatch)
    result = RUNNER.invoke(cli.app, ["doctor", "--json"])
    report = json.loads(result.output)
    assert report["ok"] is True
    by_name = {check["name"]: check for check in report["checks"]}
    assert by_name["yt-dlp"] == {
        "name": "yt-dlp",
        "state": "warn",
        "found": "old",
        "remedy": "pip install -U yt-dlp",
    }
    assert by_name["ffmpeg"] == {"name": "ffmpeg", "state": "ok", "found": "6.0"}
    monkeypatch.setattr(programs, "ffmpeg", lambda: [Check("ffmpeg", False, "none", "install it", needed=True)])
    result = RUNNER.invoke(cli.app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.output)["ok"] is False


def test_a_library_that_cannot_be_loaded_is_one_fault_and_the_rest_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy(monkeypatch)

    def broken() -> list[Check]:
        raise ImportError("libavcodec.so.61: cannot open shared object file", name="av._core")

    monkeypatch.setattr(programs, "ffmpeg", broken)
    checks = {check.name: check for check in doctor.run(tmp_path)}
    assert checks["ffmpeg"].state == "fault"
    assert "av cannot be loaded" in checks["ffmpeg"].found
    assert checks["ffmpeg"].remedy == "pip install --force-reinstall av"
    assert {"disk", "files", "memory", "shared"} <= set(checks)


@pytest.mark.slow
def test_the_real_report_on_a_machine_with_faults(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "AVBENCH_WEIGHTS": str(tmp_path),
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-c", "from avbench.cli import main; main()", "doctor"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    states = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines() if line and line[0] != " "}
    expected = {"python": "ok", "avbench": "ok", "ffmpeg": "fault", "torch": "ok", "disk": "ok", "hub": "warn"}
    assert {name: states.get(name) for name in expected} == expected
    others = {"yt-dlp", "javascript", "gpu", "bfloat16", "threads", "memory", "shared", "files", "caches"}
    assert {*others, "i3d", "vggish"} <= set(states)
    assert "-> avbench weights fetch i3d" in done.stdout
