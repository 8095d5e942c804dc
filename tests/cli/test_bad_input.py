"""Bad input through the real program: each gets one clear reason, exit code 2, and everything else is done."""

from __future__ import annotations

import os
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from avbench import media
from avbench.dataset import load_index
from tests.clips import RATE, clip
from tests.commands import avbench
from tests.servers import FileServer

pytestmark = pytest.mark.slow

RECIPE = """
[segment]
clip_s = 2
lead_s = 0
fps = 10
width = 32
height = 32
sample_rate_hz = 16000
channels = 1

[view]
size = 32
"""

BUILD = ("build-dataset", "mixed.csv", "--recipe", "recipe.toml", "--out", "out")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Files with everything that can be wrong with one, and two good ones, behind a server."""
    made = tmp_path_factory.mktemp("bad")
    files = made / "files"
    files.mkdir()
    video, audio = clip(1, frames=50)
    media.encode(files / "good.mp4", video, 10, audio, RATE)
    media.encode(files / "good2.mp4", clip(2, frames=50)[0], 10, audio, RATE)
    media.encode(files / "mute.mp4", video, 10, None, RATE)
    media.encode(files / "short.mp4", video[:15], 10, audio[:, :24000], RATE)
    (files / "text.mp4").write_text("This is a page about a film, not the film.\n" * 50)
    with wave.open(str(files / "sound.wav"), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes((audio[0] * 32000).astype(np.int16).tobytes())
    with FileServer(files) as server:
        served = ("good.mp4", "mute.mp4", "short.mp4", "text.mp4", "sound.wav")
        rows = [f"{Path(name).stem},{server.url(name)}" for name in served]
        rows += [f"gone,{server.url('good.mp4', 'status/404')}", "refused,http://127.0.0.1:9/film.mp4"]
        rows += ["local,files/good2.mp4", "absent,files/nothing.mp4"]
        (made / "mixed.csv").write_text("id,url\n" + "\n".join(rows) + "\n")
        (made / "recipe.toml").write_text(RECIPE)
        yield made


@pytest.fixture(scope="module")
def built(folder: Path) -> subprocess.CompletedProcess[str]:
    return avbench(
        "build-dataset", "mixed.csv", "--recipe", "recipe.toml", "--out", "out", "--workers", "2", cwd=folder
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("mute", "sound"),
        ("sound", "picture"),
        ("short", "too short"),
        ("text", "not"),
        ("gone", "404"),
        ("refused", "127.0.0.1"),
        ("absent", "nothing.mp4"),
    ],
)
def test_every_bad_source_is_listed_with_its_reason(
    built: subprocess.CompletedProcess[str], source: str, words: str
) -> None:
    lines = [line for line in built.stdout.splitlines() if f" {source}: " in line]
    assert len(lines) == 1, built.stdout
    assert words in lines[0]


def test_the_good_sources_are_built_and_the_exit_code_is_2(
    built: subprocess.CompletedProcess[str], folder: Path
) -> None:
    assert built.returncode == 2
    assert "Traceback" not in built.stderr + built.stdout
    index = load_index(folder / "out")
    assert sorted(index["source_id"].unique()) == ["good", "local"]
    assert len(index) == 4


def test_the_same_command_tries_failures_again_and_keeps_what_is_done(
    built: subprocess.CompletedProcess[str], folder: Path
) -> None:
    before = (folder / "out" / "shards" / "index.parquet").read_bytes()
    again = avbench(*BUILD, cwd=folder)
    assert again.returncode == 2
    assert "already" in again.stdout
    assert (folder / "out" / "shards" / "index.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("name\nx\n", "there is no column 'url'; the columns are 'name'"),
        ("id,url\na,x.mp4\na,y.mp4\n", "lines 2 and 3 both have the id 'a'"),
        ("id,url\n../a,x.mp4\n", "the id '../a' is not allowed"),
        ("id,url\na,../../x.mp4\n", "leaves the folder of the table"),
        ("id,url\na,file:///etc/passwd\n", "begins with 'file:'"),
        ("", "the file is empty"),
    ],
)
def test_a_bad_table_is_one_sentence_and_leaves_nothing(tmp_path: Path, table: str, sentence: str) -> None:
    (tmp_path / "t.csv").write_text(table)
    done = avbench("build-dataset", "t.csv", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_stops_with_one_sentence_and_the_same_command_goes_on(folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    (folder / "one.csv").write_text("id,url\na,files/good.mp4\nb,files/good2.mp4\n")
    command = [
        "build-dataset",
        str(folder / "one.csv"),
        "--recipe",
        str(folder / "recipe.toml"),
        "--out",
        str(disk / "out"),
    ]
    try:
        (disk / "filler").write_bytes(bytes(450_000))
        done = avbench(*command, cwd=tmp_path)
        assert done.returncode == 2, done.stdout
        assert "disk" in done.stderr
        assert "Traceback" not in done.stderr
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        done = avbench(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr + done.stdout
        assert len(load_index(disk / "out")) == 4
    finally:
        subprocess.run(["umount", "-l", disk], check=False)
