"""The drawing of a clip's events: everything stands at its time, and what is matched is joined."""

from __future__ import annotations

import re

from avbench.leaderboard.timeline import MAX_POINTS, ticks, timeline
from avbench.metrics._peaks import Matches


def paths(svg: str, kind: str) -> list[str]:
    return re.findall(rf'class="{kind}" d="([^"]*)"', svg)


def test_time_runs_from_left_to_right_over_the_whole_width() -> None:
    found = Matches([0.4, 1.2], [0.8], [(1.2, 0.8)])
    svg = str(timeline(found, [0.0] * 8 + [2.0] + [0.0] * 7, 10, 1.6, "words"))
    assert paths(svg, "onset") == ["M250.0 4V30.0"]
    assert paths(svg, "onset matched") == ["M750.0 4V30.0"]
    assert paths(svg, "pair") == ["M750.0 30L500.0 52"]
    assert paths(svg, "peak matched") == ["M500.0 52V58.0"]  # it ends at the top of the curve
    assert paths(svg, "motion")[0].split("L")[8] == "500.0 58.0"
    assert 'aria-label="words"' in svg


def test_the_floor_is_drawn_where_there_is_one() -> None:
    assert len(paths(str(timeline(Matches([], [], []), [0.01] * 4, 10, 0.4, "")), "floor")) == 1
    assert not paths(str(timeline(Matches([], [], [], floor_px=0.0), [0.01] * 4, 10, 0.4, "")), "floor")


def test_words_are_escaped_and_no_picture_is_no_curve() -> None:
    svg = str(timeline(Matches([], [], []), [], 10, 1.0, '"><script>'))
    assert "<script>" not in svg
    assert not paths(svg, "motion")


def test_a_long_curve_keeps_its_peaks() -> None:
    motion = [0.0] * 5000
    motion[3333] = 7.0
    (curve,) = paths(str(timeline(Matches([], [], []), motion, 25, 200.0, "")), "motion")
    points = [point.split() for point in curve.removeprefix("M").split("L")]
    assert len(points) <= MAX_POINTS
    at, _ = min(points, key=lambda point: float(point[1]))
    assert abs(float(at) - 1000 * 3333 / 25 / 200) < 1.5


def test_ticks_are_round_seconds() -> None:
    assert ticks(1.6) == [(0, "0"), (0.5, "0.5"), (1.0, "1"), (1.5, "1.5")]
    assert [label for _, label in ticks(34.0)] == ["0", "10", "20", "30"]
