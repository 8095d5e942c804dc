"""Sound and picture of a window belong together: in rendered clips, what is heard is seen in the same frame.

The balls of `avbench.curate.synthetic` make a white ring on dark ground in the frame of a contact, and a sound that
begins at its first sample. Both are looked for in what the loader returns, knowing nothing of each other.
"""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from avbench import media
from avbench.curate.build import Build
from avbench.curate.synthetic import event_times_s
from avbench.dataset import load_index
from avbench.errors import UserError
from avbench.training.archive import ArchiveReader
from avbench.training.loader import WindowLoader, WindowSpec

pytestmark = pytest.mark.slow

RATE, SIZE = 16000, 64
WINDOW_S = 1.6
SOURCES = [
    {"kind": "impacts", "seed": str(seed), "seconds": "9", "width": "128", "height": "128", "bodies": "1"}
    for seed in (3, 8, 12)
]
RECIPE = """
[segment]
clip_s = 6.4
lead_s = 1.1
fps = 30
width = 128
height = 128
sample_rate_hz = 48000
channels = 2

[view]
size = 64
fps = {fps}

[shard]
train = 1.0
validation = 0.0
test = 0.0
"""


def window(fps: int) -> WindowSpec:
    return WindowSpec(round(WINDOW_S * fps), fps, SIZE, round(WINDOW_S * RATE), RATE)


@pytest.fixture(scope="module", params=[10, 30])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three rendered sources, through the ordinary stages, with a view at 10 or 30 fps."""
    folder = tmp_path_factory.mktemp("sync")
    rows = [f"s{i},synthetic:" + "&".join(f"{k}={v}" for k, v in query.items()) for i, query in enumerate(SOURCES)]
    (folder / "sources.csv").write_text("id,url\n" + "\n".join(rows) + "\n")
    (folder / "recipe.toml").write_text(RECIPE.format(fps=request.param))
    out = folder / "out"
    build = Build.open(str(folder / "sources.csv"), out=out, recipe=str(folder / "recipe.toml"))
    with build.lock():
        for stage in ("download", "segment", "filter", "shard"):
            assert not build.stage(stage, 1).failed
    return out


def seen_s(video: np.ndarray, fps: int) -> np.ndarray:
    """Times at which the ground becomes brighter from one frame to the next."""
    ground = video[:, round(0.83 * SIZE) :].mean(axis=(1, 2, 3))
    return (np.flatnonzero(np.diff(ground) > 4) + 1) / fps


def heard_s(audio: np.ndarray) -> np.ndarray:
    """Times at which the highs of the sound become louder than they were in the 30 ms before."""
    block = RATE // 500
    highs = np.diff(audio, n=2)[: len(audio) // block * block - block]
    level = np.sqrt((highs.reshape(-1, block) ** 2).mean(axis=1))
    found: list[float] = []
    for i in range(15, len(level)):
        time_s = i * block / RATE
        if level[i] > 4 * level[i - 15 : i].max() and (not found or time_s - found[-1] > 0.1):
            found.append(time_s)
    return np.array(found)


def agreement(pairs: list[tuple[np.ndarray, np.ndarray]], fps: int) -> tuple[float, int]:
    """Share of contacts seen or heard inside windows that the other sense has within a frame, and how many they are."""
    hits: list[bool] = []
    for video, audio in pairs:
        seen, heard = seen_s(video, fps), heard_s(audio)
        for mine, other in ((seen, heard), (heard, seen)):
            inside = mine[(mine > 2 / fps) & (mine < WINDOW_S - 2 / fps)]
            hits += [len(other) > 0 and bool(np.abs(other - time_s).min() <= 1 / fps) for time_s in inside]
    return float(np.mean(hits)), len(hits)


def every_window(loader: WindowLoader) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """The window at every start frame, by clip."""
    last = [int(frames) - loader.window.frames for frames in loader.rows["view_frames"]]
    return [[loader.window_at(row, start) for start in range(end + 1)] for row, end in enumerate(last)]


@pytest.fixture(scope="module")
def loader(root: Path) -> WindowLoader:
    fps = int(load_index(root)["view_fps"].iloc[0])
    return WindowLoader(root, "train", window(fps), seed=0)


@pytest.fixture(scope="module")
def clips(loader: WindowLoader) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    return every_window(loader)


def test_what_is_heard_is_seen_in_the_same_frame_at_every_window_start(
    loader: WindowLoader, clips: list[list[tuple[np.ndarray, np.ndarray]]]
) -> None:
    share, contacts = agreement([pair for windows in clips for pair in windows], int(loader.window.fps))
    assert contacts > 300
    assert share == 1.0


def test_contacts_are_found_when_the_renderer_made_them(
    loader: WindowLoader, clips: list[list[tuple[np.ndarray, np.ndarray]]]
) -> None:
    fps = loader.window.fps
    for query, windows, begin in zip(SOURCES, clips, loader.rows["start_s"], strict=True):
        for start in range(0, len(windows), 7):
            video, audio = windows[start]
            due = np.array(event_times_s(query)) - begin - start / fps
            due = due[(due > 0.1) & (due < WINDOW_S - 0.1)]
            heard, seen = heard_s(audio), seen_s(video, int(fps))
            assert all(np.abs(heard - time_s).min() < 0.004 for time_s in due)
            assert all(np.abs(seen - time_s).min() < 1 / fps + 1e-6 for time_s in due)


def test_sound_of_another_moment_is_noticed(
    loader: WindowLoader, clips: list[list[tuple[np.ndarray, np.ndarray]]]
) -> None:
    fps = int(loader.window.fps)
    shuffled, late = [], []
    for windows, others in pairwise([*clips, clips[0]]):
        shuffled += [(video, audio) for (video, _), (_, audio) in zip(windows, others, strict=True)]
        late += [(video, audio) for (video, _), (_, audio) in zip(windows, windows[2:], strict=False)]
    assert agreement(shuffled, fps)[0] < 0.6
    assert agreement(late, fps)[0] < 0.6


def test_the_archive_clip_of_a_sample_shows_the_same_moment_larger(loader: WindowLoader, root: Path) -> None:
    archive = ArchiveReader(root, "train")
    assert len(archive) == len(loader)
    for g in range(4):
        row, start = loader.place(g)
        on_sample_s = round(start / loader.window.fps * RATE) / RATE  # 1/30 s is no whole number of samples
        video, audio = archive.read(
            row, start_s=on_sample_s, seconds=WINDOW_S, fps=30, size=(SIZE, SIZE), sample_rate_hz=RATE,
            mono=True,
        )  # fmt: skip
        assert video.shape == (48, SIZE, SIZE, 3)
        assert audio.shape == (1, 25600)
        assert agreement([(video, audio[0])], 30)[0] == 1.0
        small, sound = loader.window_at(row, start)
        np.testing.assert_allclose(audio[0], sound, atol=2e-3)
        assert np.abs(video[0].astype(int) - small[0]).max() <= 1


def test_the_archive_gives_the_clip_as_it_was_cut(root: Path) -> None:
    archive = ArchiveReader(root, "train")
    with archive.mp4(1) as path:
        assert path.read_bytes() == (root / "work" / "clips" / path.name).read_bytes()
        whole = media.decode_video(path)
    assert not path.exists()
    video, audio = archive.read(1)
    assert audio.shape == (2, round(6.4 * 48000))
    np.testing.assert_array_equal(video, whole)


@pytest.mark.parametrize("span", [{"start_s": -0.1}, {"start_s": 6.0, "seconds": 0.5}, {"start_s": 6.4}])
def test_a_span_outside_the_clip_is_refused(root: Path, span: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"does not lie in the clip, which lasts 6\.4 s"):
        ArchiveReader(root, "train").read(0, **span)


def test_a_changed_byte_of_an_archive_clip_is_noticed(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "shards", tmp_path / "shards")
    shard = tmp_path / "shards" / "train-00000.tar"
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1  # inside the mp4 of the first clip of the tar
    shard.write_bytes(data)
    archive = ArchiveReader(tmp_path, "train")
    failures = []
    for row in range(len(archive)):
        try:
            archive.read(row, seconds=0.1)
        except UserError as error:
            failures.append(str(error))
    assert len(failures) == 1
    assert "train-00000.tar: damaged: the mp4 of" in failures[0]
