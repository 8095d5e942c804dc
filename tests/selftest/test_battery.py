"""The sensitivity battery: what it asks, how it judges, and that metrics pass on rendered impacts."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from avbench import registry
from avbench.curate import synthetic
from avbench.errors import UserError
from avbench.features._base import VideoFeature
from avbench.protocol import Protocol
from avbench.selftest import battery, report
from avbench.selftest._excerpts import CLEAN, Key, Version
from avbench.selftest.battery import Battery, Cell, Point
from avbench.selftest.distortions import DISTORTIONS, seconds_needed

BY_NAME = {distortion.name: distortion for distortion in DISTORTIONS}


def protocol(*metrics: str, **settings: object) -> Protocol:
    return Protocol.model_validate(
        {"name": "small", "metrics": metrics, "frames": 16, "fps": 10, "size": 32, "min_n": 2} | settings
    )


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight films of impacts that are seen and heard, 15 s each: four excerpts of 3.6 s."""
    return rendered(tmp_path_factory.mktemp("impacts"), 8, seconds=15)


def rendered(folder: Path, count: int, seconds: float) -> Path:
    for seed in range(count):
        query = {"seed": str(seed), "seconds": str(seconds), "width": "64", "height": "48", "fps": "10"}
        synthetic.render(query, folder / f"{seed}.mp4")
    return folder


def run(clips: Path, *metrics: str, distortions: str) -> dict[str, Cell]:
    chosen = [BY_NAME[name] for name in distortions.split()]
    found = battery.run(clips, protocol(*metrics), windows=16, distortions=chosen)
    assert (found.n_recordings, found.n_distorted, found.n_reference) == (8, 16, 16)
    return {f"{cell.metric} {cell.distortion}": cell for cell in found.cells}


@pytest.mark.slow
def test_distances_rise_with_what_they_see_and_stand_still_at_what_they_cannot(clips: Path) -> None:
    cells = run(clips, "mel_fd", "flow_fd", distortions="noise mute hiss")
    for name in ("flow_fd noise", "mel_fd mute", "mel_fd hiss"):
        assert cells[name].judgement == "sees", cells[name]
        assert cells[name].rho > 0.9
        assert cells[name].change > 0
    for name in ("mel_fd noise", "flow_fd mute", "flow_fd hiss"):
        assert cells[name].judgement == "still"
        assert cells[name].change == 0


@pytest.mark.slow
def test_alignment_falls_when_sound_and_picture_part(clips: Path) -> None:
    cells = run(clips, "av_align", distortions="mute offset")
    assert cells["av_align mute"].judgement == "sees"
    assert cells["av_align mute"].rho > 0.9
    assert cells["av_align offset"].change > 0.05


@pytest.mark.slow
def test_the_same_clips_give_the_same_numbers_and_files(clips: Path, tmp_path: Path) -> None:
    first, second = (battery.run(clips, protocol("mel_fd"), windows=8, distortions=[BY_NAME["hiss"]]) for _ in range(2))
    assert first == second
    one, two = (report.write(found, tmp_path / name) for found, name in ((first, "a"), (second, "b")))
    assert [path.name for path in one] == ["battery.csv", "battery.parquet", "battery.md", "battery-sound.svg"]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    numbers = pd.read_csv(one[0])
    assert list(numbers.strength) == [0.0, *BY_NAME["hiss"].strengths]
    assert numbers.value.iloc[0] > 0, "two clean halves are not at distance 0"
    pd.testing.assert_frame_equal(pd.read_parquet(one[1]), numbers, rtol=1e-5)


class Colours(VideoFeature):
    """Stands for I3D: mean colour of the four quarters of time."""

    name = "i3d"
    dim = 12
    min_frames = 9

    def _embed(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.float().unflatten(1, (4, -1)).mean(dim=(2, 3, 4)).flatten(1)


@pytest.mark.slow
def test_metrics_of_networks_are_watched_too(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = battery.features.load
    monkeypatch.setattr(battery.features, "load", lambda name, **o: Colours() if name == "i3d" else load(name, **o))
    cells = run(clips, "fvd", "kvd", "mel_fd", distortions="freeze mute")
    assert cells["fvd freeze"].meant == cells["kvd freeze"].meant == "worse"
    assert cells["fvd freeze"].change > 0
    assert cells["fvd mute"].judgement == cells["kvd mute"].judgement == "still"


def test_too_few_recordings_are_refused_in_a_sentence(tmp_path: Path) -> None:
    rendered(tmp_path, 3, seconds=8)
    with pytest.raises(UserError, match=r"gives 3 \+ 3 windows of 3 recordings; the battery needs 8 \+ 8 of 4"):
        battery.run(tmp_path, protocol("mel_fd"), distortions=[])
    with pytest.raises(UserError, match="no frame rate"):
        battery.run(tmp_path, protocol("mel_fd", fps=None))


def test_a_metric_without_its_weights_is_skipped_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path))
    names, networks, skipped = battery._runnable(protocol("fvd", "mel_fd"), "cpu")
    assert (names, networks) == (("mel_fd",), {})
    assert "avbench weights fetch i3d" in skipped["fvd"]
    with pytest.raises(UserError, match="no metric of protocol small runs on this machine"):
        battery._runnable(protocol("fvd"), "cpu")


def test_each_excerpt_stands_on_one_side_and_neighbours_on_different_ones(tmp_path: Path) -> None:
    from avbench import inputs

    whole = protocol("mel_fd", "flow_fd", frames=36, windows="tile")
    items, _ = inputs.reference(rendered(tmp_path, 2, seconds=15), whole)
    sides = [
        [Key.read(window.window_id).is_reference for window in Version(item, place, CLEAN, 9, 16).windows(whole)]
        for place, item in enumerate(items)
    ]
    assert sides == [[True, False, True, False], [False, True, False, True]]
    spoilt = list(Version(items[0], 0, "noise", 9, 16).windows(whole))
    keys = [Key.read(window.window_id) for window in spoilt]
    assert keys == [Key("noise", step, False) for _ in range(2) for step in range(1, 11)]
    assert spoilt[0].signals.video.shape == (16, 32, 32, 3)
    assert spoilt[0].signals.audio.shape == (1, round(1.6 * 16000))


def test_every_metric_has_something_to_see_and_none_is_asked_to_see_the_other_stream() -> None:
    for metric in registry.names("metric"):
        if registry.module("metric", metric).KIND == "prompted":
            continue
        asked = {distortion.name: battery.meant(metric, distortion) for distortion in DISTORTIONS}
        assert "worse" in asked.values(), metric
    assert battery.meant("mel_fd", BY_NAME["blur"]) == "still"
    assert battery.meant("mel_fd", BY_NAME["offset"]) == "still"
    assert battery.meant("flow_fd", BY_NAME["hiss"]) == "still"
    assert battery.meant("av_align", BY_NAME["offset"]) == "worse"
    assert battery.meant("av_align", BY_NAME["noise"]) == "any"


def curve(changes: list[float], error: float = 0.1) -> list[Point]:
    return [
        Point("mel_fd", "hiss", "rms", float(k), 5 + change, error, change, error if k else 0.0, error, 16)
        for k, change in enumerate(changes)
    ]


@pytest.mark.parametrize(
    ("changes", "should", "sign", "judgement", "told_from"),
    [
        ([0, 0.05, 0.3, 0.5], "worse", 1, "sees", 2),
        ([0, -0.05, -0.3, -0.5], "worse", -1, "sees", 2),
        ([0, -0.05, -0.3, -0.5], "worse", 1, "WRONG WAY", 2),
        ([0, 0.5, 0.2, 0.6], "worse", 1, "NOT MONOTONE", 1),
        ([0, 0.5, 0.45, 0.6], "worse", 1, "sees", 1),
        ([0, 0.02, 0.05, 0.09], "worse", 1, "faint", None),
        ([0, 0.02, -0.05, 0.01], "worse", 1, "DOES NOT SEE", None),
        ([0, 0.5, 0.05, 0.02], "worse", 1, "DOES NOT SEE", None),
        ([0, 0, 0, 0], "worse", 1, "DOES NOT SEE", None),
        ([0, 0, 0, 0], "still", 1, "still", None),
        ([0, 0.12, -0.12, 0], "still", 1, "still", None),
        ([0, 0.2, 0, 0], "still", 1, "MOVES", None),
        ([0, -0.5, 0.9, 0.9], "any", 1, "", 2),
        ([0, 0.2, math.nan, 0.4], "worse", 1, "sees", 1),
    ],
)
def test_judgement(changes: list[float], should: battery.Meant, sign: float, judgement: str, told_from: float) -> None:
    cell = battery._cell(curve(changes), should, sign)
    assert (cell.judgement, cell.told_from) == (judgement, told_from)
    assert cell.is_fault == (judgement.upper() == judgement != "")


def test_the_table_says_what_each_metric_makes_of_each_distortion() -> None:
    found = Battery("small@0", 8, 16, 16)
    found.cells = [
        battery._cell(curve([0, 0.05, 0.3, 0.5]), "worse", 1),
        battery._cell(curve([0, 0.0, 0.0, 0.0]), "still", 1),
        battery._cell(curve([0, 0.1, -0.05, 0.05], 0.2), "worse", 1),
        battery._cell(curve([0, -0.2, -0.3, -0.5]), "any", 1),
    ]
    assert [report.describe(cell) for cell in found.cells] == [
        "sees; worse from 2, rho 1.00",
        "still",
        "**does not see**; rho 0.00",
        "(better from 1, rho -1.00)",
    ]
    still = dataclasses.replace(found.cells[1], distortion="blur")
    assert report.table(Battery("x", 8, 1, 1, cells=[found.cells[0], still])) == [
        "| sound | `mel_fd` |",
        "|---|---|",
        "| hiss | sees; worse from 2, rho 1.00 |",
    ]


def test_an_excerpt_holds_the_longest_offset_and_the_fastest_picture() -> None:
    assert seconds_needed(1.6) == pytest.approx(3.6)
    assert seconds_needed(4.0) == pytest.approx(8.0)
    assert np.isclose(max(BY_NAME["offset"].strengths), 2.0)
