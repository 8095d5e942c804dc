"""Protocols: everything that changes a number, in one TOML file, and the id that names it.

Two scores may be compared only when their protocol ids are equal. The id is the protocol's name and the first eight hex
digits of a sha256 over all its settings and over the declared weights of every feature network it uses.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from avbench import recipe, registry
from avbench.recipe import Strict


class Protocol(Strict):
    """One way to score clips: ``recipes/protocols/<name>.toml``.

    Attributes:
        name: Its name.
        description: What it is for; not part of the id.
        source: Paper or repository whose protocol it follows; not part of the id.
        metrics: Files in ``avbench/metrics``.
        frames: Frames per window.
        fps: Frame rate every clip is brought to.
        size: Square picture size, pixels; the picture keeps its aspect and is padded with black.
        resize: Interpolation of that resize.
        sample_rate_hz: Mono audio rate every clip is brought to before a feature resamples it to its own.
        windows: ``first`` takes the first window of a file, ``tile`` every whole window without overlap.
        n: Windows asked for on each side; more are subsampled with ``seed``, fewer are warned about.
        min_n: Below this many usable windows there is no score.
        reference_split: Split of a dataset that serves as reference; ``all`` takes every split.
        interval_draws: Draws for the intervals.
        seed: Seed of every subsample.
    """

    name: str
    description: str = ""
    source: str = ""
    metrics: tuple[str, ...]
    frames: PositiveInt
    fps: PositiveFloat
    size: PositiveInt
    resize: Literal["bicubic", "bilinear", "area"] = "bicubic"
    sample_rate_hz: PositiveInt = 16000
    windows: Literal["first", "tile"] = "first"
    n: PositiveInt = 2048
    min_n: Annotated[int, Field(ge=2)] = 2
    reference_split: Literal["train", "validation", "test", "all"] = "test"
    interval_draws: PositiveInt = 100
    seed: int = 0

    @property
    def seconds(self) -> float:
        """Length of a window."""
        return self.frames / self.fps

    @property
    def n_samples(self) -> int:
        """Audio samples in a window."""
        return round(self.seconds * self.sample_rate_hz)

    @property
    def sha256(self) -> str:
        """Digest over all settings, the estimators, and the declared weights of every feature network."""
        settings = self.model_dump(mode="json", exclude={"description", "source"})
        return recipe.sha256({"settings": settings, "metrics": [_definition(name) for name in self.metrics]})

    @property
    def id(self) -> str:
        """The name a score carries."""
        return f"{self.name}@{self.sha256[:8]}"


def _definition(metric: str) -> dict[str, str]:
    """What a metric rests on: its estimator, its feature, and the feature's weights."""
    module = registry.module("metric", metric)
    found = {"metric": metric, "estimator": module.ESTIMATOR, "feature": module.FEATURE or ""}
    weight = registry.module("feature", module.FEATURE).WEIGHT if module.FEATURE else None
    if weight is not None:
        found["weights"] = f"{weight.file}:{weight.sha256 or 'no published digest'}"
    return found


def load(name: str) -> Protocol:
    """Read a shipped protocol by name, or a user's own TOML file by path.

    Raises:
        UserError: Unknown protocol, metric or key; the nearest right names are offered.
    """
    protocol = recipe.load(recipe.find("protocols", name), Protocol)
    for metric in protocol.metrics:
        registry.module("metric", metric)
    return protocol
