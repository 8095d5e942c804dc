"""A sweep: strategies alike but for their noise levels, every task scored, one table that says what it rests on."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from avbench import protocol as protocols, sweep
from avbench.errors import UserError
from avbench.progress import SILENT
from avbench.runs import Run
from avbench.schema import Score
from avbench.sweep import Cell, Table
from avbench.training import checkpoint
from tests.baselines import avdit_toy

BOUNDS = (0.0, 0.1, 0.5, 0.9, 1.3, 1.7)


def score(metric: str, value: float | None, **other: object) -> Score:
    reason = "" if value is not None else "the picture was given, not made (v2a)"
    return Score(metric, value, 48, 40, reason=reason, **other)  # type: ignore[arg-type]


def table() -> Table:
    cells = [
        Cell(
            strategy, task, "demo-v1@00000000" if task != "continue" else "demo-v1-12f@00000000",
            score("flow_fd", None if task == "v2a" else 1.0 + place, interval=None if task == "v2a" else (0.5, 9.0)),
        )
        for place, strategy in enumerate(sweep.STRATEGIES)
        for task in sweep.TASKS
    ]  # fmt: skip
    return Table(tuple(cells), 100, 48, "demo 1")


def test_tasks_give_what_the_paper_gives() -> None:
    rules = protocols.load("demo-v1")
    found = sweep.conditions(BOUNDS, Path("data"), rules)
    assert list(found) == list(sweep.TASKS)
    assert found["joint"] is None
    kept = {task: condition.keep for task, condition in found.items() if condition is not None}
    assert kept == {"a2v": (), "v2a": (), "inpaint": ((0.0, 0.1), (1.3, 1.7)), "continue": ((0.0, 0.5),)}
    assert {condition.split for condition in found.values() if condition is not None} == {rules.reference_split}


def test_a_network_of_two_slices_cannot_be_swept() -> None:
    with pytest.raises(UserError, match="a network of 2 latent frames cannot fill in a clip"):
        sweep.conditions((0.0, 0.1, 0.5), Path("data"), protocols.load("demo-v1"))


def test_the_table_shows_values_with_intervals_and_leaves_out_what_was_given(tmp_path: Path) -> None:
    written = sweep.write(table(), tmp_path)
    text = written[0].read_text()
    assert "| vanilla | 1.000 [0.500, 9.000] | 1.000 [0.500, 9.000] | — |" in text
    assert "| monl | 5.000 [0.500, 9.000] |" in text
    assert "continue demo-v1-12f@00000000" in text
    rows = list(csv.DictReader(written[1].open()))
    assert len(rows) == 35
    given = next(row for row in rows if row["strategy"] == "pm" and row["task"] == "v2a")
    assert (given["value"], given["reason"]) == ("", "the picture was given, not made (v2a)")
    with Image.open(written[2]) as picture:
        assert picture.size[0] > 1000


def test_a_table_of_a_sweep_under_way_shows_what_there_is(tmp_path: Path) -> None:
    cells = tuple(cell for cell in table().cells if cell.strategy in ("vanilla", "pm"))
    text = sweep.write(Table(cells, 100, 48, "demo 1"), tmp_path)[0].read_text()
    assert "| pm |" in text
    assert "| ptm |" not in text


def test_a_baseline_with_one_noise_level_is_refused(tmp_path: Path) -> None:
    run = Run.open("mmdiffusion", "tiny", dataset=None, out=tmp_path)
    with pytest.raises(UserError, match=r"mmdiffusion has one noise level per clip; sweep avdit"):
        sweep.run_sweep(run)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    avdit_toy.install(monkeypatch)
    monkeypatch.setattr(sweep, "STRATEGIES", {"vanilla": ("vanilla",), "monl": ("vanilla", "pm", "pt", "ptm")})
    monkeypatch.setattr(sweep, "TASKS", ("joint", "a2v"))
    dataset = avdit_toy.write_set(tmp_path / "data")
    rules = tmp_path / "rules.toml"
    rules.write_text(
        'name = "toy"\nmetrics = ["av_align", "mel_fd", "flow_fd"]\nframes = 8\nfps = 10\nsize = 16\n'
        'windows = "tile"\nn = 8\nmin_n = 2\nreference_split = "train"\ninterval_draws = 4\n'
    )
    recipe = avdit_toy.recipe().model_copy(update={"protocol": str(rules), "dataset": str(dataset)})
    return Run(recipe, tmp_path / "sweep", dataset, avdit_toy.CPU, SILENT)


@pytest.mark.slow
def test_a_sweep_trains_samples_and_scores_every_strategy_and_goes_on_where_it_stopped(
    toy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sweep.run_sweep(toy, workers=1)
    assert {(cell.strategy, cell.task) for cell in found.cells} == {
        (strategy, task) for strategy in ("vanilla", "monl") for task in sweep.TASKS
    }
    configs = {}
    for name in ("vanilla", "monl"):
        last = checkpoint.latest(toy.folder / name / "checkpoints")
        assert last is not None
        configs[name] = last.config
    differing = {key for key in configs["monl"] if configs["monl"][key] != configs["vanilla"][key]}
    assert differing == {"noise_levels"}
    assert configs["vanilla"]["noise_levels"]["weights"] == {"vanilla": 1.0}
    assert "| monl |" in (toy.folder / "sweep.md").read_text()
    joint, given = found.at("mel_fd", "monl", "joint"), found.at("mel_fd", "monl", "a2v")
    assert joint is not None
    assert given is not None
    assert joint.score.value is not None
    assert "codec_floor" in joint.score.details
    assert given.score.value is None
    assert "sound was given" in given.score.reason
    clip = toy.folder / "monl" / "samples" / "sample-00000.npz"
    made = clip.stat().st_mtime_ns
    monkeypatch.setattr(sweep, "STRATEGIES", {"monl": ("vanilla", "pm", "pt", "ptm")})
    again = sweep.run_sweep(toy, workers=1)
    assert again.cells == tuple(cell for cell in found.cells if cell.strategy == "monl")
    assert clip.stat().st_mtime_ns == made
