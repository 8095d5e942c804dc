"""Mistakes with what only AVDiT can do: each is one sentence that says what to do, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench.baselines._base import write_samples
from avbench.errors import UserError
from avbench.recipe import parse
from avbench.recipe_avdit import NoiseLevelRecipe
from avbench.runs import Run

CONDITION = {"task": "inpaint", "source": "x", "keep": "0-0.5"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run-baseline", "avdit", "--sweep", "tasks"], "--sweep tasks: there is no such sweep"),
        (["sample", "mmdiffusion", "--seconds", "34"], "baseline mmdiffusion makes clips of one length; use avdit"),
        (["sample", "avdit", "--guidance", "2"], "--condition and its options need --task"),
        (["sample", "avdit", "--seconds", "34"], "holds no checkpoint; train it first with `avbench train avdit`"),
    ],
)
def test_a_command_that_cannot_be_is_told_why(
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from avbench.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["avbench", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"guidance": -1.0}, "condition.guidance = -1.0"),
        ({"drop": "video"}, "drop video is of guidance; give a guidance above 0"),
        ({"guidance": 1.0, "drop": "0.5"}, "write seconds as START-END"),
        ({"guidance": 1.0, "drop": "pictures"}, "Input should be 'all', 'video' or 'audio'"),
    ],
)
def test_a_guidance_that_cannot_be_is_refused(condition: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as told:
        Run.open("avdit", "tiny", dataset=None, out=None, sampling={"condition": CONDITION | condition})
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"weights": {"pm": 0}}, "give at least one strategy a share"),
        ({"weights": {"ptmn": 1}}, "Input should be 'vanilla', 'pm', 'pt' or 'ptm'"),
        ({"task": "continue"}, "keep goes with task continue or inpaint"),
        ({"keep": [[0, 0.5]]}, "keep goes with task continue or inpaint"),
    ],
)
def test_noise_levels_that_cannot_be_are_refused(levels: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as told:
        parse(levels, NoiseLevelRecipe, "noise_levels")
    assert message in str(told.value)


def test_guidance_of_clean_tokens_is_refused_by_other_baselines(tmp_path: Path) -> None:
    condition = {"task": "v2a", "source": "x", "guidance": 1.0}
    run = Run.open("mmdiffusion", "tiny", dataset=None, out=tmp_path, sampling={"condition": condition})
    with pytest.raises(UserError, match=r"--guidance is of avdit; baseline mmdiffusion has --method guide and --scale"):
        write_samples(tmp_path, run.recipe, device=run.device)
    assert not list(tmp_path.iterdir())
