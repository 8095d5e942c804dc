"""What every filter file owes: documented thresholds, a verdict with value and reason, and errors that help."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench import media, registry
from avbench.errors import UserError
from avbench.filters import _base
from avbench.filters._base import ClipFilter
from avbench.filters._signals import ClipSignals
from avbench.recipe import FilterSpec
from tests.filters.rendered import BREAKING, FPS, OPTIONS, RATE, STRICTER, good, signals, without_weights

NAMES = [name for name in registry.names("filter") if issubclass(registry.module("filter", name).Filter, ClipFilter)]
"""Filters that judge a clip by itself."""


def filter_class(name: str) -> type[ClipFilter]:
    return registry.module("filter", name).Filter


def made_filter(name: str, more: dict[str, dict[str, Any]] | None = None) -> ClipFilter:
    return filter_class(name).model_validate(OPTIONS.get(name, {}) | (more or {}).get(name, {}))


@pytest.fixture(autouse=True)
def _networks(monkeypatch: pytest.MonkeyPatch) -> None:
    without_weights(monkeypatch)


def encoded(folder: Path, name: str, content: tuple) -> ClipSignals:
    path = folder / f"{name}.mp4"
    media.encode(path, content[0], FPS, content[1], RATE, audio_codec="flac")
    return ClipSignals.decode(path)


@pytest.fixture(scope="module")
def good_clips(tmp_path_factory: pytest.TempPathFactory) -> list[ClipSignals]:
    """One clip, decoded twice."""
    folder = tmp_path_factory.mktemp("good")
    return [encoded(folder, "good", good()) for _ in range(2)]


@pytest.fixture
def good_clip(good_clips: list[ClipSignals]) -> ClipSignals:
    return good_clips[0]


def test_every_filter_has_a_clip_made_to_break_it() -> None:
    assert sorted(BREAKING) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_threshold_is_documented_with_the_origin_of_its_default(name: str) -> None:
    assert inspect.getdoc(registry.module("filter", name)), "the file says in one line what it drops"
    text = inspect.getdoc(filter_class(name)) or ""
    for threshold in filter_class(name).model_fields:
        entry = re.search(rf"^    {threshold}: .*?(?=^    \w+: |\Z)", text, re.DOTALL | re.MULTILINE)
        assert entry, f"{threshold} is not in the docstring"
        if filter_class(name).model_fields[threshold].is_required():
            continue
        assert re.search(r"Default -?[\d.]+: \S", entry[0]), f"{threshold}: no default with its origin"
        assert float(re.search(r"Default (-?[\d.]+):", entry[0])[1]) == getattr(made_filter(name), threshold)


@pytest.mark.parametrize("name", NAMES)
def test_keeps_a_good_clip_and_records_the_value(name: str, good_clip: ClipSignals) -> None:
    verdict = made_filter(name).judge(good_clip)
    assert verdict.keep, verdict.reason
    assert (verdict.filter, verdict.reason) == (name, "")
    assert isinstance(verdict.value, float)


@pytest.mark.parametrize("name", NAMES)
def test_drops_the_clip_made_to_break_it_and_says_value_and_threshold(name: str, tmp_path: Path) -> None:
    made = made_filter(name, STRICTER)
    verdict = made.judge(encoded(tmp_path, name, BREAKING[name]()))
    assert not verdict.keep
    numbers = [float(n) / (100 if per else 1) for n, per in re.findall(r"(-?\d+(?:\.\d+)?)(%?)", verdict.reason)]
    assert any(number == pytest.approx(verdict.value, rel=0.02, abs=0.01) for number in numbers), verdict.reason
    assert any(number in made.model_dump().values() for number in numbers), verdict.reason


@pytest.mark.parametrize("name", NAMES)
def test_bounds_unit_and_version_are_declared(name: str) -> None:
    made = made_filter(name)
    assert made.unit, "the inspection page writes it below the axis"
    assert made.version >= 1
    assert made.limits, "a filter that can drop nothing is none"
    assert made.limits <= set(type(made).model_fields)
    for key, bound in zip((made.lowest, made.highest), made.bounds(), strict=True):
        assert bound == (getattr(made, key) if key else None)


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_within_the_bounds_is_kept_and_what_lies_outside_is_dropped(name: str) -> None:
    made = made_filter(name)
    low, high = made.bounds()
    for bound, outwards in ((low, -1), (high, 1)):
        if bound is None:
            continue
        inside, outside = bound, np.nextafter(bound, outwards * np.inf)
        assert made.reason(inside) == "", "a value on the threshold is kept"
        assert ("under" if outwards < 0 else "over") in made.reason(outside)
        assert not made.verdict(outside, made.reason(outside)).keep


@pytest.mark.parametrize("name", NAMES)
def test_the_same_clip_gives_the_same_finite_value(name: str, good_clips: list[ClipSignals]) -> None:
    made = made_filter(name)
    values = [made.measure(clip) for clip in good_clips]
    assert np.isfinite(values).all()
    assert values[0] == values[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("empty", ["one black frame", "no sound", "digital silence"])
def test_degenerate_clips_have_a_finite_value(name: str, empty: str) -> None:
    video, audio = good()
    if empty == "one black frame":
        clip = signals(video[:1] * 0, audio[:, :10])
    else:
        clip = signals(
            video, audio[:0, :0] if empty == "no sound" else audio * 0, rate=0 if empty == "no sound" else RATE
        )
    assert np.isfinite(made_filter(name).judge(clip).value)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_threshold_is_named_with_the_nearest(name: str) -> None:
    threshold = next(iter(filter_class(name).model_fields))
    with pytest.raises(UserError, match=rf"filter {name}: unknown key '{threshold}x'; did you mean '{threshold}'\?"):
        _base.load([FilterSpec.model_validate({"name": name, f"{threshold}x": 1})])


def test_wrong_value_unknown_filter_and_a_filter_twice_are_user_errors() -> None:
    with pytest.raises(UserError, match=r"filter silence: max_ratio = 1.5: .*less than or equal to 1"):
        _base.load([FilterSpec.model_validate({"name": "silence", "max_ratio": 1.5})])
    with pytest.raises(UserError, match="no filter called 'silense'; did you mean silence"):
        _base.load([FilterSpec(name="silense")])
    with pytest.raises(UserError, match="filter silence: the recipe names it twice"):
        _base.load([FilterSpec(name="silence"), FilterSpec(name="silence")])


def test_resolved_writes_every_threshold_out() -> None:
    (spec,) = _base.resolved([FilterSpec.model_validate({"name": "silence", "max_ratio": 0.5})])
    assert spec.options == {"level_dbfs": -50.0, "max_ratio": 0.5, "frame_s": 0.05}
    assert _base.resolved([spec]) == (spec,)


def test_a_filter_is_frozen_and_refuses_a_value_that_is_no_number() -> None:
    made = filter_class("duration")()
    with pytest.raises(ValueError, match="frozen"):
        made.min_s = 3.0  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="filter duration measured nan"):
        made.verdict(float("nan"), "")
