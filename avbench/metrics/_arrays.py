"""Feature sets as checked float64 arrays, the form in which every distance takes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avbench.errors import UserError

Rows = NDArray[np.float64]
"""Features, float64 (n, d): one row per clip or window."""


def as_features(values: ArrayLike, name: str) -> Rows:
    """Check a set of features and return it as float64.

    Args:
        values: Float array or torch tensor (on any device) of shape (n, d).
        name: What the set is called in an error (``"generated"``).

    Returns:
        float64 (n, d); the input itself, not a copy, where it already is that.

    Raises:
        UserError: The shape is not (n, d) with n and d at least 1, or a row holds NaN or infinity.
    """
    tensor = getattr(values, "detach", None)
    if tensor is not None:
        values = tensor().cpu().double().numpy()
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise UserError(f"{name} features have shape {rows.shape}; a distance needs (n, d) with at least one row")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise UserError(
            f"{len(bad)} of {len(rows)} rows of the {name} features hold NaN or infinity (the first is row {bad[0]}); "
            "find the clip it came from and mend or remove it"
        )
    return rows


def check_same_width(x: Rows, y: Rows, names: tuple[str, str]) -> None:
    """Refuse two sets of different feature dimension.

    Raises:
        UserError: They differ; the sets come from two networks or two layers.
    """
    if x.shape[-1] != y.shape[-1]:
        raise UserError(
            f"{names[0]} features have {x.shape[-1]} dimensions and {names[1]} features {y.shape[-1]}; "
            "both sides must come from the same network and layer"
        )
