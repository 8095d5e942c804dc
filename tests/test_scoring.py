"""Scoring a folder: what is counted, what is refused, and that the numbers point the right way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avbench import protocol as protocols
from avbench.errors import MediaError, UserError
from avbench.inputs import FileItem, outputs, reference
from avbench.protocol import Protocol
from avbench.schema import Score
from avbench.scoring import ScoreResult, score
from tests.clips import write_mp4, write_npz

RULES = Protocol(
    name="toy", metrics=("av_align", "mel_fd", "flow_fd"), frames=16, fps=10, size=32, windows="tile", n=64, min_n=4,
    interval_draws=10,
)  # fmt: skip


def folder(root: Path, seeds: range, **options: float) -> Path:
    for seed in seeds:
        write_npz(root / f"clip-{seed:03d}.npz", seed, **options)
    return root


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("real"), range(100, 112))


def by_name(result: ScoreResult) -> dict[str, Score]:
    return {item.metric: item for item in result.scores}


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory, real: Path) -> ScoreResult:
    return score(folder(tmp_path_factory.mktemp("alike"), range(12)), real, RULES)


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory, real: Path) -> ScoreResult:
    """Clips almost without sound, at half the frame content."""
    return score(folder(tmp_path_factory.mktemp("worse"), range(12), loud=0.0), real, RULES)


def test_every_metric_has_a_value_an_interval_and_a_floor(alike: ScoreResult) -> None:
    assert [item.metric for item in alike.scores] == list(RULES.metrics)
    for item in alike.scores:
        assert item.value is not None
        assert item.interval is not None
        assert item.interval[0] <= item.value <= item.interval[1]
        assert item.n_used == 12
        assert item.n_asked == 64
    assert by_name(alike)["mel_fd"].floor is not None
    assert any("asks for 64" in warning for warning in by_name(alike)["mel_fd"].warnings)


def test_clips_like_the_reference_score_better(alike: ScoreResult, worse: ScoreResult) -> None:
    assert by_name(alike)["mel_fd"].value < 0.2 * by_name(worse)["mel_fd"].value
    assert by_name(alike)["av_align"].value > by_name(worse)["av_align"].value


def test_alignment_stands_beside_its_chance_level(alike: ScoreResult, worse: ScoreResult) -> None:
    found = by_name(alike)["av_align"]
    assert found.floor_kind.startswith("chance")
    assert found.value == pytest.approx(np.mean([row["av_align"] for row in alike.per_clip]))
    # every clip jumps at the same frames, so the sound of another clip fits as well as its own
    assert found.floor == pytest.approx(found.value, abs=0.15)
    assert by_name(worse)["av_align"].floor < found.floor


def test_a_per_clip_metric_takes_the_options_of_the_protocol(tmp_path: Path, real: Path) -> None:
    folder(tmp_path, range(4))
    rules = RULES.model_copy(update={"metrics": ("av_align_ms",), "estimators": {"av_align_ms": {"tolerance_ms": 1.0}}})
    (strict,) = score(tmp_path, real, rules).scores
    (loose,) = score(tmp_path, real, rules.model_copy(update={"estimators": {}})).scores
    assert strict.value < loose.value
    assert strict.floor < loose.floor


def test_scores_do_not_depend_on_the_number_of_workers(tmp_path: Path, real: Path, alike: ScoreResult) -> None:
    again = score(folder(tmp_path / "alike", range(12)), real, RULES, workers=2)
    assert [item.value for item in again.scores] == [item.value for item in alike.scores]
    assert [item.interval for item in again.scores] == [item.interval for item in alike.scores]


def test_a_protocol_with_networks_leaves_their_cells_empty_with_the_reason(
    tmp_path: Path, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path / "none"))
    rules = RULES.model_copy(update={"metrics": ("mel_fd", "fvd", "fad")})
    scores = by_name(score(folder(tmp_path / "some", range(4)), real, rules))
    assert scores["mel_fd"].value is not None
    for name in ("fvd", "fad"):
        assert scores[name].value is None
        assert "avbench weights fetch" in scores[name].reason
        assert "MB" in scores[name].reason


def test_bad_files_are_failures_with_reasons_and_the_rest_is_scored(tmp_path: Path, real: Path) -> None:
    folder(tmp_path, range(6))
    (tmp_path / "broken.mp4").write_bytes(b"this is no video")
    write_npz(tmp_path / "short.npz", 9, frames=8)
    video, audio = np.zeros((16, 32, 32, 3), np.uint8), np.full((1, 25600), np.nan, np.float32)
    np.savez(tmp_path / "nan.npz", video=video, audio=audio, fps=10.0, sample_rate_hz=16000)
    result = score(tmp_path, real, RULES)
    assert result.n_used == 6
    assert set(result.failed) == {"broken.mp4", "short.npz", "nan.npz"}
    assert "shorter than one window" in result.failed["short.npz"]
    assert "NaN" in result.failed["nan.npz"]


def test_too_few_usable_clips_are_refused_with_the_first_reason(tmp_path: Path, real: Path) -> None:
    folder(tmp_path, range(2))
    write_npz(tmp_path / "short.npz", 9, frames=8)
    with pytest.raises(UserError, match=r"gives 2 usable windows .* needs 4; 1 files failed, the first: .*short.npz"):
        score(tmp_path, real, RULES)


def test_empty_single_and_absent_folders_are_refused(tmp_path: Path, real: Path) -> None:
    with pytest.raises(UserError, match="holds no clip"):
        outputs(tmp_path, RULES)
    write_npz(tmp_path / "only.npz", 1)
    with pytest.raises(UserError, match=r"holds one clip \(only.npz\)"):
        outputs(tmp_path, RULES)
    with pytest.raises(UserError, match="no such folder"):
        outputs(tmp_path / "absent", RULES)
    with pytest.raises(UserError, match="both as outputs and as reference"):
        score(real, real, RULES)


def test_a_lossless_twin_counts_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_npz(tmp_path / f"{name}.npz", 1)
        write_mp4(tmp_path / f"{name}.mp4", 1)
    write_mp4(tmp_path / "c.mp4", 3)
    items, failed = outputs(tmp_path, RULES)
    assert [item.item_id for item in items] == ["a.npz", "b.npz", "c.mp4"]
    assert not failed


def test_a_long_file_gives_tiles_or_its_first_window(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "long.npz", 1, frames=40)
    assert [w.window_id for w in FileItem(path).windows(RULES)] == ["long@0", "long@16"]
    first = RULES.model_copy(update={"windows": "first"})
    assert [w.window_id for w in FileItem(path).windows(first)] == ["long@0"]


def test_tensors_at_another_frame_rate_are_refused_and_files_are_resampled(tmp_path: Path) -> None:
    slow = RULES.model_copy(update={"fps": 8, "frames": 8})
    with pytest.raises(MediaError, match=r"write these clips as .mp4"):
        list(FileItem(write_npz(tmp_path / "a.npz", 1)).windows(slow))
    windows = list(FileItem(write_mp4(tmp_path / "a.mp4", 1)).windows(slow))
    assert windows[0].signals.video.shape == (8, 32, 32, 3)
    assert windows[0].signals.audio.shape == (1, 16000)


def test_a_reference_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a finished dataset"):
        reference(tmp_path, RULES)


def test_a_protocol_id_changes_with_its_settings_and_not_with_its_words() -> None:
    other = RULES.model_copy(update={"description": "other words", "source": "elsewhere"})
    assert other.id == RULES.id
    for change in ({"frames": 17}, {"n": 65}, {"metrics": ("mel_fd",)}, {"resize": "area"}):
        assert RULES.model_copy(update=change).id != RULES.id


@pytest.mark.parametrize("name", ["demo-v1", "mmdiffusion"])
def test_shipped_protocols_load_and_say_where_they_come_from(name: str) -> None:
    rules = protocols.load(name)
    assert rules.name == name
    assert rules.source
    assert rules.description


def test_unknown_names_offer_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean demo-v1"):
        protocols.load("demo-v2")
    path = tmp_path / "mine.toml"
    path.write_text('name = "m"\nmetrics = ["fvdd"]\nframes = 16\nfps = 10\nsize = 64\n')
    with pytest.raises(UserError, match="did you mean fvd"):
        protocols.load(str(path))
    path.write_text('name = "m"\nmetrics = ["fvd"]\nframe = 16\nfps = 10\nsize = 64\n')
    with pytest.raises(UserError, match="unknown key 'frame'; did you mean 'frames'"):
        protocols.load(str(path))
