"""Bad clips through the real `avbench score`: each has its reason in the record, and the rest is scored."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from avbench import media
from avbench.features import i3d
from tests import commands
from tests.clips import RATE, clip, write_mp4, write_npz

pytestmark = pytest.mark.slow

PROTOCOL = """
name = "toy"
description = "toy"
source = "tests"
metrics = ["av_align", "mel_fd", "flow_fd", "kvd"]
frames = 16
fps = 10
size = 32
n = 64
min_n = 4
interval_draws = 10
"""


def avbench(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return commands.avbench(*words, cwd=cwd, **{"AVBENCH_WEIGHTS": str(cwd / "weights"), **environment})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good clips among everything that can be wrong with one; a reference; a protocol."""
    root = tmp_path_factory.mktemp("score")
    (root / "toy.toml").write_text(PROTOCOL)
    (root / "outputs").mkdir()
    for seed in range(5):
        write_mp4(root / "outputs" / f"good {seed}.mp4", seed)
        write_npz(root / "real" / f"real-{seed}.npz", 100 + seed)
    write_npz(root / "outputs" / "good.npz", 9)
    bad = root / "outputs"
    video, sound = clip(1)
    media.encode(bad / "mute.mp4", video, 10, None, RATE)
    media.encode(bad / "short.mp4", video[:7], 10, sound[:, :11200], RATE)
    media.encode(bad / "odd.mp4", np.zeros((16, 34, 62, 3), np.uint8) + 90, 10, sound, RATE)
    media.encode(bad / "silent.mp4", video, 10, np.zeros_like(sound), RATE)
    whole = (bad / "good 0.mp4").read_bytes()
    (bad / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (bad / "words.mp4").write_text("no film")
    (bad / "empty.mp4").write_bytes(b"")
    np.savez(bad / "nan.npz", video=video, audio=np.full_like(sound, np.nan), fps=10.0, sample_rate_hz=RATE)
    (bad / ".hidden.mp4").write_bytes(whole)
    from PIL import Image

    Image.fromarray(video[0]).save(bad / "still.gif")
    return root


def test_each_bad_clip_has_a_reason_and_the_rest_is_scored(place: Path) -> None:
    done = avbench("score", "outputs", "--reference", "real", "--protocol", "toy.toml", "--workers", "1", cwd=place)
    assert done.returncode == 2, done.stderr  # nobody should find out from a count that some are missing
    assert "Traceback" not in done.stderr
    record = json.loads((place / "outputs" / "result.json").read_text())
    # a silent clip and one of an odd size are clips; what they lack shows in their scores
    assert record["n_used"] == 8
    expected = {
        "mute.mp4": "no sound",
        "short.mp4": "before the 1.6 s asked for",
        "cut.mp4": "",
        "words.mp4": "",
        "empty.mp4": "",
        "nan.npz": "NaN",
        "still.gif": "",
    }
    assert record["failed"].keys() == expected.keys()
    for name, words in expected.items():
        assert words in record["failed"][name]
        assert name in done.stdout
    rows = pd.read_parquet(place / "outputs" / "per_clip.parquet")
    assert len(rows) == 8
    assert "silent" in rows.set_index("item_id").loc["silent.mp4", "notes"]
    assert (place / "outputs" / "report.html").stat().st_size > 5000
    kvd = next(score for score in record["scores"] if score["metric"] == "kvd")
    assert kvd["value"] is None
    assert "avbench weights fetch i3d" in kvd["reason"]


def test_a_reference_is_measured_without_its_bad_clips_and_says_so(place: Path, tmp_path: Path) -> None:
    for path in (place / "real").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    words = ("reference", "build", ".", "--protocol", str(place / "toy.toml"), "--out", "real.safetensors")
    done = avbench(*words, "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "words.mp4").write_text("no film")
    done = avbench(*words, "--workers", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert "reference words.mp4 left out: " in done.stderr
    assert "5 windows of" in done.stdout
    assert (tmp_path / "real.safetensors").is_file()


def test_too_little_that_is_good_is_refused(place: Path, tmp_path: Path) -> None:
    for name in ("good 1.mp4", "words.mp4", "mute.mp4", "good 2.mp4"):
        (tmp_path / name).write_bytes((place / "outputs" / name).read_bytes())
    done = avbench(
        "score", ".", "--reference", str(place / "real"), "--protocol", str(place / "toy.toml"), cwd=tmp_path
    )
    assert done.returncode == 2
    assert "gives 2 usable windows" in done.stderr
    assert "needs 4" in done.stderr
    assert not (tmp_path / "result.json").exists()


def test_a_folder_is_not_its_own_reference_by_any_name(place: Path) -> None:
    (place / "alias").symlink_to(place / "outputs")
    for name in ("outputs", "alias"):
        done = avbench("score", "outputs", "--reference", name, "--protocol", "toy.toml", "--workers", "1", cwd=place)
        assert done.returncode == 2
        assert "both as outputs and as reference" in done.stderr


def test_weights_with_another_digest_are_refused_by_name(place: Path, tmp_path: Path) -> None:
    (tmp_path / i3d.WEIGHT.file).write_bytes(b"not the network")
    done = avbench(
        "score", "outputs", "--reference", "real", "--protocol", "toy.toml", cwd=place, AVBENCH_WEIGHTS=str(tmp_path)
    )
    assert done.returncode == 2
    assert i3d.WEIGHT.file in done.stderr
    assert "sha256" in done.stderr
    assert "avbench weights fetch i3d" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("score", "absent", "--reference", "real"), "there is no such folder"),
        (("score", "outputs"), "give the clips to compare with"),
        (("score", "outputs", "--reference", "reall"), "is no finished dataset"),
        (("score", "outputs", "--reference", "absent.safetensors"), "avbench reference build"),
        (("score", "outputs", "--reference", "real", "--protocol", "avbench-v2"), "did you mean avbench-v1"),
        (("reference", "build", "real", "--protocol", "toy.toml", "--out", "x.npz"), "must end in .safetensors"),
        (("compare", "real", "outputs"), "there is no such result"),
    ],
)
def test_mistakes_get_one_sentence_and_exit_code_2(place: Path, words: tuple[str, ...], said: str) -> None:
    done = avbench(*words, cwd=place)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
