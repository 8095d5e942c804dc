"""Numbers that others got, and what this machine gets for them.

A pin is a figure of a published implementation, of its documentation, or of a closed form, with the tolerance to which
it must come out here. Where it needs published weights that are not on this machine it is skipped, and says so.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from avbench import levels, metrics
from avbench.errors import UserError, WeightsMissing
from avbench.metrics._gaussian import median_pairwise_distance
from avbench.progress import SILENT, Reporter
from avbench.selftest import _arrays as arrays

Verdict = Literal["ok", "FAILED", "skipped"]
_later = functools.partial


@dataclass(frozen=True)
class Pin:
    """One figure and how to get it.

    Attributes:
        name: What is computed.
        expected: The published number, or several of one computation.
        tolerance: Greatest difference of each number, in its own unit.
        source: Who published it, or what it follows from.
        compute: Gives the numbers of this machine.
        is_slow: Runs I3D; left out by ``--quick``.
    """

    name: str
    expected: float | tuple[float, ...]
    tolerance: float
    source: str
    compute: Callable[[], Any]
    is_slow: bool = False


@dataclass(frozen=True)
class Check:
    """What came of a pin.

    Attributes:
        pin: The pin.
        got: Numbers of this machine, as many as expected; empty where there are none.
        verdict: Within the tolerance, or not, or not run.
        reason: Why it was skipped, or could not be computed.
        seconds: Wall time.
    """

    pin: Pin
    got: tuple[float, ...]
    verdict: Verdict
    reason: str = ""
    seconds: float = 0.0

    @property
    def worst(self) -> tuple[float, float]:
        """Expected and got of the number that differs most."""
        pairs = list(zip(numbers(self.pin.expected), self.got, strict=True))
        return max(pairs, key=lambda pair: deviation(*pair))


def _sine(hz: float, seconds: float) -> list[float]:
    return arrays.log_mel_figures(arrays.seconds_of_sine(hz, seconds))


def _frechet(*case: float, ddof: int = 1) -> float:
    return metrics.frechet_distance(*arrays.gaussians(*case), ddof)


def _kernel(*case: float) -> float:
    return metrics.polynomial_mmd(*arrays.gaussians(*case))


def _uniform(function: str, **options: int) -> Any:
    return getattr(metrics, function)(*arrays.uniforms(), **options)


def _kad(side: Literal["reference", "generated"]) -> float:
    reference, scored = arrays.uniforms()
    return metrics.kernel_audio_distance(scored, reference, bandwidth_from=side)


TORCHVGGISH = "harritaylor/torchvggish mel_features.py, run in float64"
TATS = "songweige/TATS polynomial_mmd, run in float64"
EXACT = "nuclear norm in float64; MM-Diffusion's float32 code agrees to its rounding"
VIDEOGPT = "VideoGPT pytorch_i3d.py, run with these weights"
JEDI = "oooolga/JEDi mmd_polynomial.py, run in float64"
KADTK = "YoonjinXD/kadtk, run in float32, which holds it to 3e-5"
TEMPO = "guyyariv/TempoTokens av_align.py at bf0b1e3"
BOTH_SETS = "JunyaoHu/common_metrics_on_video_quality README"
SMOKE = "tensorflow/models vggish_smoke_test.py since July 2023, tolerance 10 % as there"

WEIGHT_FREE: tuple[Pin, ...] = (
    Pin(
        "log-mel, sine 1 kHz, 3 s",
        (3, -3.429618696, 2.126577336, -4.601163, 4.811118, -4.483133, -4.270834, -4.170643),
        6e-7,
        TORCHVGGISH,
        _later(_sine, 1000, 3),
    ),
    Pin("log-mel, sine 440 Hz, 1.6 s", (1, -3.276123394, 2.333337493), 6e-10, TORCHVGGISH, lambda: _sine(440, 1.6)[:3]),
    Pin(
        "log-mel, uniform noise, 3 s",
        (2.838894427, 0.801534786),
        6e-10,
        TORCHVGGISH,
        lambda: arrays.log_mel_figures(np.random.RandomState(0).uniform(-1, 1, 48_000))[1:3],
    ),
    Pin(
        "log-mel, silence",
        (-4.605170186, 0.0),
        6e-10,
        "log of the offset 0.01",
        lambda: arrays.log_mel_figures(np.zeros(48_000))[1:3],
    ),
    Pin("Frechet, n 64, d 400", 603.0741896, 6e-8, EXACT, _later(_frechet, 64, 64, 400, 1.1, 0.05)),
    Pin("Frechet, n 512, d 400", 179.736993090, 4e-9, EXACT, _later(_frechet, 512, 512, 400, 1.1, 0.05)),
    Pin("Frechet, n 2048, d 400", 48.186797675, 1e-9, EXACT, _later(_frechet, 2048, 2048, 400, 1.1, 0.05)),
    Pin("Frechet, n 200 and 300, d 128", 91.374136778, 2e-9, EXACT, _later(_frechet, 200, 300, 128, 1.5, 0.2)),
    Pin("Frechet, n 64, divisor n", 593.88, 5e-3, EXACT, _later(_frechet, 64, 64, 400, 1.1, 0.05, ddof=0)),
    Pin(
        "tr (S1 S2)^1/2, rank-deficient",
        1298.4810987246008,
        1.3e-7,
        "closed form; tolerance 1e-10 of it",
        arrays.trace_oracle,
    ),
    Pin("KVD, n 64, d 400", 0.005603169, 6e-10, TATS, _later(_kernel, 64, 64, 400, 1.1, 0.05)),
    Pin("KVD, n 512, d 400", 0.006269195, 6e-10, TATS, _later(_kernel, 512, 512, 400, 1.1, 0.05)),
    Pin("KVD, n 2048, d 400", 0.006739292, 6e-10, TATS, _later(_kernel, 2048, 2048, 400, 1.1, 0.05)),
    Pin("KVD, n 200 and 300, d 128", 0.173792366, 6e-10, TATS, _later(_kernel, 200, 300, 128, 1.5, 0.2)),
    Pin(
        "KVD, uniform samples",
        0.005713754419348405,
        1e-14,
        TATS,
        lambda: _uniform("polynomial_mmd"),
    ),
    Pin(
        "KVD of a set and itself",
        -0.0016901544715381966,
        1e-14,
        TATS,
        lambda: metrics.polynomial_mmd(arrays.uniforms()[0], arrays.uniforms()[0]),
    ),
    Pin(
        "JEDi's MMD, uniform samples", 0.11388627515201977, 1e-12, JEDI, lambda: 100 * _uniform("polynomial_mmd_biased")
    ),
    Pin(
        "JEDi's MMD, its own example",
        270.7222,
        5e-5,
        JEDI,
        lambda: metrics.polynomial_mmd_biased(*arrays.jedi_example()),
    ),
    Pin(
        "KID, 100 subsets of 200: mean and deviation",
        (0.005441230817, 0.001367360663),
        2e-12,
        "torch-fidelity with seed 2020",
        lambda: _uniform("kernel_distance_subsets", subset_size=200),
    ),
    Pin("KAD", 0.3235340, 1.3e-5, KADTK, lambda: _kad("reference")),
    Pin("KAD with the width of the scored side", 0.3072739, 1.3e-5, KADTK, lambda: _kad("generated")),
    Pin(
        "median distances, the widths of KAD",
        (3.2729814, 3.4208119),
        2e-7,
        KADTK,
        lambda: [median_pairwise_distance(side) for side in arrays.uniforms()],
    ),
    Pin(
        "grey levels lowered by MM-Diffusion's evaluator",
        63,
        0,
        "researchmm/MM-Diffusion at 7250222, run on all 256",
        lambda: (levels.table("mmdiffusion") != levels.table("plain")).sum(),
    ),
    Pin(
        "grey levels 0, 64, 255 in JavisBench's evaluator",
        (127, 159, 255),
        0,
        "JavisVerse/JavisDiT at b505b37, run",
        lambda: levels.table("javisbench")[[0, 64, 255]],
    ),
    Pin("AV-align, two onsets and one peak", 0.5, 0, TEMPO, lambda: metrics.av_align_score([0.975, 2.02], [1.0], 10)),
    Pin("AV-align, one side empty", (0.0, 0.0), 0, TEMPO, lambda: [_align([], [1.0]), _align([1.0], [])]),
    Pin(
        "AV-align, both sides empty", math.nan, 0, "undefined; the public code divides by zero", lambda: _align([], [])
    ),
    Pin(
        "onsets of clicks at 1, 2, 3 s",
        (1.022, 2.02, 3.019),
        5e-4,
        "librosa at 22,050 Hz",
        arrays.onsets_of_clicks,
    ),
    *(
        Pin(
            f"AV-align by chance, {seconds} s, {peaks} + {peaks} peaks, {fps} fps",
            level,
            0.01,
            "simulation with Poisson peaks",
            _later(arrays.chance_level, seconds, peaks, fps),
        )
        for seconds, peaks, levels in (
            (1.6, 3, (0.195, 0.160, 0.109, 0.075, 0.058)),
            (4, 8, (0.203, 0.173, 0.112, 0.078, 0.064)),
        )
        for fps, level in zip((8, 10, 16, 24, 30), levels, strict=True)
    ),
)

SEEDED_I3D: tuple[Pin, ...] = (
    *(
        Pin(
            f"I3D, seeded weights, {frames} frames",
            figures,
            2e-5,
            VIDEOGPT,
            functools.partial(lambda frames, count: arrays.seeded_logits(frames)[:count], frames, len(figures)),
            is_slow=True,
        )
        for frames, figures in (
            (9, (2.30816, -0.0624, 1.80528, 0.48292, 0.013275, 2.919311)),
            (16, (3.11785, 1.14813, 2.50428, 0.73151, 0.040777, 3.585859)),
            (17, (1.41763, 1.65015, 3.02601, 0.08255)),
            (32, (1.30574, 1.42789, 3.73123, -0.22202)),
        )
    ),
    Pin(
        "I3D, seeded weights, 16 frames: pooled features",
        1.516991,
        2e-6,
        VIDEOGPT,
        _later(arrays.seeded_pool, 16),
        is_slow=True,
    ),
)

WITH_WEIGHTS: tuple[Pin, ...] = (
    Pin("VGGish, sine 1 kHz: mean", 0.000657, 6.57e-5, SMOKE, lambda: arrays.vggish_of_sine().mean()),
    Pin("VGGish, sine 1 kHz: standard deviation", 0.343, 0.0343, SMOKE, lambda: arrays.vggish_of_sine().std()),
    *(
        Pin(
            f"FAD of sines, noise {noise:.0e}, {variant}",
            fad,
            2.0,
            f"{source}; unseeded noise, tolerance of gudgud96's own test",
            _later(arrays.fad_of_sines, noise, variant=variant),
        )
        for variant, source, figures in (
            ("google", "google-research frechet_audio_distance README", (12.4375, 4.7680)),
            ("gudgud96", "gudgud96/frechet-audio-distance README", (12.7398, 4.9815)),
        )
        for noise, fad in zip((1e-4, 1e-5), figures, strict=True)
    ),
    *(
        Pin(
            f"FVD, black against white, {frames} frames",
            fvd,
            # TensorFlow gives 151.39244 where this source gives 151.25648; its README names swings of about 1
            1.0,
            BOTH_SETS,
            _later(arrays.fvd_black_white, frames),
            is_slow=True,
        )
        for frames, fvd in ((10, 569.2296), (11, 486.3584), (12, 551.9611), (13, 146.3664), (30, 151.25648496845326))
    ),
    Pin(
        "FVD, black against white, 15 frames",
        131,
        4.0,
        "google-research frechet_video_distance example.py: around 131",
        _later(arrays.fvd_black_white, 15),
        is_slow=True,
    ),
    Pin(
        "FVD of noise, 128 clips of 16 frames",
        10.138084766713924,
        1e-3,
        "universome/fvd-comparison; TensorFlow 10.13808536529541",
        arrays.fvd_of_noise,
        is_slow=True,
    ),
)

PINS: tuple[Pin, ...] = WEIGHT_FREE + SEEDED_I3D + WITH_WEIGHTS


def _align(sound_s: Sequence[float], picture_s: Sequence[float]) -> float:
    return metrics.av_align_score(sound_s, picture_s, 10)


def numbers(value: Any) -> tuple[float, ...]:
    """One number or several as a tuple."""
    return tuple(float(number) for number in np.atleast_1d(np.asarray(value, dtype=np.float64)))


def deviation(expected: float, got: float) -> float:
    """How far off; 0 where both are undefined, infinite where one is."""
    if math.isnan(expected) and math.isnan(got):
        return 0.0
    off = abs(expected - got)
    return math.inf if math.isnan(off) else off


def check(pin: Pin) -> Check:
    """Compute one pin.

    What a user can mend (weights with another sha256) fails the pin with its reason; weights that are not here skip it.
    """
    begun = time.monotonic()
    try:
        got = numbers(pin.compute())
    except WeightsMissing as missing:
        return Check(pin, (), "skipped", str(missing))
    except UserError as error:
        return Check(pin, (), "FAILED", str(error))
    expected = numbers(pin.expected)
    if len(got) != len(expected):
        return Check(pin, (), "FAILED", f"{len(got)} numbers where {len(expected)} were expected")
    good = all(deviation(*pair) <= pin.tolerance for pair in zip(expected, got, strict=True))
    return Check(pin, got, "ok" if good else "FAILED", seconds=time.monotonic() - begun)


def run(pins: Sequence[Pin] = PINS, *, quick: bool = False, reporter: Reporter = SILENT) -> Iterator[Check]:
    """Compute pins one after another.

    Args:
        pins: Which.
        quick: Leave out those that run I3D.
        reporter: Progress.
    """
    chosen = [pin for pin in pins if not (quick and pin.is_slow)]
    with reporter.bar("pins", len(chosen), "pins") as bar:
        for pin in chosen:
            yield check(pin)
            bar.advance(note=pin.name)
