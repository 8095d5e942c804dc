"""What some public evaluators do to grey levels before a network sees them, as tables of 256 levels.

Both defects come from taking one range of values for another, or from cutting off decimals instead of rounding:

* ``mmdiffusion``: pictures become ``x / 127.5 - 1`` in float32 and then ``(x + 1) * 127.5`` cut off to whole numbers.
  63 of the 256 levels come back one lower. Source: researchmm/MM-Diffusion at 7250222,
  ``mm_diffusion/multimodal_datasets.py`` and ``mm_diffusion/evaluator.py``.
* ``javisbench``: pictures in [0, 1] are taken for pictures in [-1, 1] and scaled by ``(x + 1) * 127.5``: 0, 64, 255
  become 127, 159, 255. Half of the contrast is gone and black is mid-grey. Source: JavisVerse/JavisDiT at b505b37,
  ``eval/javisbench/src/dataset.py``, class ``FVDFADDataset``.

Scores made on such pictures are comparable with numbers published so, and with nothing else.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avbench.errors import UserError

Levels = Literal["plain", "mmdiffusion", "javisbench"]


def apply(video: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Pictures as the network of an evaluator sees them.

    Args:
        video: uint8 of any shape, 0..255.
        name: ``plain`` (returned as it is), ``mmdiffusion`` or ``javisbench``.

    Returns:
        uint8 of the same shape.

    Raises:
        UserError: Unknown name.
    """
    return video if name == "plain" else table(name)[video]


@functools.cache
def table(name: str) -> NDArray[np.uint8]:
    """What each of the levels 0..255 becomes: uint8 (256,), read-only.

    Raises:
        UserError: Unknown name.
    """
    level = np.arange(256, dtype=np.float32)
    half = np.float32(127.5)
    one = np.float32(1)
    if name == "plain":
        signed = None
    elif name == "mmdiffusion":
        signed = level / half - one
    elif name == "javisbench":
        signed = level / np.float32(255)
    else:
        raise UserError(f"levels {name!r} is unknown; use plain, mmdiffusion or javisbench")
    found = level if signed is None else ((signed + one) * half).clip(0, 255)
    whole = found.astype(np.uint8)
    whole.setflags(write=False)
    return whole
