"""CLIP score: how well the pictures of a clip agree with the prompt it was made from, times 100.

Mean over frames of the cosine between frame and prompt, both embedded by CLIP, as CLIPSIM has it; the score of a set is
the mean over its clips. Unrelated pairs do not score 0, so the chance level belongs beside it. It judges frames one by
one and knows nothing of motion or sound. CLIPScore for pictures sets negative cosines to 0 and has other factors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avbench.errors import UserError
from avbench.metrics._pairs import two_sides

KIND = "prompted"
FEATURE = "clip"
ESTIMATOR = "mean over clips of the mean over frames of cosines, times 100"
HIGHER_IS_BETTER = True
UNIT = "cosine times 100"
RANGE = (-100.0, 100.0)
SOURCE = "CLIPSIM of Wu et al. 2021, arXiv 2104.14806; after Hessel et al. 2021, arXiv 2104.08718 (CLIPScore)"

SCALE = 100.0


def compute(rows: ArrayLike, texts: ArrayLike) -> NDArray[np.float64]:
    """Score of each clip with its own prompt.

    Args:
        rows: Float array (n, d): mean over frames of embeddings of length 1, as the feature ``clip`` gives them.
        texts: Float array (n, d): embedding of each clip's prompt, of any length but 0.

    Returns:
        float64 (n,), in [-100, 100].

    Raises:
        UserError: NaN or infinity in a row, different shapes, a prompt of length 0, or rows that are no means of
            embeddings of length 1.
    """
    pictures, prompts = two_sides(rows, texts, ("clip", "prompt"), 1, "a CLIP score")
    if len(pictures) != len(prompts):
        raise UserError(f"{len(pictures)} clips and {len(prompts)} prompts; each clip needs its own prompt")
    longest = float(np.linalg.norm(pictures, axis=1).max())
    if longest > 1 + 1e-3:
        raise UserError(f"a clip's embedding has length {longest:.3g}; the mean of frames of length 1 has at most 1")
    lengths = np.linalg.norm(prompts, axis=1)
    if not lengths.all():
        raise UserError(f"the embedding of prompt {int(lengths.argmin())} has length 0, which has no direction")
    return np.asarray(SCALE * np.einsum("ij,ij->i", pictures, prompts) / lengths)
