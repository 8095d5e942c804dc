"""Bars and threshold lines stand where the values are."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from avbench.inspection import histogram
from avbench.inspection.histogram import Layer


def shapes(drawing: str, style: str) -> list[dict[str, float]]:
    """x, y, width and height of the bars of one class."""
    found = re.findall(rf'<rect class="{style}" ([^>]*)>', drawing)
    return [{key: float(value) for key, value in re.findall(r'(\w+)="([-\d.]+)"', text)} for text in found]


def lines(drawing: str) -> list[float]:
    """x of each threshold line, 0 to 1000."""
    return [float(x) for x in re.findall(r'class="bound[^"]*" d="M([\d.]+) ', drawing)]


def test_a_threshold_stands_between_the_bars_of_what_it_keeps_and_drops() -> None:
    kept, dropped = [0.0, 0.1, 0.3, 0.89, 0.9], [0.93, 1.0]
    scale = histogram.axis(kept + dropped, [(None, 0.9)])
    drawing = histogram.stacked(scale, [Layer("kept", "", kept), Layer("dropped", "", dropped)], (None, 0.9), "")
    (line,) = lines(drawing)
    assert line == pytest.approx(1000 * (0.9 - scale.low) / (scale.high - scale.low), abs=0.05)
    bin_width = 1000 / scale.bins
    assert all(bar["x"] <= line + 1.1 for bar in shapes(drawing, "kept"))  # 0.9 itself is kept: its bar begins there
    assert all(bar["x"] >= line + bin_width - 0.1 for bar in shapes(drawing, "dropped"))
    (shade,) = shapes(drawing, "out")
    assert (shade["x"], shade["x"] + shade["width"]) == (line, 1000)


def test_both_bounds_are_drawn_and_both_sides_shaded() -> None:
    scale = histogram.axis([1.0, 5.0, 9.0], [(2.0, 8.0)])
    drawing = histogram.stacked(scale, [Layer("kept", "", [1.0, 5.0, 9.0])], (2.0, 8.0), "")
    assert lines(drawing) == pytest.approx([10 * scale.place(2.0), 10 * scale.place(8.0)], abs=0.05)
    low, high = shapes(drawing, "out")
    assert (low["x"], low["width"]) == (0, lines(drawing)[0])
    assert high["x"] == lines(drawing)[1]


def test_a_value_on_an_edge_begins_a_bar_and_one_below_it_does_not() -> None:
    scale = histogram.axis([0.0, 5.0])
    assert scale.step == pytest.approx(0.1)
    for number in range(1, scale.bins - 1):
        edge = scale.edge(number)
        assert edge == pytest.approx(0.1 * number, abs=1e-12)
        assert scale.count([edge])[number] == 1
        assert scale.count([edge - 0.001])[number - 1] == 1


def test_layers_stand_on_each_other_and_the_tallest_fills_the_height() -> None:
    scale = histogram.axis([0.0, 1.0])
    layers = [Layer("kept", "kept", [0.0] * 6 + [1.0]), Layer("dropped", "dropped", [0.0] * 2)]
    drawing = histogram.stacked(scale, layers, (None, None), "seven & two")
    (first, last), (over,) = shapes(drawing, "kept"), shapes(drawing, "dropped")
    assert (first["height"], first["y"]) == (75, 25)
    assert (over["height"], over["y"]) == (25, 0)
    assert last["height"] == 12.5
    assert "6 kept, 2 dropped" in drawing
    assert 'aria-label="seven &amp; two"' in drawing


def test_one_clip_among_thousands_is_still_seen() -> None:
    scale = histogram.axis([0.0, 1.0])
    drawing = histogram.stacked(scale, [Layer("kept", "", [0.0] * 9999 + [1.0])], (None, None), "")
    assert shapes(drawing, "kept")[-1]["height"] >= 1.5


def test_values_far_away_and_far_bounds_do_not_squeeze_the_others() -> None:
    values = [*np.linspace(0, 1, 999), 1000.0]
    scale = histogram.axis(values, [(None, 2.0), (-5000.0, None)])
    assert scale.low <= 0 < 2.0 <= scale.high < 10
    assert scale.beyond(values) == 1
    assert scale.count(values)[-1] == 1  # counted in the last bar
    drawing = histogram.stacked(scale, [Layer("kept", "", values)], (-5000.0, 2.0), "")
    assert lines(drawing) == pytest.approx([10 * scale.place(2.0)], abs=0.05)


def test_the_only_bound_is_on_the_axis_however_far() -> None:
    scale = histogram.axis([8.0, 8.0], [(2000.0, None)])
    assert scale.holds(2000.0)
    assert scale.holds(8.0)


@pytest.mark.parametrize(
    ("value", "symbol", "text"),
    [(0.9, "%", "90%"), (-50.0, "LUFS", "-50 LUFS"), (8.0, "s", "8 s"), (0.08125, "", "0.08125")],
)
def test_a_value_is_written_as_the_reasons_write_it(value: float, symbol: str, text: str) -> None:
    assert histogram.shown(value, symbol) == text
    labels = [label for _, label in histogram.axis([0.0, 1.0], symbol=symbol).ticks()]
    assert labels == (["0%", "50%", "100%"] if symbol == "%" else ["0", "0.5", "1"])


def test_equal_values_have_an_axis_too() -> None:
    for value in (0.0, 8.0, -70.0):
        scale = histogram.axis([value, value])
        assert scale.low < value < scale.high
        assert scale.count([value]).sum() == 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=40),
    st.one_of(st.none(), st.floats(-1e3, 1e3, allow_subnormal=False)),
)
def test_every_value_is_counted_once_and_edges_are_round(values: list[float], bound: float | None) -> None:
    scale = histogram.axis(values, [(bound, None)])
    assert scale.count(values).sum() == len(values)
    assert scale.bins <= 2 * histogram.MAX_BINS
    assert float(f"{scale.step:.1e}") == pytest.approx(scale.step)
    if bound is not None:
        assert scale.holds(bound)
        assert 0 <= scale.place(bound) <= 100


def test_two_datasets_lie_over_each_other_as_shares() -> None:
    few, many = [0.0, 1.0], [0.0] * 30 + [1.0] * 10
    scale = histogram.axis(few + many)
    drawing = histogram.outlines(scale, [("set-0", few, (None, 0.5)), ("set-1", many, (None, 0.7))], "")
    assert histogram.tallest_share(scale, [few, many]) == 0.75
    heights = [
        100 - min(float(y) for y in re.findall(r"V([\d.]+)H", path))
        for path in re.findall(r' d="(M0 100[^"]*)"', drawing)
    ]
    assert heights == pytest.approx([100 * 0.5 / 0.75, 100], abs=0.1)
    assert lines(drawing) == pytest.approx([10 * scale.place(0.5), 10 * scale.place(0.7)], abs=0.05)
