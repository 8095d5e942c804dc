"""Super-resolution trained, sampled and scored at toy width."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from avbench import scoring
from avbench.baselines import _base, _importing, mmdiffusion_sr
from avbench.baselines._small_clips import SmallClips
from avbench.errors import UserError
from avbench.models.superres import PRESETS, SuperRes, SuperResConfig
from avbench.protocol import Protocol
from avbench.recipe_baseline import BaselineRecipe
from avbench.runs import Run
from avbench.training.log import read_log
from tests.clips import RATE, clip, write_mp4, write_npz
from tests.training.rendered_sets import write_dataset

CPU = torch.device("cpu")
TOY = SuperResConfig(
    small_size=16,
    large_size=32,
    model_channels=8,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(2,),
    attention_heads=2,
    norm_groups=4,
)


def recipe(folder: Path | None, **sample: object) -> BaselineRecipe:
    return BaselineRecipe.model_validate(
        {
            "baseline": "mmdiffusion-sr",
            "preset": "toy",
            "protocol": "demo-v1",
            "train": {"steps": 30, "batch_size": 4, "learning_rate": 3e-3, "ema_decay": 0.9},
            "sample": {"n": 4, "steps": 3, "batch_size": 5, "scheduler": "ddim", "spacing": "leading"}
            | {"enlarge": str(folder) if folder else None, **sample},
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A trained run, and in ``small`` beside it the samples of a base model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "toy", TOY)
        folder = tmp_path_factory.mktemp("toy")
        for number in range(4):
            video, audio = clip(number, size=16)
            _base.write_clip(_base.GeneratedClip(f"sample-{number:05d}", video, 10.0, audio, RATE), folder / "small")
        data = write_dataset(folder / "data", size=32)
        mmdiffusion_sr.train(data, recipe(None), folder / "run", device=CPU)
        yield folder / "run"


def made(run: Path, of: BaselineRecipe) -> dict[str, dict[str, np.ndarray]]:
    """Sample, and read what is there."""
    conditions = _base.clips_to_enlarge(run, of)
    _base.write_samples(run, of, device=CPU, conditions=conditions)
    return {path.stem: dict(np.load(path)) for path in sorted((run / "samples").glob("*.npz"))}


@pytest.mark.slow
def test_the_loss_falls_and_counts_for_the_picture_alone(run: Path) -> None:
    rows = read_log(run / "log.jsonl")
    assert len(rows) == 30
    losses = [row["loss_video"] for row in rows]
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])
    assert all(row["loss_audio"] == 0 for row in rows)


@pytest.mark.slow
def test_clips_are_enlarged_and_keep_their_sound_to_the_sample(run: Path) -> None:
    of = recipe(run.parent / "small")
    found = made(run, of)
    assert len(found) == 4
    for name, arrays in found.items():
        small = np.load(run.parent / "small" / f"{name}.npz")
        assert arrays["video"].shape == (16, 32, 32, 3)
        assert arrays["video"].dtype == np.uint8
        np.testing.assert_array_equal(arrays["audio"], small["audio"])
        assert (arrays["fps"], arrays["sample_rate_hz"]) == (small["fps"], small["sample_rate_hz"])
    card = json.loads((run / "samples" / "samples.json").read_text())
    assert card["timesteps"] == [666, 333, 0]
    assert card["given"]["clips"] == 4
    assert card["sources"]["sample-00002"]["clip"] == "sample-00002.npz"
    assert _base.write_samples(run, of, device=CPU, conditions=_base.clips_to_enlarge(run, of)) == (0, 4)


@pytest.mark.slow
def test_all_frames_of_a_clip_start_from_the_same_noise_and_clips_from_their_own(run: Path, tmp_path: Path) -> None:
    still, silence = np.full((7, 16, 16, 3), 90, np.uint8), np.zeros((1, RATE), np.float32)
    for name in ("a", "b"):
        _base.write_clip(_base.GeneratedClip(name, still, 10.0, silence, RATE), tmp_path)
    first, second = (arrays["video"].astype(int) for arrays in made(run, recipe(tmp_path, n=2)).values())
    for video in (first, second):
        assert np.abs(video - video[:1]).max() <= 1  # float32 kernels of another batch size may move a grey level
    assert np.abs(first - second).max() > 5


@pytest.mark.slow
def test_samples_do_not_depend_on_how_many_frames_are_computed_at_once(run: Path) -> None:
    for scheduler in ("ddim", "ddpm"):
        whole = made(run, recipe(run.parent / "small", n=1, scheduler=scheduler))
        for path in (run / "samples").glob("sample-*"):
            path.unlink()
        parts = made(run, recipe(run.parent / "small", n=1, scheduler=scheduler, batch_size=16))
        video, again = (each["sample-00000"]["video"].astype(int) for each in (whole, parts))
        assert np.abs(video - again).max() <= 1


@pytest.mark.slow
def test_other_small_clips_are_enlarged_anew(run: Path, tmp_path: Path) -> None:
    for number in range(2):
        write_npz(tmp_path / f"c{number}.npz", number, size=16)
    of = recipe(tmp_path, n=2)
    before = made(run, of)
    write_npz(tmp_path / "c1.npz", 9, size=16)
    after = made(run, of)
    np.testing.assert_array_equal(before["sample-00000"]["video"], after["sample-00000"]["video"])
    assert not np.array_equal(before["sample-00001"]["audio"], after["sample-00001"]["audio"])


@pytest.mark.slow
def test_bfloat16_stays_near_float32(run: Path) -> None:
    exact = made(run, recipe(run.parent / "small", n=1))["sample-00000"]["video"].astype(int)
    for path in (run / "samples").glob("sample-*"):
        path.unlink()
    rough = made(run, recipe(run.parent / "small", n=1, bf16=True))["sample-00000"]["video"].astype(int)
    assert 0 < np.abs(exact - rough).mean() < 4


@pytest.mark.slow
def test_the_enlarged_clips_are_scored(run: Path) -> None:
    of = recipe(run.parent / "small")
    whole = Run(of, run, None, CPU, mmdiffusion_sr.SILENT)
    assert whole.sample() == run / "samples"
    rules = Protocol(
        name="toy", metrics=("mel_fd", "flow_fd"), frames=16, fps=10, size=32, n=8, min_n=4, interval_draws=10
    )
    scores = {score.metric: score for score in scoring.score(run / "samples", run.parent / "small", rules).scores}
    assert scores["mel_fd"].value == pytest.approx(0, abs=1e-3)  # the sound is the very same
    assert scores["flow_fd"].value > 0


def test_films_keep_their_rate_their_channels_and_all_their_frames(tmp_path: Path) -> None:
    write_mp4(tmp_path / "film.mp4", 3, size=32, fps=25.0, frames=30)
    found = SmallClips(tmp_path, 16)
    small = found.clip(0)
    assert small.video is not None
    assert small.audio is not None
    assert small.video.shape == (30, 16, 16, 3)
    assert small.source == {"clip": "film.mp4", "fps": 25.0, "sample_rate_hz": RATE}
    assert abs(small.audio.shape[1] - round(1.2 * RATE)) <= 1024
    write_npz(tmp_path / "film.npz", 3, size=16)
    assert [SmallClips(tmp_path, 16).clip(0).source["clip"], len(SmallClips(tmp_path, 16))] == ["film.npz", 1]


@pytest.mark.slow
def test_what_cannot_be_enlarged_is_refused_in_one_sentence(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder of clips; sample a base model first"):
        _base.clips_to_enlarge(run, recipe(tmp_path / "none"))
    with pytest.raises(UserError, match=r"holds no clips; super-resolution reads \.npz"):
        _base.clips_to_enlarge(run, recipe(tmp_path))
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"holds 1 clips and 4 are asked for; give --n 1"):
        _base.clips_to_enlarge(run, recipe(tmp_path))
    with pytest.raises(UserError, match=r"a\.npz: cannot be made larger: it does not hold video, fps"):
        made(run, recipe(tmp_path, n=1))
    with pytest.raises(UserError, match="name one with --enlarge"):
        made(run, recipe(None))
    with pytest.raises(UserError, match=r"scheduler = 'unipc', .*: mmdiffusion-sr is sampled with 'ddim' or 'ddpm'"):
        made(run, recipe(run.parent / "small", scheduler="unipc", spacing="linspace"))
    with pytest.raises(UserError, match="start_noise = 'unit': mmdiffusion-sr takes 'drawn'"):
        made(run, recipe(run.parent / "small", start_noise="unit"))
    with pytest.raises(UserError, match="baseline mmdiffusion does not enlarge clips"):
        _base.clips_to_enlarge(run, recipe(tmp_path).model_copy(update={"baseline": "mmdiffusion"}))


@pytest.mark.slow
def test_a_published_file_is_imported_and_enlarges(tmp_path: Path) -> None:
    """Sizes as published but narrow; the tensors under the names of distributed training."""
    config = TOY.model_copy(update={"norm_groups": 32, "model_channels": 32, "attention_heads": 4})
    network = SuperRes(config)
    torch.save({f"module.{name}": x for name, x in network.state_dict().items()}, tmp_path / "ema_0.9999_500.pt")
    still = np.full((1, 64, 64, 3), 90, np.uint8)
    (tmp_path / "small").mkdir()
    _base.write_clip(_base.GeneratedClip("a", still, 10.0, np.zeros((1, 1600), np.float32), RATE), tmp_path / "small")
    of = recipe(tmp_path / "small", n=1, steps=1)
    file = tmp_path / "ema_0.9999_500.pt"
    done = _importing.import_checkpoint(file, _importing.read(file), tmp_path / "run", of, _importing.Untold())
    assert done.config["network"]["large_size"] == 256
    (arrays,) = made(tmp_path / "run", of).values()
    assert arrays["video"].shape == (1, 256, 256, 3)
