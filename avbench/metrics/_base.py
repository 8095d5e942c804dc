"""The contract of a metric: what a public file of this package defines so that scoring can use it.

A metric is one file, found by its name; nothing else registers it. It is a function of arrays: it reads no file, loads
no network and knows no protocol. It defines these module constants:

* ``KIND``: ``"distance"`` (compares two sets of features), ``"per_clip"`` (one number for each generated clip; the
  score is their mean) or ``"prompted"`` (one number for each generated clip and the prompt it was made from; the score
  is their mean).
* ``FEATURE``: name in the feature registry of the embedding it compares, or None when it needs none.
* ``ESTIMATOR``: how its number is estimated; part of the protocol id. ``"frechet"`` tells the caller to pass on
  `avbench.metrics._frechet.rank_warning`.
* ``HIGHER_IS_BETTER``: bool.
* ``UNIT``: what the number counts, in words.
* ``RANGE``: (lowest, highest) value it can take; ``math.inf`` where unbounded.
* ``SOURCE``: the paper or repository that defines it.

and functions, by kind:

* a distance: ``compute(generated, reference, **options) -> float`` for float arrays (n, d) and (m, d), rows being clips
  or windows of clips. Options have defaults; a protocol may set them. Where it helps, it also defines

  - ``details(generated, reference, **options) -> dict[str, float]``: further numbers stored beside the value;
  - ``compute_subsets(generated, reference, generated_picks, reference_picks, **options) -> list[float]``: what
    ``compute`` gives for many pairs of subsets (row numbers) of the two sets, at once and faster;
  - ``INTERVAL_DRAWS``: int, most subsamples for an interval where ``compute`` is costly;

* a per-clip metric: ``per_clip(clip: ClipSignals) -> float``, NaN where the clip gives no answer. The caller counts the
  NaN clips and leaves them out of the mean. It is made of two functions, so that the caller can also pair the sound of
  one clip with the picture of another and so find the chance level: ``evidence(clip)`` and
  ``pair(sound_of, picture_of)``, with ``per_clip(clip) == pair(evidence(clip), evidence(clip))``. Evidence is a named
  tuple of numbers, strings and lists of numbers: it is kept as JSON;
* a prompted metric: ``compute(rows, texts) -> array (n,)`` for the embeddings of n clips and of their n prompts, float
  (n, d) each, by the network ``FEATURE``.

Input a user can mend raises `avbench.errors.UserError`; no error ever becomes a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["distance", "per_clip", "prompted"]
"""The three kinds of metric."""


@dataclass(frozen=True)
class ClipSignals:
    """One generated clip as arrays; frame 0 and sample 0 stand at time 0.

    Attributes:
        video: uint8 (T, H, W, 3), RGB, 0..255.
        fps: Frames per second of ``video``.
        audio: float32 (C, L) in [-1, 1].
        sample_rate_hz: Samples per second and channel of ``audio``.
    """

    video: NDArray[np.uint8]
    fps: float
    audio: NDArray[np.float32]
    sample_rate_hz: int
