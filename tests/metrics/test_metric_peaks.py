"""What the alignment metrics share: peaks of a curve, and one evidence for all of them."""

from __future__ import annotations

import json
import typing
from pathlib import Path

import pytest

from avbench import registry
from avbench.features._onsets import onset_times
from avbench.media import encode
from avbench.metrics import _peaks
from avbench.metrics._base import ClipSignals
from avbench.metrics._peaks import MIN_FLOW_PX, Peaks, evidence, evidence_of_file
from tests.events import clicks, jolts


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """The first onsets of a process compile librosa's peak picking, which takes seconds."""
    onset_times(clicks([0.5], 1, 22_050), 22_050)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 0], [0.1]),
        ([2, 1, 2], []),  # neither end is a peak
        ([0, 1, 1, 0], []),  # nor a plateau
        ([0, 0.1, 0], [0.1]),
        ([0, 0.0999, 0], []),
        ([0, 1, 0, 2, 0, 0.05, 0], [0.1, 0.3]),
        ([0, 1], []),
        ([], []),
    ],
)
def test_local_maxima_of_at_least_the_floor(values: list[float], expected: list[float]) -> None:
    assert _peaks.local_maxima_times(values, 10, MIN_FLOW_PX) == pytest.approx(expected)


def test_without_a_floor_every_local_maximum_counts() -> None:
    assert _peaks.local_maxima_times([0, 1e-9, 0, 2, 0], 10) == pytest.approx([0.1, 0.3])


def test_the_three_metrics_share_one_evidence_so_flow_runs_once() -> None:
    found = {registry.module("metric", name).evidence for name in ("av_align", "av_align_javis", "av_align_ms")}
    assert found == {evidence}
    assert typing.get_type_hints(evidence)["return"] is Peaks


@pytest.mark.parametrize("name", ["av_align", "av_align_javis", "av_align_ms"])
def test_what_is_drawn_is_what_is_scored(name: str) -> None:
    module = registry.module("metric", name)
    peaks = Peaks([0.35, 0.52, 0.9], [0.5, 0.8], 10, [0.48, 0.52], [0, 0, 0, 0, 0, 1, 0, 0, 2, 0])
    onsets, motions, pairs, _ = module.matches(peaks)
    assert module.pair(peaks, peaks) == pytest.approx(len(pairs) / (len(onsets) + len(motions) - len(pairs)), rel=1e-5)
    assert {a for a, _ in pairs} <= set(onsets)
    assert {v for _, v in pairs} <= set(motions)


def test_evidence_survives_json_unchanged() -> None:
    clip = ClipSignals(jolts([4, 9], 16), 10, clicks([0.41, 0.9], 1.6, 16_000), 16_000)
    found = evidence(clip)
    assert found.audio_times_s
    assert found.video_times_s
    assert found.audio_native_times_s != found.audio_times_s
    assert len(found.motion_px) == 16
    assert Peaks(**json.loads(json.dumps(found._asdict()))) == found


def test_a_file_and_its_arrays_have_the_same_events(tmp_path: Path) -> None:
    times = [0.4, 1.0, 1.5, 2.2]
    video, audio = jolts([round(t * 10) for t in times], 30), clicks(times, 3, 22_050)
    encode(tmp_path / "clip.mp4", video, 10, audio, 22_050)
    found, expected = evidence_of_file(tmp_path / "clip.mp4"), evidence(ClipSignals(video, 10, audio, 22_050))
    assert found.fps == 10
    assert found.audio_times_s == found.audio_native_times_s
    assert set(expected.audio_times_s) <= set(found.audio_times_s)  # the codec adds a faint one
    assert expected.audio_times_s == pytest.approx(times, abs=0.05)
    assert found.video_times_s == expected.video_times_s == pytest.approx(times)
