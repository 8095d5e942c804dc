"""Whole ways through the real command line at toy width: an imported file, and clips of which a part is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from avbench import cli
from avbench.leaderboard import records
from avbench.leaderboard.records import ResultRecord
from avbench.models.mmdiffusion import PRESETS, MMDiffusion
from avbench.models.superres import PRESETS as SUPER_PRESETS, SuperResConfig
from avbench.workspace import file_sha256
from tests.baselines.test_mmdiffusion_run import TOY as WIDER
from tests.clips import clip, write_mp4
from tests.models.mmdiffusion_cases import shapes_of, weights
from tests.training.rendered_sets import write_clips

pytestmark = pytest.mark.slow

TOY = WIDER.model_copy(
    update={"channel_mult": (1, 1, 1, 1), "cross_attention_resolutions": (8,), "video_attention_resolutions": (8,)}
)
"""Attends only where the sound is 400 tokens long: an eighth of a second for a clip."""

RECIPE = """
baseline = "mmdiffusion"
preset = "toy"
protocol = "demo-v1"
[train]
steps = 2
batch_size = 2
[sample]
n = 10
steps = 2
batch_size = 10
"""


def avbench(*words: object) -> str:
    """What a command prints; it must succeed."""
    done = CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


@pytest.fixture(autouse=True)
def _no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path / "no-weights"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In ``data`` a dataset of ten clips whose motion is heard, in ``run`` a run trained on it by the command."""
    folder = tmp_path_factory.mktemp("toy")
    made = [clip(number, frames=40, size=32) for number in range(10)]
    write_clips(folder / "data", [(video, audio[0]) for video, audio in made])
    (folder / "toy.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "toy", TOY)
        how = ("--preset", folder / "toy.toml", "--dataset", folder / "data", "--out", folder / "run")
        avbench("train", "mmdiffusion", *how)
        yield folder


def sampled_and_scored(toy: Path, board: Path, *words: object) -> ResultRecord:
    """Sample with a condition, score what was made by the command of the docs, publish, read the record."""
    avbench("sample", "mmdiffusion", "--out", toy / "run", *words, "--condition", toy / "data", "--split", "train")
    folder = toy / "run" / f"samples-{words[1]}"
    avbench("score", folder, "--reference", toy / "data", "--workers", 1, "--leaderboard", board)
    return records.load(folder / "result.json")


def extras(record: ResultRecord) -> dict[str, Any]:
    assert record.sampling is not None
    return record.sampling.model_dump(mode="json")


def test_sounds_for_given_pictures_have_a_table_of_their_own(toy: Path, tmp_path: Path) -> None:
    how = ("--task", "v2a", "--method", "both", "--scale", 2)
    record = sampled_and_scored(toy, tmp_path / "board", *how)
    by_name = {score.metric: score for score in record.scores}
    assert record.task == "v2a"
    assert by_name["flow_fd"].reason == "the picture was given, not made (v2a)"
    assert by_name["mel_fd"].value is not None
    sampling = extras(record)
    condition = sampling["condition"]
    assert (condition["task"], condition["method"], condition["scale"], condition["split"]) == (
        "v2a",
        "both",
        2,
        "train",
    )
    assert (sampling["given"]["name"], sampling["given"]["sha256"]) == ("toy", "0" * 64)
    assert (record.baseline, record.display_name) == ("mmdiffusion", "mmdiffusion toy")
    table = pd.read_parquet(toy / "run" / "samples-v2a" / "per_clip.parquet")
    assert sorted(table["cluster"]) == [f"c{n}" for n in range(10)], "the recordings of the given clips"
    avbench("sample", "mmdiffusion", "--out", toy / "run")
    avbench(
        "score",
        toy / "run" / "samples",
        "--reference",
        toy / "data",
        "--workers",
        1,
        "--leaderboard",
        tmp_path / "board",
    )
    page = (tmp_path / "board" / "README.md").read_text()
    assert "toy 1 · joint" in page
    assert "toy 1 · v2a, given toy 1 train" in page


def test_a_continued_clip_is_scored_on_what_was_made(toy: Path, tmp_path: Path) -> None:
    record = sampled_and_scored(toy, tmp_path / "board", "--task", "continue", "--keep", "0-0.8")
    assert (record.task, record.protocol.name, record.n_used) == ("continue-0-0.8", "demo-v1-8f", 10)
    assert record.protocol.settings["frames"] == 8
    assert not record.failed
    table = pd.read_parquet(toy / "run" / "samples-continue" / "per_clip.parquet")
    assert table["start_s"].tolist() == pytest.approx([0.8] * 10)
    card = json.loads((toy / "run" / "samples-continue" / "samples.json").read_text())
    assert card["made"] == {"video": [[0.8, 1.6]], "audio": [[0.8, 1.6]]}
    assert records.load_all(tmp_path / "board") == [record]


def test_a_recipe_with_a_condition_is_run_whole(toy: Path, tmp_path: Path) -> None:
    text = (
        RECIPE
        + f'[sample.condition]\ntask = "inpaint"\nkeep = "0-0.4,1.2-1.6"\nsplit = "train"\nsource = "{toy / "data"}"\n'
    )
    (tmp_path / "inpaint.toml").write_text(text)
    how = ("--preset", tmp_path / "inpaint.toml", "--dataset", toy / "data", "--out", tmp_path / "run", "--workers", 1)
    avbench("run-baseline", "mmdiffusion", *how, "--leaderboard", tmp_path / "board")
    (record,) = records.load_all(tmp_path / "board")
    assert (record.task, record.protocol.name) == ("inpaint-0-0.4-1.2-1.6", "demo-v1-8f")
    assert extras(record)["given"]["split"] == "train"
    assert record.training is not None


def test_an_imported_file_goes_through_to_the_leaderboard(toy: Path, tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = shapes_of(
            MMDiffusion(TOY.model_copy(update={"model_channels": 32, "norm_groups": 32, "attention_heads": 4}))
        )
    file, run, board = tmp_path / "ema_0.9999_020000.pt", tmp_path / "run", tmp_path / "board"
    torch.save({f"module.{name}": tensor for name, tensor in weights(shapes).items()}, file)
    (tmp_path / "own.toml").write_text(RECIPE.replace('"toy"', '"published"').replace("n = 10", "n = 2048"))
    untold = ("--windows", 4, "--cross-head-channels", 16, "--frames", 16, "--size", 8, "--samples", 25600)
    done = avbench("import-checkpoint", file, "--out", run, "--preset", tmp_path / "own.toml", *untold)
    assert f"next avbench sample mmdiffusion --out {run}" in done.replace("/ ", "/")
    avbench("sample", "mmdiffusion", "--out", run, "--n", 3)
    first = np.load(run / "samples" / "sample-00001.npz")["video"]
    assert first.std() > 1, "the weights are in the network"
    how = ("--out", run, "--dataset", toy / "data", "--n", 9, "--workers", 1, "--leaderboard", board)
    done = avbench("run-baseline", "mmdiffusion", *how)
    assert "weights were imported from ema_0.9999_020000.pt" in done
    assert "6 clips, 3 already" in done
    assert np.array_equal(np.load(run / "samples" / "sample-00001.npz")["video"], first)
    (record,) = records.load_all(board)
    assert (record.display_name, record.task, record.training, record.n_used) == (
        "mmdiffusion published",
        "joint",
        None,
        9,
    )
    assert record.notes == f"weights imported from {file.name}, sha256 {file_sha256(file)}"
    assert {score.metric for score in record.scores if score.value is not None} == {"av_align", "mel_fd", "flow_fd"}
    assert "mmdiffusion published" in (board / "README.md").read_text()
    assert not (run / "log.jsonl").exists()


def test_enlarged_clips_are_scored_at_their_own_size(toy: Path, tmp_path: Path) -> None:
    avbench("sample", "mmdiffusion", "--out", toy / "run")
    text = (
        RECIPE.replace('"mmdiffusion"', '"mmdiffusion-sr"').replace('"demo-v1"', '"demo-64"').replace("n = 10", "n = 8")
    )
    how = f'scheduler = "ddpm"\nspacing = "leading"\nenlarge = "{toy / "run" / "samples"}"\n'
    (tmp_path / "larger.toml").write_text(text + how)
    config = SuperResConfig(
        small_size=8, large_size=32, model_channels=8, channel_mult=(1, 2), num_res_blocks=1,
        attention_resolutions=(2,), attention_heads=2, norm_groups=4,
    )  # fmt: skip
    films = tmp_path / "real"
    for number in range(8):
        write_mp4(films / f"{number}.mp4", number, size=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SUPER_PRESETS, "toy", config)
        out = ("--out", tmp_path / "run", "--preset", tmp_path / "larger.toml")
        avbench("train", "mmdiffusion-sr", *out, "--dataset", toy / "data")
        avbench("sample", "mmdiffusion-sr", *out)
        avbench("score", tmp_path / "run" / "samples", "--reference", films, "--workers", 1)
    record = records.load(tmp_path / "run" / "samples" / "result.json")
    assert (record.display_name, record.task, record.n_used) == ("mmdiffusion-sr toy", "joint", 8)
    assert (record.protocol.name, record.protocol.settings["size"]) == ("demo-64", 64)
    assert extras(record)["given"]["clips"] == 10
    assert {score.metric for score in record.scores if score.value is not None} == {"av_align", "mel_fd", "flow_fd"}


def test_an_imported_run_without_its_dataset_is_told_so_before_anything_is_sampled(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avbench.errors import UserError

    with torch.device("meta"):
        shapes = shapes_of(
            MMDiffusion(TOY.model_copy(update={"model_channels": 32, "norm_groups": 32, "attention_heads": 4}))
        )
    torch.save(weights(shapes), tmp_path / "Landscape.pt")
    untold = ("--windows", 4, "--cross-head-channels", 16, "--size", 8)
    avbench("import-checkpoint", tmp_path / "Landscape.pt", "--out", tmp_path / "run", "--preset", "landscape", *untold)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="landscape"):
        avbench("run-baseline", "mmdiffusion", "--out", tmp_path / "run", "--n", 2)
    assert not (tmp_path / "run" / "samples").exists()
