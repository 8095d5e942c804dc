"""What `avbench selftest` prints and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from avbench.cli import app
from avbench.errors import WeightsMissing
from avbench.selftest import battery, pins
from avbench.selftest.battery import Battery, Cell, Point


def missing() -> float:
    raise WeightsMissing("i3d: fetch them with `avbench weights fetch i3d`")


GOOD = pins.Pin("a good one", 1.5, 0.01, "a paper", lambda: 1.501)
BAD = pins.Pin("a bad one", (1.0, 2.0), 0.01, "a paper", lambda: [1.0, 2.5])
ABSENT = pins.Pin("one that needs weights", 1.0, 0.0, "a paper", missing)


def selftest(monkeypatch: pytest.MonkeyPatch, *chosen: pins.Pin) -> tuple[int, str]:
    monkeypatch.setattr(pins, "run", lambda **_: map(pins.check, chosen))
    done = CliRunner().invoke(app, ["selftest"])
    return done.exit_code, done.output


def test_agreement_ends_in_0_and_what_is_skipped_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    code, printed = selftest(monkeypatch, GOOD, ABSENT)
    assert code == 0
    assert "expected 1.5" in printed
    assert "got 1.501" in printed
    assert "tolerance 0.01" in printed
    assert "skipped: i3d: fetch them with `avbench weights fetch i3d`" in printed
    assert "1 agree, 0 do not, 1 skipped" in printed


def test_a_number_that_does_not_agree_ends_in_1_and_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    code, printed = selftest(monkeypatch, GOOD, BAD)
    assert code == 1
    assert "a bad one (worst of 2)" in printed
    assert "got 2.5" in printed
    assert "1 agree, 1 do not, 0 skipped" in printed


@pytest.mark.parametrize(("judgement", "code"), [("sees", 0), ("faint", 0), ("DOES NOT SEE", 1)])
def test_a_battery_ends_in_1_when_a_metric_does_not_see(
    judgement: battery.Judgement, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = Battery("small@0", 8, 16, 17, skipped={"fvd": "i3d: not here"})
    found.cells = [Cell("mel_fd", "hiss", "worse", 0.9, 1.0, True, 0.5, judgement)]
    found.points = [Point("mel_fd", "hiss", "rms", k / 10, k, 0.1, k, 0.1, 0.1, 16) for k in range(11)]
    monkeypatch.setattr(battery, "run", lambda *_, **__: found)
    done = CliRunner().invoke(app, ["selftest", "--battery", str(tmp_path), "--out", str(tmp_path / "out")])
    assert done.exit_code == code
    assert "16 distorted windows against 17 clean ones of 8 recordings" in done.output
    assert f"{1 - code} of 1 metric-distortion pairs as they should be" in done.output
    assert "skipped: i3d: not here" in done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "battery-sound.svg",
        "battery.csv",
        "battery.md",
        "battery.parquet",
    ]
