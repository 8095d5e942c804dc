"""Published numbers come out here; what a pin says when they do not, or cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from avbench.errors import UserError, WeightsMissing
from avbench.features._base import Embedding
from avbench.selftest import _arrays as arrays, pins
from avbench.selftest.pins import Pin, check


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """The first onsets of a process compile librosa's peak picking, which takes seconds."""
    arrays.onsets_of_clicks()


@pytest.mark.parametrize("pin", pins.WEIGHT_FREE, ids=lambda pin: pin.name)
def test_numbers_that_need_no_weights_agree(pin: Pin) -> None:
    found = check(pin)
    assert found.verdict == "ok", (found.worst if found.got else found.reason, pin.tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("pin", [pins.SEEDED_I3D[0], pins.SEEDED_I3D[-1]], ids=lambda pin: pin.name)
def test_i3d_with_seeded_weights_agrees(pin: Pin) -> None:
    found = check(pin)
    assert found.verdict == "ok", (found.got, pin.expected)


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize("pin", pins.WITH_WEIGHTS[:-1], ids=lambda pin: pin.name)
def test_numbers_of_published_weights_agree(pin: Pin) -> None:
    found = check(pin)
    if found.verdict == "skipped":
        pytest.skip(found.reason)
    assert found.verdict == "ok", (found.got, pin.expected, found.reason)


def made(expected: float | tuple[float, ...], compute, tolerance: float = 0.1) -> pins.Check:
    return check(Pin("made up", expected, tolerance, "this test", compute))


def test_a_number_outside_its_tolerance_fails() -> None:
    assert made(1.0, lambda: 1.09).verdict == "ok"
    assert made(1.0, lambda: 1.11).verdict == "FAILED"
    assert made(1.0, lambda: math.nan).verdict == "FAILED"
    assert made(math.nan, lambda: 0.0).verdict == "FAILED"
    assert made(math.nan, lambda: math.nan).verdict == "ok"


def test_of_several_numbers_the_worst_counts_and_none_may_be_missing() -> None:
    found = made((1.0, 2.0, 3.0), lambda: [1.0, 2.5, 3.01])
    assert (found.verdict, found.worst) == ("FAILED", (2.0, 2.5))
    assert made((1.0, 2.0), lambda: [1.0]).verdict == "FAILED"


def test_missing_weights_skip_and_wrong_weights_fail() -> None:
    def missing() -> float:
        raise WeightsMissing("i3d: fetch them")

    def wrong() -> float:
        raise UserError("i3d: another sha256")

    assert (made(1.0, missing).verdict, made(1.0, missing).reason) == ("skipped", "i3d: fetch them")
    assert (made(1.0, wrong).verdict, made(1.0, wrong).reason) == ("FAILED", "i3d: another sha256")


def test_quick_leaves_out_what_runs_i3d_and_nothing_else() -> None:
    slow, quick = (Pin(name, 0.0, 0.0, "", lambda: 0.0, is_slow=name == "slow") for name in ("slow", "quick"))
    assert [found.pin.name for found in pins.run([slow, quick], quick=True)] == ["quick"]
    assert [found.pin.name for found in pins.run([slow, quick])] == ["slow", "quick"]
    assert all(pin.is_slow == ("I3D" in pin.name or "FVD" in pin.name) for pin in pins.PINS)


def test_names_are_told_apart_and_every_pin_has_a_source() -> None:
    assert len({pin.name for pin in pins.PINS}) == len(pins.PINS) > 40
    assert all(pin.source for pin in pins.PINS)


class Means:
    """Stands for a network: the mean and the deviation of each clip as its row."""

    device = "cpu"

    def embed(self, clips: np.ndarray) -> Embedding:
        flat = clips.reshape(len(clips), -1).astype(np.float32)
        return Embedding(np.stack([flat.mean(axis=1), flat.std(axis=1)], axis=1), np.arange(len(clips)))


def test_the_inputs_of_the_weight_pins_are_what_their_sources_describe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "published", lambda name, **options: Means())
    assert arrays.fvd_black_white(10) == pytest.approx(255.0**2), "black against white, nothing else differs"
    clean = arrays.sines(10, 0.0, np.random.RandomState(0))
    assert clean.shape == (10, 6 * 16_000)
    assert -1 <= clean.min() < -0.999 < 0.999 < clean.max() < 1, "16-bit samples"
    crossings = (np.diff(np.sign(clean), axis=1) > 0).sum(axis=1)
    np.testing.assert_allclose(crossings / 6, np.linspace(100, 1000, 10), atol=0.5)
    assert arrays.fad_of_sines(1e-4) >= 0


def test_noise_clips_are_one_stream_in_the_order_of_the_source() -> None:
    parts = list(arrays.noise_clips(1, 8))
    assert [part.shape for part in parts] == [(4, 3, 16, 224, 224)] * 2
    whole = np.random.RandomState(1).rand(5, 16, 224, 224, 3)[4].astype(np.float32)
    np.testing.assert_array_equal(parts[1][0], whole.transpose(3, 0, 1, 2))
