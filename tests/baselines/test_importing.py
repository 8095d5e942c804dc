"""A published checkpoint becomes a run that computes the same, and everything that is no such file is refused."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from avbench import workspace
from avbench.baselines import _base, _importing, mmdiffusion
from avbench.baselines._importing import Imported, Untold
from avbench.errors import EnvironmentFault, UserError
from avbench.models.mmdiffusion import PRESETS, MMDiffusion, MMDiffusionConfig
from avbench.recipe_baseline import BaselineRecipe
from avbench.training import checkpoint
from tests.models.mmdiffusion_cases import noise, shapes_of, weights

CONFIG = MMDiffusionConfig(
    video_size=(4, 3, 8, 8),
    audio_size=(1, 6400),
    model_channels=32,
    channel_mult=(1, 1),
    num_res_blocks=1,
    cross_attention_resolutions=(2,),
    windows=(2,),
    middle_cross_attention=False,
    cross_head_channels=16,
    video_attention_resolutions=(2,),
)
UNTOLD = Untold(windows=(2,), cross_head_channels=16, frames=4, size=8, samples=6400)


def recipe(baseline: str = "mmdiffusion", **sample: Any) -> BaselineRecipe:
    return BaselineRecipe.model_validate(
        {
            "baseline": baseline,
            "preset": "published",
            "network": "paper",
            "protocol": "demo-v1",
            "train": {"steps": 1, "batch_size": 1},
            "sample": {"n": 2, "steps": 2, **sample},
        }
    )


@functools.cache
def tensors() -> dict[str, Tensor]:
    """State dict of a network as the published code names it."""
    with torch.device("meta"):
        return weights(shapes_of(MMDiffusion(CONFIG)))


def load(file: Path, run: Path, untold: Untold = UNTOLD, how: BaselineRecipe | None = None) -> Imported:
    return _importing.import_checkpoint(file, _importing.read(file), run, how or recipe(), untold)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(tensors(), tmp_path / "ema_0.9999_020000.pt")
    return tmp_path / "ema_0.9999_020000.pt"


def held(done: Imported) -> dict[str, Tensor]:
    return checkpoint.read(done.checkpoint).weights("ema")


@pytest.mark.parametrize("form", ["plain", "distributed", "half", "old torch", "safetensors"])
def test_every_form_of_the_file_gives_the_same_tensors(tmp_path: Path, form: str) -> None:
    state, path = dict(tensors()), tmp_path / "Landscape.pt"
    if form == "half":
        state = {name: tensor.half() for name, tensor in state.items()}
    wanted = {name: tensor.float() for name, tensor in state.items()}
    if form == "distributed":
        state = {f"module.{name}": tensor for name, tensor in state.items()}
    if form == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form != "old torch")
    found = held(load(path, tmp_path / "run"))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}


def test_the_configuration_stands_in_the_checkpoint(file: Path, tmp_path: Path) -> None:
    done = load(file, tmp_path / "run", Untold(**{**vars(UNTOLD), "shift": False, "timesteps": 2000}))
    found = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert (found.path, found.step) == (done.checkpoint, 20000)
    assert mmdiffusion.network_of(found) == CONFIG.model_copy(update={"cross_attention_shift": False})
    assert found.config["timesteps"] == 2000
    assert found.config["imported"] == {
        "file": file.name,
        "sha256": workspace.file_sha256(file),
        "weights": "ema 0.9999",
        "step": 20000,
        "options": {**UNTOLD.given(), "shift": False, "timesteps": 2000},
    }
    with safe_open(done.checkpoint / "ema.safetensors", "pt") as handle:
        assert json.loads(handle.metadata()["avbench"])["config"] == found.config


@pytest.mark.parametrize(
    ("name", "kind", "step"),
    [
        ("model020000.pt", "model", 20000),
        ("ema_0.9999_5000.pt", "ema 0.9999", 5000),
        ("Landscape.pt", "", None),
        ("AIST++.pt", "", None),
    ],
)
def test_the_name_of_the_file_tells_step_and_kind(file: Path, name: str, kind: str, step: int | None) -> None:
    done = load(file.rename(file.with_name(name)), file.parent / "run")
    assert (done.config["imported"]["weights"], done.config["imported"]["step"]) == (kind, step)


def test_the_network_of_the_run_computes_what_the_published_one_does(file: Path, tmp_path: Path) -> None:
    found = checkpoint.read(load(file, tmp_path / "run").checkpoint)
    wanted = MMDiffusion.from_published(tensors(), 16, windows=(2,)).eval()
    clip = noise(1, (1, 4, 3, 8, 8)), noise(2, (1, 1, 6400)), torch.tensor([30])
    shifts = [1] * len(wanted.windows)
    with torch.no_grad():
        for got, want in zip(mmdiffusion.load(found)(*clip, shifts), wanted(*clip, shifts), strict=True):
            assert torch.equal(got, want)
            assert want.std() > 0.1


def test_the_same_file_again_is_no_work_and_another_is_refused(file: Path, tmp_path: Path) -> None:
    first, again = load(file, tmp_path / "run"), load(file, tmp_path / "run")
    assert (first.already, again.already) == (False, True)
    assert (first.checkpoint, first.config) == (again.checkpoint, again.config)
    with pytest.raises(UserError, match=r"was imported there with another options; give another --out"):
        load(file, tmp_path / "run", Untold(**{**vars(UNTOLD), "timesteps": 100}))
    other = tmp_path / "model000001.pt"
    torch.save({name: tensor + 1 for name, tensor in tensors().items()}, other)
    with pytest.raises(UserError, match="with another file's sha256"):
        load(other, tmp_path / "run")


def test_a_folder_with_a_trained_run_is_left_alone(file: Path, tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(tmp_path / "run" / "checkpoints", 3, model, dict(model.state_dict()), optimizer, {"preset": "tiny"})
    with pytest.raises(UserError, match="holds a trained run; give another --out"):
        load(file, tmp_path / "run")


def test_a_missing_tensor_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    name = "output_blocks.1.0.audio_out_layers.3.audio_conv.weight"
    torch.save({key: tensor for key, tensor in tensors().items() if key != name}, tmp_path / "model000001.pt")
    with pytest.raises(UserError, match=rf"model000001\.pt: MM-Diffusion checkpoint: .* missing {name}"):
        load(tmp_path / "model000001.pt", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_files_of_something_else_are_refused(file: Path, tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.ones(2)}, tmp_path / "resnet.pt")
    with pytest.raises(UserError, match=r"neither the coupled U-Net nor its super-resolution.*conv1\.weight"):
        load(tmp_path / "resnet.pt", tmp_path / "run")
    torch.save({}, tmp_path / "nothing.pt")
    with pytest.raises(UserError, match=r"nothing\.pt: holds no tensors"):
        _importing.read(tmp_path / "nothing.pt")
    torch.save({**tensors(), "time_embed.0.bias": torch.full((32,), torch.nan)}, tmp_path / "diverged.pt")
    with pytest.raises(UserError, match=r"diverged\.pt: tensor time_embed\.0\.bias is not finite"):
        _importing.read(tmp_path / "diverged.pt")
    with pytest.raises(UserError, match="holds the network of mmdiffusion, but the recipe is for mmdiffusion-sr"):
        load(file, tmp_path / "run", how=recipe("mmdiffusion-sr"))


def test_options_that_do_not_fit_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give `windows`, one per level of \(2,\)"):
        load(file, tmp_path / "run", Untold(cross_head_channels=16))
    with pytest.raises(UserError, match="do not split into heads of 64"):
        load(file, tmp_path / "run", Untold(windows=(2,)))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_full_disk_leaves_nothing_and_the_same_call_ends_well(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(state: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(_importing, "save_file", full)
        with pytest.raises(EnvironmentFault, match="the disk is full"):
            load(file, tmp_path / "run")
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(workspace, "free_bytes", lambda path: 1000)
        with pytest.raises(EnvironmentFault, match="the disk has 0 MB free; give --out on another disk"):
            load(file, tmp_path / "run")
    assert not load(file, tmp_path / "run").already


def test_after_a_kill_the_rest_is_swept_and_the_import_is_whole(file: Path, tmp_path: Path) -> None:
    left = tmp_path / "run" / "checkpoints" / ".tmp-import-step-00000007"
    left.mkdir(parents=True)
    (left / "ema.safetensors").write_bytes(b"half")
    done = load(file, tmp_path / "run")
    assert os.listdir(tmp_path / "run" / "checkpoints") == [done.checkpoint.name]


@pytest.mark.slow
def test_an_imported_run_is_sampled_at_once(file: Path, tmp_path: Path) -> None:
    load(file, tmp_path / "run")
    made = _base.write_samples(tmp_path / "run", recipe(), device=torch.device("cpu"))
    assert made == (2, 0)
    card = workspace.read_json(tmp_path / "run" / "samples" / "samples.json")
    assert card["config"]["imported"]["sha256"] == workspace.file_sha256(file)


def test_sampling_by_the_name_of_another_baseline_is_refused(file: Path, tmp_path: Path) -> None:
    done = load(file, tmp_path / "run")
    other = checkpoint.Checkpoint(done.checkpoint, 0, {**done.config, "baseline": "mmdiffusion-sr"})
    with pytest.raises(UserError, match="holds mmdiffusion-sr, not mmdiffusion; name that baseline"):
        mmdiffusion.load(other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet_small", "unet_paper"])
def test_an_imported_file_computes_the_golden_outputs(parity_assets: Path, tmp_path: Path, name: str) -> None:
    with safe_open(str(parity_assets / f"{name}.safetensors"), "pt") as golden:
        spec = json.loads(golden.metadata()["spec"])
        wanted = golden.get_tensor("video"), golden.get_tensor("audio")
    config = PRESETS["paper"]
    if name == "unet_small":
        config = config.model_copy(update={"model_channels": 32, "cross_head_channels": 32})
    with torch.device("meta"):
        shapes = shapes_of(MMDiffusion(config))
    path = tmp_path / "Landscape.pt"
    torch.save({f"module.{key}": tensor for key, tensor in weights(shapes).items()}, path)
    done = load(path, tmp_path / "run", Untold(cross_head_channels=spec["num_head_channels"]))
    assert (done.parameters, done.tensors) == (spec["params"], spec["tensors"])
    video = noise(spec["input_seed"], (1, *spec["video_shape"]))
    audio = noise(spec["input_seed"] + 1, (1, 1, spec["audio_length"]))
    network = mmdiffusion.load(checkpoint.read(done.checkpoint))
    with torch.inference_mode():
        got = network(video, audio, torch.tensor(spec["timesteps"]), spec["shifts"])
    for one, other in zip(got, wanted, strict=True):
        assert ((one - other).abs().max() / other.std()).item() <= 1e-4
