"""Text to picture to sound as a whole, through `Run`: real pipelines at toy size, our own sound or a program's."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from avbench import media
from avbench.baselines import _two_step_video as text_to_video, avdit, latent, two_step
from avbench.errors import UserError
from avbench.inputs.prompt_lists import read_prompts
from avbench.inputs.prompt_tables import find_prompt, tables
from avbench.progress import Reporter
from avbench.recipe_baseline import BaselineRecipe
from avbench.recipe_two_step import MMAudioStep
from avbench.runs import Run, load_recipe
from tests.baselines import avdit_toy, fake_mmaudio, test_latent, tiny_pipelines
from tests.baselines.test_two_step_run import trained, trained_on_latents
from tests.clips import clip
from tests.training.rendered_sets import write_clips, write_dataset

SETTINGS = {"licence": "none", "frames": 9, "height": 32, "width": 48, "fps": 8, "steps": 2}


@dataclasses.dataclass
class Places:
    folder: Path
    commit: str

    def recipe(
        self, name: str = "own", *, n: int = 2, seed: int = 0, sound: dict[str, Any] | None = None, **changed: Any
    ) -> Path:
        """A recipe file: ``own`` takes the sound of a run of avbench, ``program`` that of the program."""
        sound = {"kind": "run", "run": str(self.folder / "sound"), "steps": 1, **(sound or {})}
        if name == "program":
            sound = {"kind": "mmaudio", "commit": self.commit, "checkout": str(self.folder / "MMAudio")} | {
                "licence": "CC-BY-NC 4.0", "timeout_s": 120,
            }  # fmt: skip
        video = {"model": str(self.folder / "cogvideox"), **SETTINGS, **changed}
        parts = {"two_step.video": video, "two_step.sound": sound, "sample": {"n": n, "seed": seed}}
        lines = ['baseline = "two-step"', f'preset = "{name}"', 'dataset = "demo"', 'protocol = "demo-v1"']
        for part, values in parts.items():
            lines += [f"[{part}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        path = self.folder / f"{name}-{n}-{seed}-{len(changed)}.toml"
        path.write_text("\n".join(lines))
        return path

    def prompts(self, *texts: str) -> str:
        path = self.folder / "prompts.txt"
        path.write_text("\n".join(texts))
        return str(path)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("two-step")
    tiny_pipelines.cogvideox(folder / "cogvideox")
    trained(folder / "sound")
    return Places(folder, fake_mmaudio.checkout(folder / "MMAudio"))


class Told(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def run(places: Places, out: Path, name: str = "own", texts: tuple[str, ...] = ("a dog", "rain"), **how: Any) -> Told:
    """Sample as the command does."""
    told, accept = Told(), how.pop("accept_licence", True)
    Run.open(
        "two-step", str(places.recipe(name, **how)), dataset=None, out=out, prompts=places.prompts(*texts),
        accept_licence=accept, device="cpu", reporter=told,
    ).sample()  # fmt: skip
    return told


def card(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "samples" / "samples.json").read_text())
    return found


def film(out: Path, number: int = 0) -> Path:
    return out / "samples" / f"sample-{number:05d}.mp4"


@pytest.mark.slow
def test_clips_have_every_frame_and_sample_and_a_card_that_scoring_reads(places: Places, tmp_path: Path) -> None:
    told = run(places, tmp_path)
    assert told.warnings == []
    assert told.notes[-1].startswith("sample     2 clips (")
    info = media.probe(film(tmp_path))
    assert (info.n_frames, info.fps, info.width, info.height) == (9, 8.0, 48, 32)
    assert info.video_start_s == info.audio_start_s == 0
    assert media.decode_audio(film(tmp_path)).shape == (1, 18000)  # 9 / 8 s of 16 kHz
    with np.load(tmp_path / "videos" / "sample-00000.npz") as kept:
        shown = media.decode_video(film(tmp_path))
        # the first step's picture, though H.264 keeps little of noise
        grey = [frames.mean(axis=-1).ravel() for frames in (shown, kept["video"])]
        assert np.corrcoef(grey)[0, 1] > 0.95
    said = card(tmp_path)
    assert said["prompts"] == {"sample-00000": "a dog", "sample-00001": "rain"}
    assert len(set(said["seeds"].values())) == 2
    assert said["sample"] == {"scheduler": "CogVideoXDDIMScheduler", "steps": 2, "seed": 0}
    assert said["video"]["pipeline"] == "CogVideoXPipeline"
    assert len(said["video"]["revision"]) == 64
    assert said["sound"]["model"]["baseline"] == "mmdiffusion"
    assert said["licences"][0]["terms"] == "none"
    assert find_prompt(next(iter(tables(tmp_path / "samples"))), "sample-00001.mp4") == "rain"
    assert run(places, tmp_path).notes[-1].startswith("sample     0 clips, 2 already")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "toy"),
    [(avdit, avdit_toy.recipe(steps=1)), (latent, test_latent.recipe(train={"steps": 1}))],
    ids=["avdit", "latent"],
)
def test_the_sound_may_be_of_a_run_on_latents_and_what_it_cannot_do_is_said_before_any_picture(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: ModuleType, toy: BaselineRecipe
) -> None:
    avdit_toy.install(monkeypatch)
    sound = {"run": str(trained_on_latents(tmp_path / "sound", family, toy))}
    with pytest.raises(UserError, match=r"two_step\.sound names it: steps = 2000: the noise schedule has 1000"):
        run(places, tmp_path / "out", n=1, sound={**sound, "steps": 2000})
    assert not (tmp_path / "out" / "videos").exists()
    told = run(places, tmp_path / "out", n=1, sound=sound)
    assert told.warnings == []
    assert media.decode_audio(film(tmp_path / "out")).shape == (1, 18000)
    said = card(tmp_path / "out")
    assert said["sound"]["model"]["baseline"] == toy.baseline
    assert {each["what"] for each in said["licences"][1:]} == {"folded (codec of sound)", "low-tones (codec of sound)"}


@pytest.mark.slow
def test_seed_and_prompt_decide_a_clip_and_more_clips_leave_the_first_ones(places: Places, tmp_path: Path) -> None:
    run(places, tmp_path / "a")
    first = film(tmp_path / "a").read_bytes()
    run(places, tmp_path / "b", n=1)
    assert film(tmp_path / "b").read_bytes() == first
    run(places, tmp_path / "b", n=3)
    assert film(tmp_path / "b").read_bytes() == first
    assert film(tmp_path / "b", 1).read_bytes() == film(tmp_path / "a", 1).read_bytes()
    # the third clip is of the first prompt again, with a seed of its own
    assert card(tmp_path / "b")["prompts"]["sample-00002"] == "a dog"
    assert film(tmp_path / "b", 2).read_bytes() != first
    run(places, tmp_path / "b", texts=("a cat", "rain"), n=2)
    assert film(tmp_path / "b").read_bytes() != first
    assert film(tmp_path / "b", 1).read_bytes() == film(tmp_path / "a", 1).read_bytes()
    run(places, tmp_path / "b", n=2, seed=1)
    assert film(tmp_path / "b").read_bytes() != first


@pytest.mark.slow
def test_another_sound_for_the_same_pictures_makes_no_picture_again(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(places, tmp_path)
    before = film(tmp_path).read_bytes()
    monkeypatch.setattr(text_to_video, "_loaded", None)  # loading a pipeline would fail
    run(places, tmp_path, "program")
    assert film(tmp_path).read_bytes() != before
    assert media.decode_audio(film(tmp_path)).shape == (1, 49612)  # 9 / 8 s of 44.1 kHz: 49612.5


@pytest.mark.slow
def test_a_clip_that_fails_is_told_and_tried_again_and_the_others_are_made(places: Places, tmp_path: Path) -> None:
    told = run(places, tmp_path, "program", texts=("CRASH", "rain"))
    assert told.warnings[0].startswith("sample-00000: MMAudio ended with exit code 1")
    assert told.notes[-1].startswith("sample     1 clips, 1 failed (")
    assert not film(tmp_path).exists()
    assert list(card(tmp_path)["failed"]) == ["sample-00000"]
    run(places, tmp_path, "program", texts=("better", "rain"))
    assert film(tmp_path).exists()
    assert card(tmp_path)["failed"] == {}


@pytest.mark.slow
def test_where_nothing_works_the_run_stops_early_and_says_why(places: Places, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of 5 clips could be made; sample-00000: MMAudio ended with exit code 1"):
        run(places, tmp_path, "program", texts=("CRASH",), n=5)
    assert len(card(tmp_path)["failed"]) == 3


@pytest.mark.slow
def test_a_kill_between_picture_and_sound_loses_neither_pictures_nor_finished_clips(
    places: Places, tmp_path: Path
) -> None:
    """The second clip's sound hangs when avbench is killed: one clip is whole, and no picture is made again."""
    texts = ("one", "HANG", "three")
    words = ["sample", "two-step", "--preset", str(places.recipe("program", n=3)), "--out", str(tmp_path)]
    words += ["--prompts", places.prompts(*texts), "--accept-license", "--device", "cpu"]
    marker = places.folder / "MMAudio" / "child.pid"
    marker.unlink(missing_ok=True)
    code = f"import sys; sys.argv[1:] = {words!r}; from avbench.cli import main; main()"
    avbench = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(Path.cwd())})
    while not marker.exists():
        assert avbench.poll() is None, "it ended before the second sound began"
    avbench.send_signal(signal.SIGKILL)
    avbench.wait()
    assert [film(tmp_path, number).exists() for number in range(3)] == [True, False, False]
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "videos").glob("*.npz")}
    whole = film(tmp_path).read_bytes()
    assert len(kept) == 3
    told = run(places, tmp_path, "program", texts=("one", "two", "three"), n=3)
    assert told.notes[-1].startswith("sample     2 clips, 1 already")
    assert film(tmp_path).read_bytes() == whole
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "videos").glob("*.npz")}
    assert {name for name in kept if kept[name] != after[name]} == {"sample-00001.npz"}  # its prompt is another one


@pytest.mark.slow
def test_the_record_says_who_made_the_clips_on_what_terms_and_what_failed(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path / "no-weights"))
    made = [clip(number, frames=40, size=32) for number in range(10)]
    write_clips(tmp_path / "data", [(video, audio[0]) for video, audio in made])
    path = places.recipe("program", n=9, frames=17, fps=10, height=16, width=16, steps=1)
    opened = Run.open(
        "two-step", str(path), dataset=str(tmp_path / "data"), out=tmp_path / "run", accept_licence=True,
        prompts=places.prompts("CRASH", *(f"prompt {i}" for i in range(8))), device="cpu",
    )  # fmt: skip
    opened.train()
    opened.sample()
    record = opened.score(1)
    assert record.sampling is not None
    assert (record.model, record.preset, record.training) == ("two-step", "program", None)
    assert (record.sampling.scheduler, record.sampling.steps, record.sampling.seed) == ("CogVideoXDDIMScheduler", 1, 0)
    assert record.n_used == 8
    assert list(record.failed) == ["sample-00000"]
    assert "MMAudio large_44k_v2 (weights): CC-BY-NC 4.0, which forbids commercial use" in record.notes
    assert "train" not in record.seconds
    assert record.recipe["two_step"]["sound"]["kind"] == "mmaudio"  # type: ignore[index, call-overload]
    values = {score.metric: score.value for score in record.scores}
    assert values["av_align"] is not None
    assert values["mel_fd"] is not None


def test_non_commercial_weights_are_refused_by_name_before_any_work(places: Places, tmp_path: Path) -> None:
    with pytest.raises(UserError) as told:
        run(places, tmp_path, "program", accept_licence=False)
    assert str(told.value) == (
        "MMAudio large_44k_v2 (weights): the licence is CC-BY-NC 4.0 "
        "(https://creativecommons.org/licenses/by-nc/4.0/), which forbids "
        "commercial use; where that suits your use, add --accept-license"
    )
    assert not (tmp_path / "videos").exists()
    with pytest.raises(UserError, match="cogvideox: the licence is none, which forbids commercial use"):
        run(places, tmp_path, accept_licence=False, non_commercial=True)


def test_two_at_once_in_one_folder_are_refused(places: Places, tmp_path: Path) -> None:
    from filelock import FileLock

    with (
        FileLock(tmp_path / ".samples.lock"),
        pytest.raises(UserError, match="another avbench makes clips in this folder"),
    ):
        run(places, tmp_path)


@pytest.mark.slow
def test_a_dry_run_says_what_would_be_loaded_and_asked_and_does_nothing(places: Places, tmp_path: Path) -> None:
    opened = Run.open("two-step", "paper", dataset=None, out=tmp_path / "x", device="cpu")
    lines = "\n".join(opened.plan())
    for words in (
        "20 of 6.125 s, 720x480 at 8 fps",
        "concerts: 20, the first: A rock band",
        "THUDM/CogVideoX-2b, revision 1137dacfc2c9, 50 steps, guidance 6",
        "MMAudio large_44k_v2 at 974010a026c7, 25 steps, guidance 4.5; fetches 6 GB",
        "missing    MMAudio: checkout: nobody has said where it is",
        "CC-BY-NC 4.0, which forbids commercial use; needs --accept-license",
    ):
        assert words in lines
    assert not (tmp_path / "x").exists()
    agreed = Run.open("two-step", "paper", dataset=None, out=tmp_path / "x", device="cpu", accept_licence=True)
    assert "needs --accept-license" not in "\n".join(agreed.plan())
    local = Run.open("two-step", str(places.recipe()), dataset=None, out=tmp_path, prompts="general", device="cpu")
    assert "a folder of this machine" in "\n".join(local.plan())


def test_the_paper_s_recipe_has_the_paper_s_settings() -> None:
    steps = load_recipe("two-step", "paper").two_step
    assert steps is not None
    video, sound = steps.video, steps.sound
    assert (video.model, video.frames, video.height, video.width, video.fps) == ("THUDM/CogVideoX-2b", 49, 480, 720, 8)
    assert (video.steps, video.guidance, video.dynamic_guidance, video.dtype) == (50, 6.0, True, "float16")
    assert isinstance(sound, MMAudioStep)
    assert (sound.variant, sound.guidance, sound.steps, sound.negative_prompt) == ("large_44k_v2", 4.5, 25, "")
    assert sound.non_commercial


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"sampling": {"steps": 5}}, "--steps: two-step trains nothing and samples as its recipe says; leave it out"),
        ({"steps": 5}, "--steps: two-step trains nothing"),
        ({"track": ["wandb"]}, "--track: two-step trains nothing"),
        ({"bf16": True}, "--bf16: two-step trains nothing"),
        ({"prompts": "consert"}, "there is no list of prompts called 'consert'; did you mean concerts?"),
        ({"prompts": "none.txt"}, "none.txt: there is no such file of prompts"),
    ],
)
def test_what_it_does_not_take_is_refused_with_the_way_out(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as told:
        Run.open("two-step", "tiny", dataset=None, out=None, **how)
    assert message in str(told.value)


def test_other_baselines_take_no_prompts_and_have_no_dry_run() -> None:
    with pytest.raises(UserError, match="--prompts: mmdiffusion makes clips without texts; leave it out"):
        Run.open("mmdiffusion", "tiny", dataset=None, out=None, prompts="general")
    with pytest.raises(UserError, match="--dry-run: mmdiffusion is trained here"):
        Run.open("mmdiffusion", "tiny", dataset=None, out=None).plan()


def test_without_prompts_or_models_it_says_what_is_missing(places: Places, tmp_path: Path) -> None:
    opened = Run.open("two-step", str(places.recipe()), dataset=None, out=tmp_path, device="cpu")
    with pytest.raises(UserError, match="makes clips from texts; give --prompts FILE"):
        opened.sample()
    bare = opened.recipe.model_copy(update={"two_step": None})
    with pytest.raises(UserError, match=r"has no section \[two_step\]"):
        two_step.plan(tmp_path, bare, prompts=read_prompts("general"), accept_licence=False)


def test_training_it_says_that_there_is_nothing_to_train(tmp_path: Path) -> None:
    told = Told()
    data = str(write_dataset(tmp_path / "data"))
    Run.open("two-step", "tiny", dataset=data, out=tmp_path, device="cpu", reporter=told).train()
    assert told.notes == ["train      nothing: two-step takes the models of others as they are"]
