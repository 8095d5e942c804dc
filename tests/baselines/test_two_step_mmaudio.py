"""MMAudio as a real program in a checkout of its own: what it is told, what it gives, and every way it can fail."""

from __future__ import annotations

import json
import os
import re
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


@pytest.fixture
def fresh(place: tuple[Path, str]) -> tuple[Path, str]:
    """The checkout, before any call."""
    for name in ("calls.jsonl", "child.pid"):
        (place[0] / name).unlink(missing_ok=True)
    return place


def played(place: tuple[Path, str], work: Path, *clips: tuple[str, int], **changed: Any) -> list[Any]:
    """The sound of each prompt and seed, or the sentence why there is none, from one player."""
    found: list[Any] = []
    with steps.Player(step(place, **changed), work, device=CPU) as player:
        for number, (prompt, seed) in enumerate(clips):
            try:
                found.append(player.sound(f"clip-{number}", VIDEO, 8.0, prompt, seed))
            except MediaError as error:
                found.append(str(error))
    return found


def is_gone(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.slow
def test_the_sound_is_to_the_sample_as_long_as_the_picture_and_the_program_is_told_the_paper_s_settings(
    fresh: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    prompt = "--seed=5 a band;\nplays 'loud' $(touch here)"
    ((sound, rate),) = played(fresh, tmp_path / "work", (prompt, 2**32 - 1))
    assert (sound.shape, sound.dtype, rate) == ((1, 270112), np.float32, 44100)  # 49 / 8 s of 44100 Hz: 270112.5
    assert np.abs(sound[0, -1000:]).max() > 0.1  # to the very end, not padded
    loaded, seen, told = calls(fresh)
    assert (loaded["variant"], loaded["device"], loaded["dtype"]) == ("large_44k_v2", "cpu", "bfloat16")
    assert (told["cfg_strength"], told["num_steps"]) == (4.5, 25)
    assert (told["prompt"], told["seed"], told["negative_prompt"]) == (prompt, 2**32 - 1, "")
    assert (seen["duration"], seen["frames"]) == (6.125, 50)  # the last picture is held for one frame
    assert "PATH" in loaded["environment"]
    assert "SECRET_TOKEN" not in loaded["environment"]
    assert loaded["environment"]["CUDA_VISIBLE_DEVICES"] == ""  # the CPU was asked for
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.slow
def test_networks_are_loaded_once_for_all_clips_and_a_sound_does_not_depend_on_those_before_it(
    fresh: tuple[Path, str], tmp_path: Path
) -> None:
    first, second = played(fresh, tmp_path / "a", ("a dog", 7), ("rain", 8), full_precision=True)
    said = calls(fresh)
    assert [call["variant"] for call in said if "variant" in call] == ["large_44k_v2"]
    assert len({call["pid"] for call in said}) == 1
    assert is_gone(said[0]["pid"])
    assert said[0]["dtype"] == "float32"
    (alone,) = played(fresh, tmp_path / "b", ("rain", 8))
    assert np.array_equal(second[0], alone[0])
    assert not np.array_equal(second[0], first[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("CRASH", r"MMAudio ended with exit code 1 after \d+ s \(RuntimeError: CUDA out of memory\)"),
        ("KILLED", r"MMAudio was ended by signal SIGKILL after \d+ s \(sampling\)"),
        ("NOTHING", "MMAudio said that it was done and wrote no clip.flac"),
        ("DAMAGED", "MMAudio wrote a damaged clip.flac"),
        ("SHORT", r"MMAudio gave 3\.\d+ s of sound for 6.125 s of picture"),
        ("LONG", r"MMAudio gave 12\.\d+ s of sound for 6.125 s of picture"),
    ],
)
def test_a_clip_that_fails_is_one_sentence_with_the_program_s_log_and_takes_no_other_with_it(
    fresh: tuple[Path, str], tmp_path: Path, prompt: str, message: str
) -> None:
    before, failed, after = played(fresh, tmp_path / "work", ("one", 1), (prompt, 2), ("three", 3))
    assert re.fullmatch(message, failed)
    assert str(tmp_path) not in failed
    assert "sampling" in (tmp_path / "work" / "clip-1" / "mmaudio.log").read_text()
    assert before[0].shape == after[0].shape == (1, 270112)
    assert len({call["pid"] for call in calls(fresh)}) == 2


@pytest.mark.slow
def test_a_program_that_hangs_is_ended_with_all_it_started_and_the_next_clip_gets_another(
    fresh: tuple[Path, str], tmp_path: Path
) -> None:
    failed, after = played(fresh, tmp_path / "work", ("HANG", 1), ("well", 2), timeout_s=8)
    assert failed.startswith("MMAudio gave no answer within 8 s after ")
    assert is_gone(int((fresh[0] / "child.pid").read_text()))
    assert after[0].shape == (1, 270112)


@pytest.mark.slow
def test_a_program_that_cannot_load_its_networks_says_so_for_each_clip(tmp_path: Path) -> None:
    folder = tmp_path / "MMAudio"
    here = (folder, fake_mmaudio.checkout(folder))
    (folder / "weights").write_text("in the way")  # where the weights go
    failed = played(here, tmp_path / "work", ("one", 1), ("two", 2))
    assert all(re.fullmatch(r"MMAudio ended with exit code 1 after \d+ s \(FileExistsError: .*", why) for why in failed)


@pytest.mark.slow
def test_the_program_s_calls_are_ones_that_torch_has(tmp_path: Path) -> None:
    """The other tests bring a torch of their own, which imports in no time; here it is the real one."""
    folder = tmp_path / "MMAudio"
    here = (folder, fake_mmaudio.checkout(folder, own_torch=False))
    ((sound, rate),) = played(here, tmp_path / "work", ("a dog", 7))
    assert (sound.shape, rate) == ((1, 270112), 44100)
    assert calls(here)[0]["dtype"] == "torch.bfloat16"


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
    (folder / "mmaudio" / "eval_utils.py").write_text("print('other')")
    with pytest.raises(UserError, match=r"mmaudio/eval_utils\.py differs from the commit"):
        steps.require(step(here))


@pytest.mark.slow
def test_a_program_left_by_a_killed_avbench_is_ended_first(fresh: tuple[Path, str], tmp_path: Path) -> None:
    work = tmp_path / "work"
    script = (
        "import numpy as np, torch; from pathlib import Path\n"
        "from avbench.baselines import _two_step_mmaudio as steps\n"
        "from avbench.recipe_two_step import MMAudioStep\n"
        f"step = MMAudioStep(**{step(fresh).model_dump()!r})\n"
        "video, device = np.zeros((5, 16, 16, 3), np.uint8), torch.device('cpu')\n"
        f"with steps.Player(step, Path({str(work)!r}), device=device) as player:\n"
        "    player.sound('clip-0', video, 8.0, 'HANG', 1)\n"
    )
    avbench = subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(Path.cwd())})
    while not (fresh[0] / "child.pid").exists():
        assert avbench.poll() is None, "it ended before its program began"
    avbench.kill()
    avbench.wait()
    child = int((fresh[0] / "child.pid").read_text())
    assert Path(f"/proc/{child}").exists()
    played(fresh, work, ("well", 1))
    assert is_gone(child)


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
