"""MMAudio as a real program behind its command line: what it is told, what it gives, and every way it can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avbench.baselines import _two_step_mmaudio as steps
from avbench.errors import MediaError, UserError
from avbench.recipe import parse
from avbench.recipe_two_step import MMAudioStep
from tests.baselines import fake_mmaudio

CPU = torch.device("cpu")
VIDEO = np.random.default_rng(0).integers(0, 255, (49, 16, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("mmaudio") / "MMAudio"
    return folder, fake_mmaudio.checkout(folder)


def step(place: tuple[Path, str], **changed: Any) -> MMAudioStep:
    base = {"kind": "mmaudio", "commit": place[1], "checkout": str(place[0]), "licence": "CC-BY-NC 4.0"}
    return parse({**base, **changed}, MMAudioStep, "recipe")


def calls(place: tuple[Path, str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place[0] / "calls.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_the_sound_is_to_the_sample_as_long_as_the_picture_and_the_program_is_told_the_paper_s_settings(
    place: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    prompt = "--seed=5 a band;\nplays 'loud' $(touch here)"
    sound, rate = steps.make_sound(step(place), VIDEO, 8.0, prompt, 2**32 - 1, tmp_path / "work", device=CPU)
    assert (sound.shape, sound.dtype, rate) == ((1, 270112), np.float32, 44100)  # 49 / 8 s of 44100 Hz: 270112.5
    assert np.abs(sound[0, -1000:]).max() > 0.1  # to the very end, not padded
    told = calls(place)[-1]
    assert told["prompt"] == prompt
    assert (told["variant"], told["cfg_strength"], told["num_steps"]) == ("large_44k_v2", "4.5", "25")
    assert (told["duration"], told["seed"], told["negative_prompt"]) == ("6.125", str(2**32 - 1), "")
    assert told["frames"] == 50  # the last picture is held for one frame
    assert told["skip_video_composite"] == "True"
    assert "PATH" in told["environment"]
    assert "SECRET_TOKEN" not in told["environment"]
    assert told["environment"]["CUDA_VISIBLE_DEVICES"] == ""  # the CPU was asked for
    assert not (tmp_path / "work").exists()
    other, _ = steps.make_sound(step(place), VIDEO, 8.0, "a band", 7, tmp_path / "work", device=CPU)
    assert not np.array_equal(sound, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("CRASH", r"MMAudio ended with exit code 1 after \d+ s \(CUDA out of memory\)"),
        ("NOTHING", "MMAudio ended well and wrote no clip.flac"),
        ("DAMAGED", "MMAudio wrote a damaged clip.flac"),
        ("SHORT", r"MMAudio gave 3\.\d+ s of sound for 6.125 s of picture"),
        ("LONG", r"MMAudio gave 12\.\d+ s of sound for 6.125 s of picture"),
    ],
)
def test_a_failure_is_one_sentence_and_leaves_the_program_s_log(
    place: tuple[Path, str], tmp_path: Path, prompt: str, message: str
) -> None:
    with pytest.raises(MediaError, match=message) as told:
        steps.make_sound(step(place), VIDEO, 8.0, prompt, 1, tmp_path / "work", device=CPU)
    assert str(tmp_path) not in str(told.value)
    assert (tmp_path / "work" / "mmaudio.log").is_file()
    steps.make_sound(step(place), VIDEO, 8.0, "well", 1, tmp_path / "work", device=CPU)


@pytest.mark.slow
def test_a_program_that_hangs_is_ended_with_all_it_started(place: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="MMAudio did not end within 8 s"):
        steps.make_sound(step(place, timeout_s=8), VIDEO[:5], 8.0, "HANG", 1, tmp_path / "work", device=CPU)
    child = int((place[0] / "child.pid").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_checkout_that_is_not_there_or_not_the_pinned_one_is_named_with_the_way_out(
    place: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AVBENCH_MMAUDIO_CHECKOUT", raising=False)
    steps.require(step(place))
    with pytest.raises(UserError, match=r"checkout: nobody has said where it is .*AVBENCH_MMAUDIO_CHECKOUT.*git clone"):
        steps.require(step(place, checkout=""))
    with pytest.raises(UserError, match=rf"there is no {tmp_path}/none"):
        steps.require(step(place, checkout=str(tmp_path / "none")))
    with pytest.raises(UserError, match=rf"is at commit {place[1][:12]}, the recipe is for 0000"):
        steps.require(step(place, commit="0" * 40))
    with pytest.raises(UserError, match="python: there is no"):
        steps.require(step(place, python=str(tmp_path / "python")))
    monkeypatch.setenv("AVBENCH_MMAUDIO_CHECKOUT", str(place[0]))
    monkeypatch.setenv("AVBENCH_MMAUDIO_PYTHON", sys.executable)
    steps.require(step(place, checkout="", python="/nowhere"))


def test_a_changed_checkout_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "MMAudio"
    here = (folder, fake_mmaudio.checkout(folder))
    (folder / "demo.py").write_text("print('other')")
    with pytest.raises(UserError, match=r"demo\.py differs from the commit"):
        steps.require(step(here))


@pytest.mark.slow
def test_a_program_left_by_a_killed_avbench_is_ended_first(place: tuple[Path, str], tmp_path: Path) -> None:
    work = tmp_path / "work"
    script = (
        "import numpy as np, torch; from pathlib import Path\n"
        "from avbench.baselines import _two_step_mmaudio as steps\n"
        "from avbench.recipe_two_step import MMAudioStep\n"
        f"step = MMAudioStep(**{step(place).model_dump()!r})\n"
        "video, device = np.zeros((5, 16, 16, 3), np.uint8), torch.device('cpu')\n"
        f"steps.make_sound(step, video, 8.0, 'HANG', 1, Path({str(work)!r}), device=device)\n"
    )
    (place[0] / "child.pid").unlink(missing_ok=True)
    avbench = subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(Path.cwd())})
    while not ((place[0] / "child.pid").exists() and (place[0] / "child.pid").read_text()):
        assert avbench.poll() is None, "it ended before its program began"
    avbench.kill()
    avbench.wait()
    child = int((place[0] / "child.pid").read_text())
    assert Path(f"/proc/{child}").exists()
    steps.make_sound(step(place), VIDEO[:5], 8.0, "well", 1, work, device=CPU)
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    ("device", "seen", "left"),
    [
        ("cpu", "0,1", ""),
        ("cuda", "3", None),
        ("cuda:1", None, "1"),
        ("cuda:1", "4,6", "6"),
        ("cuda:0", "GPU-ab", "GPU-ab"),
    ],
)
def test_the_program_sees_the_gpu_that_was_asked_for(
    device: str, seen: str | None, left: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert steps._visible(torch.device(device)).get("CUDA_VISIBLE_DEVICES") == left
