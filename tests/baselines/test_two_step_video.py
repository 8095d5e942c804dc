"""The first step on the libraries' real classes at toy size: loaded from files, made, kept, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch

from avbench.baselines import _two_step_video as steps
from avbench.baselines._two_step_video import Videos, Wanted
from avbench.errors import MediaError, UserError
from avbench.progress import SILENT, Bar
from avbench.recipe import parse
from avbench.recipe_two_step import VideoStep
from tests.baselines import tiny_pipelines
from tests.servers import HubServer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``cogvideox`` and ``wan`` as folders."""
    folder = tmp_path_factory.mktemp("models")
    tiny_pipelines.cogvideox(folder / "cogvideox")
    tiny_pipelines.wan(folder / "wan")
    return folder


def step(model: Path | str, **changed: Any) -> VideoStep:
    base = {"model": str(model), "licence": "none", "frames": 9, "height": 32, "width": 48, "fps": 8, "steps": 2}
    return parse({**base, **changed}, VideoStep, "recipe")


def make(how: VideoStep, folder: Path, *wanted: Wanted) -> list[np.ndarray]:
    weights = steps.locate(how, folder / "model", accept_licence=False, reporter=SILENT)
    videos = Videos(folder / "videos", steps.about(how, weights))

    def failed(name: str, reason: str) -> None:
        raise AssertionError(f"{name}: {reason}")

    steps.make_videos(how, weights, wanted, videos, device=CPU, bar=Bar(), failed=failed)
    return [videos.read(clip)[0] for clip in wanted]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cogvideox", "wan"])
def test_pictures_depend_on_prompt_and_seed_and_on_nothing_else(models: Path, tmp_path: Path, name: str) -> None:
    how = step(models / name)
    clips = [Wanted("a", "a dog", 1), Wanted("b", "rain on a roof", 1), Wanted("c", "a dog", 2)]
    dog, rain, other = make(how, tmp_path / "one", *clips)
    assert dog.shape == (9, 32, 48, 3)
    assert dog.dtype == np.uint8
    assert not np.array_equal(dog, rain)
    assert not np.array_equal(dog, other)
    (again,) = make(how, tmp_path / "two", clips[0])
    assert np.array_equal(dog, again)


@pytest.mark.slow
def test_pictures_that_are_there_are_not_made_again_unless_prompt_or_settings_changed(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [Wanted("a", "one", 1), Wanted("b", "two", 2)]
    make(step(models / "cogvideox"), tmp_path, *clips)
    calls: list[str] = []
    whole = steps._video

    def counted(pipeline: Any, how: VideoStep, clip: Wanted, bar: Bar) -> Any:
        calls.append(clip.prompt)
        return whole(pipeline, how, clip, bar)

    monkeypatch.setattr(steps, "_video", counted)
    make(step(models / "cogvideox", offload="model"), tmp_path, *clips)  # where it is computed changes no clip
    assert calls == []
    (tmp_path / "videos" / "b.json").unlink()  # as after a kill between pictures and note
    make(step(models / "cogvideox"), tmp_path, *clips)
    make(step(models / "cogvideox"), tmp_path, Wanted("a", "three", 1), clips[1])
    make(step(models / "cogvideox", guidance=3.0), tmp_path, clips[1])
    assert calls == ["two", "three", "two"]


def test_a_kill_between_new_pictures_and_their_note_leaves_no_wrong_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, old, new = Videos(tmp_path, {}), Wanted("a", "one", 1), Wanted("a", "two", 1)
    videos.write(old, np.zeros((2, 4, 4, 3), np.uint8), 8.0)
    assert videos.has(old)
    assert not videos.has(new)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        videos.write(new, np.ones((2, 4, 4, 3), np.uint8), 8.0)
    assert videos.read(old)[0].all()  # these are the new pictures
    assert not videos.has(old)
    assert not videos.has(new)


@pytest.mark.slow
def test_options_of_the_solver_and_dynamic_guidance_change_the_pictures(models: Path, tmp_path: Path) -> None:
    clip = Wanted("a", "a dog", 1)
    usual, shifted = (
        make(step(models / "wan", scheduler={"flow_shift": shift}), tmp_path / str(shift), clip)[0]
        for shift in (3.0, 8.0)
    )
    assert not np.array_equal(usual, shifted)
    fixed, dynamic = (
        make(step(models / "cogvideox", dynamic_guidance=is_on), tmp_path / str(is_on), clip)[0]
        for is_on in (False, True)
    )
    assert not np.array_equal(fixed, dynamic)


@pytest.mark.slow
def test_the_decoder_may_have_numbers_of_its_own(models: Path, tmp_path: Path) -> None:
    how = step(models / "wan", dtype="bfloat16", vae_dtype="float32")
    weights = steps.locate(how, tmp_path, accept_licence=False, reporter=SILENT)
    with steps._loaded(how, weights, CPU) as pipeline:
        assert pipeline.vae.dtype == torch.float32
        assert pipeline.transformer.dtype == pipeline.text_encoder.dtype == torch.bfloat16
    (video,) = make(how, tmp_path, Wanted("a", "a dog", 1))
    assert video.shape == (9, 32, 48, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("cogvideox", {"height": 36}, "change [two_step.video] of the recipe"),
        ("wan", {"frames": 10}, "set frames, height and width in [two_step.video] to what the model makes"),
        ("wan", {"dynamic_guidance": True}, "two_step.video.dynamic_guidance: WanPipeline has none; leave it out"),
        ("cogvideox", {"scheduler": {"flow_shift": 3.0}}, "CogVideoXDDIMScheduler of"),
    ],
)
def test_what_the_pipeline_cannot_make_is_said_with_the_way_out(
    models: Path, tmp_path: Path, name: str, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as told:
        make(step(models / name, **changed), tmp_path, Wanted("a", "a dog", 1))
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def copied(model: Path, to: Path) -> Path:
    shutil.copytree(model, to)
    return to


def changed_index(folder: Path, **entries: Any) -> None:
    index = json.loads((folder / steps.INDEX).read_text())
    (folder / steps.INDEX).write_text(json.dumps({**index, **entries}))


def test_code_in_a_model_is_never_run(models: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    own = copied(models / "cogvideox", tmp_path / "own")
    (own / "pipeline.py").write_text(f"open({str(marker)!r}, 'w')")
    custom = copied(models / "cogvideox", tmp_path / "custom")
    changed_index(custom, _class_name=["pipeline", "MyPipeline"])
    foreign = copied(models / "cogvideox", tmp_path / "foreign")
    changed_index(foreign, transformer=["my_library", "MyTransformer"])
    for folder, what in ((own, "pipeline.py"), (custom, "pipeline"), (foreign, "transformer (my_library)")):
        with pytest.raises(UserError) as told:
            steps.check_files(folder)
        assert what in str(told.value)
        assert "which avbench does not run" in str(told.value)
    assert not marker.exists()


def test_a_part_from_a_pipeline_of_diffusers_itself_is_none_of_its_own(models: Path, tmp_path: Path) -> None:
    own = copied(models / "cogvideox", tmp_path / "own")
    changed_index(own, connectors=["ltx2", "LTX2TextConnectors"])
    assert steps.check_files(own) == ("CogVideoXPipeline", "CogVideoXDDIMScheduler")
    changed_index(own, connectors=["../../elsewhere", "Connectors"])
    with pytest.raises(UserError, match=r"connectors .* is code of its own"):
        steps.check_files(own)


@pytest.mark.parametrize("harm", ["cut short", "changed", "gone"])
def test_pictures_that_are_damaged_are_named_and_made_anew(harm: str, tmp_path: Path) -> None:
    videos, wanted = Videos(tmp_path, {}), Wanted("a", "one", 1)
    videos.write(wanted, np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3), 8.0)
    path = tmp_path / "a.npz"
    stored = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
        assert not videos.has(wanted)
        return
    stored[150] ^= 0xFF
    path.write_bytes(stored if harm == "changed" else stored[:200])
    assert videos.has(wanted)
    with pytest.raises(MediaError, match=r"a\.npz: cannot be read \(.+\); the same command makes these pictures anew"):
        videos.read(wanted)
    assert not videos.has(wanted)


@pytest.mark.slow
def test_pickled_weights_are_refused(models: Path, tmp_path: Path) -> None:
    own = copied(models / "cogvideox", tmp_path / "own")
    (own / "vae" / "diffusion_pytorch_model.safetensors").rename(own / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match=r"vae: holds weights as a pickle only, which avbench never opens"):
        steps.check_files(own)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no model_index.json; give a folder that .* wrote, or OWNER/NAME"):
        steps.locate(step(tmp_path), tmp_path / "x", accept_licence=False, reporter=SILENT)


def test_a_bare_sentencepiece_tokenizer_needs_the_extra(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = copied(models / "cogvideox", tmp_path / "own")
    (own / "tokenizer" / "tokenizer.json").rename(own / "tokenizer" / "spiece.model")
    monkeypatch.setattr(steps.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"tokenizer: reading it needs sentencepiece, .* pip install 'avbench\[two-step\]'"
    ):
        steps.check_files(own)


@pytest.mark.slow
def test_a_repository_is_fetched_without_pickles_and_code_and_known_by_its_commit(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = copied(models / "cogvideox", tmp_path / "repo")
    (repo / "pipeline.py").write_text("raise SystemExit")
    (repo / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    how = step("owner/name", licence="CC-BY-NC 4.0", non_commercial=True)
    with HubServer({"owner/name": repo}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        with pytest.raises(UserError, match=r"owner/name: its licence, CC-BY-NC 4\.0, forbids commercial use"):
            steps.locate(how, tmp_path / "x", accept_licence=False, reporter=SILENT)
        weights = steps.locate(how, tmp_path / "x", accept_licence=True, reporter=SILENT)
    assert weights.revision == hub.commit
    assert steps.about(how, weights)["revision"] == hub.commit
    names = {path.name for path in weights.folder.rglob("*")}
    assert "diffusion_pytorch_model.safetensors" in names
    assert not {"pipeline.py", "diffusion_pytorch_model.bin"} & names
    # without the hub, from what was fetched
    (video,) = make(how.model_copy(update={"non_commercial": False}), tmp_path, Wanted("a", "a dog", 1))
    assert np.array_equal(video, make(step(models / "cogvideox"), tmp_path / "b", Wanted("a", "a dog", 1))[0])


def test_the_same_folder_elsewhere_is_the_same_model(models: Path, tmp_path: Path) -> None:
    there = copied(models / "cogvideox", tmp_path / "there" / "cogvideox")
    first, second = (
        steps.about(how, steps.locate(how, tmp_path / "x", accept_licence=False, reporter=SILENT))
        for how in (step(models / "cogvideox"), step(there))
    )
    assert first == second
    (there / "scheduler" / "scheduler_config.json").write_text("{}")
    changed = step(there)
    assert steps.about(changed, steps.locate(changed, tmp_path, accept_licence=False, reporter=SILENT)) != first
