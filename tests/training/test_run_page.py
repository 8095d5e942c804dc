"""What a person sees of a training: curves, sheets of samples, the page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from avbench.training import curves, page, preview
from avbench.training.log import read_log
from avbench.workspace import write_json
from tests.pages import HOSTILE, Tags
from tests.training import toy


@dataclass
class ToneClip:
    """Black frames that turn white, with a tone."""

    tone_hz: float = 440.0
    sample_rate_hz: int = 16000

    @property
    def video(self) -> np.ndarray:
        return np.repeat(np.linspace(0, 255, 16).astype(np.uint8), 32 * 32 * 3).reshape(16, 32, 32, 3)

    @property
    def audio(self) -> np.ndarray:
        seconds = np.arange(25600) / self.sample_rate_hz
        return np.sin(2 * np.pi * self.tone_hz * seconds).astype(np.float32)[None]


def log(steps: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(0)
    return [
        {"step": n, "loss_video": 3 / n + rng.random(), "loss_audio": 1 / n, f"loss_video_q{n % 4 + 1}": 2 / n}
        for n in range(1, steps + 1)
    ]


def test_curves_are_drawn_and_equal_logs_give_equal_pictures(tmp_path: Path) -> None:
    assert curves.draw(log(40), tmp_path / "one.png")
    assert curves.draw(log(40), tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert curves.draw(log(41), tmp_path / "other.png")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "one.png").convert("RGB"))
    assert (picture < 128).mean() > 0.005, "ink"


def test_a_curve_has_only_what_a_logarithmic_axis_can_show() -> None:
    table = pd.DataFrame([{"step": 1, "a": 0.0}, {"step": 2, "a": 2.0}, {"step": 3}, {"step": 4, "a": np.inf}])
    assert [part.tolist() for part in curves.series(table, "a")] == [[2.0], [2.0]]
    assert not len(curves.series(table, "b")[0])
    assert not curves.draw([{"step": 1, "loss_audio": 0.0}], Path("never-written.png"))


def test_smoothing_keeps_a_constant_and_follows_a_change() -> None:
    step = np.r_[np.full(500, 4.0), np.full(500, 1.0)]
    assert curves.smoothed(np.full(9, 3.0)) == pytest.approx(3.0)
    assert curves.smoothed(step)[499] == pytest.approx(4.0)
    assert curves.smoothed(step)[-1] == pytest.approx(1.0, abs=0.01)


def test_a_sheet_shows_each_clip_as_frames_and_spectrogram(tmp_path: Path) -> None:
    preview.write_sheet([ToneClip(), ToneClip(4000.0)], tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    assert sheet.shape == (2 * 96 + 6, 8 * 96 + 6 + 256, 3)
    frames = [sheet[48, 48 + 96 * n].mean() for n in range(8)]
    assert frames == sorted(frames)
    assert frames[-1] > frames[0] + 150


@pytest.mark.parametrize(("tone_hz", "rate_hz"), [(200.0, 16000), (1000.0, 16000), (4000.0, 44100)])
def test_a_tone_is_the_brightest_row_at_its_height(tone_hz: float, rate_hz: int) -> None:
    picture = preview.spectrogram(ToneClip(tone_hz, rate_hz).audio, rate_hz).astype(int).sum((1, 2))
    mel = [2595 * np.log10(1 + hz / 700) for hz in (50.0, tone_hz, rate_hz / 2)]
    due = 64 * (1 - (mel[1] - mel[0]) / (mel[2] - mel[0]))
    assert abs(int(picture.argmax()) - due) <= 1.5


def test_silence_is_black() -> None:
    assert preview.spectrogram(np.zeros((1, 4000), np.float32), 16000).max() < 10


def test_sampling_during_training_leaves_the_weights_as_they_are(tmp_path: Path) -> None:
    seen = []

    def sampled() -> list[ToneClip]:
        seen.append(sorted(path.name for path in (tmp_path / "with" / "checkpoints").iterdir())[-1])
        return [ToneClip(float(torch.randint(100, 4000, ())))]

    plain = toy.run(tmp_path / "without", toy.recipe(12))
    shown = toy.run(tmp_path / "with", toy.recipe(12, sample_every=4), preview=sampled)
    for name in ("model", "ema", "optimizer"):
        want, got = (load_file(result.checkpoint / f"{name}.safetensors") for result in (plain, shown))
        assert all(torch.equal(want[key], got[key]) for key in want), name
    assert seen == ["step-00000004", "step-00000008", "step-00000012"], "from the checkpoint of its own step"
    sheets = sorted(path.name for path in (tmp_path / "with").glob("samples-*.png"))
    assert sheets == ["samples-000004.png", "samples-000008.png", "samples-000012.png"]
    assert not list((tmp_path / "without").glob("samples-*.png"))


def test_the_page_shows_curves_sheets_speed_and_recipe(tmp_path: Path) -> None:
    write_json(tmp_path / "recipe.json", {"baseline": "mine", "train": {"batch_size": 8, "note": HOSTILE}})
    toy.run(tmp_path, toy.recipe(12, sample_every=6), preview=lambda: [ToneClip()])
    page_tags = Tags((tmp_path / "run.html").read_text())
    assert [image["src"] for image in page_tags.all("img")] == [
        "curves.png", "samples-000012.png", "samples-000006.png",
    ]  # fmt: skip
    assert all((tmp_path / str(image["src"])).is_file() for image in page_tags.all("img"))
    assert "train.batch_size" in page_tags.text
    assert HOSTILE in page_tags.text
    assert not page_tags.all("script")
    assert "clips per second" in page_tags.text


def test_pictures_of_steps_that_are_not_in_the_log_are_left_out(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.recipe(6, sample_every=3), preview=lambda: [ToneClip()])
    (tmp_path / "samples-000009.png").write_bytes(b"of a run that was cut off")
    (tmp_path / "samples-mine.png").write_bytes(b"somebody's own")
    page.write(tmp_path, read_log(tmp_path / "log.jsonl"), toy.recipe(12).model_dump(mode="json"))
    sources = [image["src"] for image in Tags((tmp_path / "run.html").read_text()).all("img")]
    assert sources == ["curves.png", "samples-000006.png", "samples-000003.png"]


def test_throughput_is_the_median_step_and_the_share_of_waiting() -> None:
    rows = [{"step": n, "seconds": 9.0 if n == 1 else 0.5, "wait_seconds": 0.25} for n in range(1, 6)]
    facts = page.throughput(rows, 8)
    assert facts["steps"] == "5"
    assert facts["clips per second"].startswith("16 ")
    assert facts["share spent waiting for data"] == "11.4%"
    assert page.throughput([], 8) == {"steps": "0"}


def test_settings_stand_in_plain_words(tmp_path: Path) -> None:
    recipe = {
        "hours": None,
        "train": {
            "bf16": True,
            "keep_every": None,
            "flip": 0.0,
            "track": ["tensorboard", "wandb"],
            "learning_rate": 2e-3,
        },
        "sample": {"enlarge": None, "condition": {"task": "inpaint", "keep": [[0.0, 0.4], [1.2, 1.6]]}},
        "literature": [{"metric": "FVD", "value": 117.2}, {"metric": "KVD", "value": 5.78}],
    }
    write_json(tmp_path / "recipe.json", recipe)
    page.write(tmp_path, [], toy.recipe(12).model_dump(mode="json"))
    written = (tmp_path / "run.html").read_text().replace("</", " </")  # a space between a name and its value
    shown = " ".join(Tags(written).text.split())
    for words in (
        "hours not set",
        "train.bf16 yes",
        "train.keep_every not set",
        "train.flip 0.0",
        "train.track tensorboard, wandb",
        "train.learning_rate 0.002",
        "sample.condition.task inpaint",
        "sample.condition.keep 0.0 to 0.4, 1.2 to 1.6",
        "metric FVD, value 117.2; metric KVD, value 5.78",
    ):
        assert words in shown
    assert not re.search(r"None|True|False|[\[\]{}]", shown.partition(" Recipe ")[2])
