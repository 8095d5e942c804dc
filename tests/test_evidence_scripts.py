"""The scripts that turn finished runs into evidence: their intervals tell a planted effect from none, and they run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import learning_evidence
from benchmarks.learning_evidence import intervals


def planted(n: int, effect: float, seed: int = 0) -> np.ndarray:
    """Scores of every sound with every picture: noise, and ``effect`` where they belong together."""
    rng = np.random.default_rng(seed)
    return 0.3 + 0.2 * rng.standard_normal((n, n)) + effect * np.eye(n)


def test_a_planted_effect_is_found_and_none_is_not() -> None:
    names = [f"r{number}" for number in range(200)]
    found = intervals(planted(200, 0.15), names, seed=0)
    assert found.own.low > found.chance.high
    assert found.above.low > 0.1
    assert found.above.value == pytest.approx(found.own.value - found.chance.value)
    none = intervals(planted(200, 0.0), names, seed=0)
    assert none.above.low < 0 < none.above.high


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    names = [f"r{number}" for number in range(40)]
    held = 0
    for seed in range(100):
        found = intervals(planted(40, 0.1, seed), names, seed, draws=200)
        held += found.above.low <= 0.1 <= found.above.high
    assert 86 <= held <= 100


def test_clips_of_one_recording_are_neither_their_own_chance_nor_independent() -> None:
    table = planted(40, 0.0)
    same = np.arange(40) // 4
    table[same[:, None] == same[None, :]] = 1.0
    names = [f"r{number}" for number in same]
    found = intervals(table, names, seed=0)
    assert found.own.value == pytest.approx(1.0)
    assert found.chance.value == pytest.approx(0.3, abs=0.05)
    table[np.diag_indices(40)] = np.random.default_rng(1).random(10)[same]
    together = intervals(table, names, seed=0).own
    alone = intervals(table, [f"r{number}" for number in range(40)], seed=0).own
    assert together.high - together.low > 1.5 * (alone.high - alone.low), (
        "four clips of a recording tell as much as one"
    )


def test_what_is_not_defined_is_left_out() -> None:
    table = planted(20, 0.1)
    names = [f"r{number}" for number in range(20)]
    table[3, :] = table[:, 7] = np.nan
    found = intervals(table, names, seed=0)
    kept = [number for number in range(20) if number not in (3, 7)]
    assert found.own.value == pytest.approx(np.diag(table)[kept].mean())
    assert found.chance.value == pytest.approx(np.nanmean(np.where(np.eye(20, dtype=bool), np.nan, table)))


def test_too_few_recordings_give_no_interval() -> None:
    found = intervals(planted(12, 0.5), [f"r{number % 3}" for number in range(12)], seed=0)
    assert np.isnan([found.own.low, found.above.high]).all()
    assert str(found.own) == f"{found.own.value:.3f}"


@pytest.mark.slow
def test_two_runs_become_a_page_and_again_at_no_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from avbench.baselines import _base, mmdiffusion
    from avbench.models.mmdiffusion import PRESETS
    from avbench.workspace import write_json
    from tests.baselines.test_mmdiffusion_run import recipe
    from tests.baselines.test_run_commands import TOY
    from tests.clips import clip
    from tests.training.rendered_sets import write_clips

    made = [clip(number, frames=40, size=32) for number in range(8)]
    data = write_clips(tmp_path / "data", [(video, audio[0]) for video, audio in made], split="train")
    uncoupled = TOY.model_copy(
        update={"cross_attention_resolutions": (), "windows": (), "middle_cross_attention": False}
    )
    for name, config in (("coupled", TOY), ("uncoupled", uncoupled)):
        monkeypatch.setitem(PRESETS, "toy", config)
        mmdiffusion.train(data, recipe(), tmp_path / name, device=torch.device("cpu"))
        write_json(tmp_path / name / "recipe.json", recipe().model_dump(mode="json"))
    words = [str(tmp_path / "coupled"), str(tmp_path / "uncoupled"), "--dataset", str(data), "--split", "train"]
    words += [
        "--method",
        "replace",
        "--n",
        "8",
        "--steps",
        "2",
        "--work",
        str(tmp_path / "work"),
        "--figures",
        str(tmp_path / "figures"),
    ]
    learning_evidence.main([*words, "--workers", "1", "--device", "cpu"])
    page = capsys.readouterr().out
    assert "losses fall (coupled)" in page
    assert "| coupled v2a | 8 | 8 |" in page
    assert page.count("](figures/learning-") == 3
    assert str(tmp_path) not in page
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "learning-losses.png", "learning-alignment.png", "learning-clips.png",
    }  # fmt: skip
    assert not (tmp_path / "coupled" / "samples").exists(), "the runs are not touched"
    monkeypatch.setattr(_base, "write_clip", lambda *_: pytest.fail("a clip is made again"))
    learning_evidence.main([*words, "--workers", "1", "--device", "cpu"])
    assert capsys.readouterr().out == page


@pytest.mark.slow
def test_solver_steps_are_compared_on_a_run_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from avbench.baselines import mmdiffusion
    from avbench.models.mmdiffusion import PRESETS
    from avbench.workspace import write_json
    from benchmarks import sampling_steps
    from tests.baselines.test_mmdiffusion_run import recipe
    from tests.baselines.test_run_commands import TOY
    from tests.clips import clip
    from tests.training.rendered_sets import write_clips

    monkeypatch.setitem(PRESETS, "toy", TOY)
    made = [clip(number, frames=40, size=32) for number in range(8)]
    data = write_clips(tmp_path / "data", [(video, audio[0]) for video, audio in made])
    mmdiffusion.train(data, recipe(), tmp_path / "run", device=torch.device("cpu"))
    write_json(tmp_path / "run" / "recipe.json", recipe().model_dump(mode="json"))
    words = [str(tmp_path / "run"), "--dataset", str(data), "--n", "8", "--steps", "1", "3", "--schedulers", "ddim"]
    monkeypatch.setattr("sys.argv", ["sampling_steps.py", *words, "--out", str(tmp_path / "out"), "--device", "cpu"])
    sampling_steps.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["ddim", "3", "steps"], ["ddim", "1", "steps"]]
    assert lines[1].count("mel_fd") == lines[1].count("flow_fd") == 1
    assert "within" in lines[2] or "OUTSIDE" in lines[2]
