"""What baselines share that train nothing: prompts, seeds, licences, and the card of clips that others' models made.

Such a baseline module has no ``train`` and no ``sample``. It has ``write_samples(run, recipe, *, prompts, device,
accept_licence, reporter)``, which makes what is missing in ``run/samples`` and returns how many clips it made now and
how many were there, and ``plan(run, recipe, *, prompts, accept_licence)``, the lines of a dry run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from avbench import media, recipe as recipes
from avbench.errors import MediaError, UserError
from avbench.progress import Reporter
from avbench.recipe_baseline import BaselineRecipe
from avbench.workspace import read_json, write_json

CARD = "samples.json"
SAMPLES = "samples"
HOPELESS = 3
"""After so many failures and no success a baseline stops: the rest would fail in the same way, and take hours."""
FILM_CRF = 12
"""Quality of a film that is scored: finer than that of one to watch."""
_LATE_S = 0.0005


class Untrained(Protocol):
    """The functions of a baseline that trains nothing (checked by a contract test)."""

    def write_samples(
        self,
        run: Path,
        recipe: BaselineRecipe,
        *,
        prompts: Prompts | None,
        device: torch.device,
        accept_licence: bool,
        reporter: Reporter,
    ) -> tuple[int, int]:
        """Make what is missing; how many clips were made now, and how many were there."""

    def plan(self, run: Path, recipe: BaselineRecipe, *, prompts: Prompts | None, accept_licence: bool) -> list[str]:
        """What would be run, downloaded and accepted, line by line; does none of it."""


def is_untrained(module: ModuleType) -> bool:
    """Whether a baseline module makes its clips with the models of others."""
    return hasattr(module, "write_samples")


@dataclass(frozen=True)
class Prompts:
    """A list of prompts.

    Attributes:
        name: What the user calls it.
        sha256: Digest of the texts.
        texts: One per clip, at least one.
    """

    name: str
    sha256: str
    texts: tuple[str, ...]

    def text(self, number: int) -> str:
        """The prompt of sample ``number``: they are taken in order, and from the first again after the last."""
        return self.texts[number % len(self.texts)]


def clip_seed(seed: int, number: int) -> int:
    """Seed of sample ``number``, 32 bits, which every program takes."""
    return (seed * 1_000_003 + number) % 2**32


@dataclass(frozen=True)
class Licence:
    """On what terms something that others published may be used.

    Attributes:
        what: Program or weights.
        terms: Name of the licence.
        condition: What it forbids or asks, as ``forbids commercial use``; empty where it may be used for anything.
        url: Where it can be read, or empty.
    """

    what: str
    terms: str
    condition: str = ""
    url: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.terms}" + (f", which {self.condition}" if self.condition else "")


def require_accepted(licences: Iterable[Licence], accept_licence: bool) -> None:
    """Go on only where the user has accepted what the licences ask.

    Raises:
        UserError: One of them has a condition and nobody accepted it.
    """
    for licence in licences:
        if licence.condition and not accept_licence:
            where = f" ({licence.url})" if licence.url else ""
            raise UserError(
                f"{licence.what}: the licence is {licence.terms}{where}, which {licence.condition}; "
                "where that suits your use, add --accept-license"
            )


def write_film(
    path: Path, video: NDArray[np.uint8], fps: float, audio: NDArray[np.float32], sample_rate_hz: int
) -> None:
    """Publish a clip whose rate is not that of a protocol as a film, which scoring brings to any rate.

    It is read back first: every frame and every sample must be there, and both must begin at time zero.

    Args:
        path: Where to, ``.mp4``.
        video: uint8 (T, H, W, 3).
        fps: Frames per second.
        audio: float32 (C, L) in [-1, 1]; stored without loss, from 16-bit samples.
        sample_rate_hz: Its rate.

    Raises:
        MediaError: What was written does not read back as it should.
    """
    unchecked = path.with_name(f".unchecked-{path.name}")
    media.encode(unchecked, video, fps, audio, sample_rate_hz, crf=FILM_CRF, audio_codec="flac")
    try:
        found = media.read_back(unchecked, ())
        due_s = np.arange(len(video)) / fps
        frames, samples = len(found.frame_starts_s), found.sound.shape[1]
        if (frames, samples) != (len(video), audio.shape[1]) or found.sample_rate_hz != sample_rate_hz:
            raise MediaError(
                f"{path.name}: reads back with {frames} frames and {samples} samples instead of {len(video)} and "
                f"{audio.shape[1]}"
            )
        late_s = max(float(np.abs(found.frame_starts_s - due_s).max()), abs(found.audio_start_s))
        if late_s > _LATE_S:
            raise MediaError(f"{path.name}: reads back with a time stamp that is {late_s:.4f} s off")
        os.replace(unchecked, path)
    finally:
        unchecked.unlink(missing_ok=True)


class SamplesCard:
    """``samples.json`` of clips that were made from prompts, kept true while they are made.

    Clips that an earlier call made are kept as long as they are what this call would make. Where the settings differ,
    all are deleted; where the prompt or the seed of a clip differ, that clip is.

    Args:
        folder: Where clips and card are.
        settings: All that decides every clip: ``model``, ``preset``, ``sample`` (with ``scheduler``, ``steps`` and
            ``seed``, which the result record shows) and whatever else the baseline depends on.
        prompts: Prompt of each clip that is wanted.
        seeds: Seed of each clip that is wanted.
        licences: What was used, on what terms.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        prompts: Mapping[str, str],
        seeds: Mapping[str, int],
        licences: Sequence[Licence] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._path, self._wanted = folder, folder / CARD, list(prompts)
        before = read_json(self._path) if self._path.exists() else {}
        kept = before if same_settings(before, settings) else {}
        for old in folder.glob("sample-*"):
            name = old.name.partition(".")[0]
            if not all(
                name in kept.get(key, {}) and wanted.get(name, kept[key][name]) == kept[key][name]
                for key, wanted in (("prompts", prompts), ("seeds", seeds))
            ):
                _delete(old)
        self._card: dict[str, Any] = {
            **settings,
            "prompts": {**kept.get("prompts", {}), **prompts},
            "seeds": {**kept.get("seeds", {}), **seeds},
            "failed": {name: why for name, why in kept.get("failed", {}).items() if name in prompts},
            "licences": [asdict(licence) for licence in licences],
            "seconds": kept.get("seconds", 0.0),
        }
        # before any clip: a clip that is there is one the card knows, whatever is killed when
        write_json(self._path, self._card)

    @property
    def missing(self) -> list[str]:
        """Names of the wanted clips that are not there, those that failed among them."""
        return [name for name in self._wanted if not self.film(name).exists()]

    @property
    def failed(self) -> dict[str, str]:
        """Wanted clips that could not be made, with the reason."""
        return dict(self._card["failed"])

    def film(self, name: str) -> Path:
        """Where a clip goes; it is finished when this file is there."""
        return self._folder / f"{name}.mp4"

    def done(self, name: str, seconds: float = 0.0) -> None:
        """The clip is there, after ``seconds`` of work."""
        self._card["failed"].pop(name, None)
        self.add_seconds(seconds)

    def fail(self, name: str, reason: str, seconds: float = 0.0) -> None:
        """The clip could not be made, after ``seconds`` of work; the next call tries again."""
        self._card["failed"][name] = reason
        self.add_seconds(seconds)

    def add_seconds(self, seconds: float) -> None:
        """Work that was done, for no clip alone."""
        self._card["seconds"] = round(self._card["seconds"] + seconds, 2)
        write_json(self._path, self._card)


_OF_THE_CLIPS = ("prompts", "seeds", "failed", "licences", "seconds")


def same_settings(before: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a card on disk is of these settings, which went through JSON on the way."""
    return {key: value for key, value in before.items() if key not in _OF_THE_CLIPS} == json.loads(
        recipes.canonical(dict(settings))
    )


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
