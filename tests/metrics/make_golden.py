"""Print the golden values of KAD and of precision, recall, density and coverage, by running the published code.

    python -m tests.metrics.make_golden --kadtk CLONE --prdc CLONE

CLONE is a checkout of YoonjinXD/kadtk and of clovaai/generative-evaluation-prdc; the latter needs scikit-learn. Nothing
of them is copied here: their files are loaded from where they lie, kadtk's without the loaders of its networks.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np

from tests.metrics.test_metric_manifold import GOLDEN, pair


def load(path: Path) -> ModuleType:
    """A Python file as a module, wherever it lies."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kad(clone: Path) -> None:
    """KAD of the pinned pair, with the bandwidth of either side, in float64."""
    import torch

    loaders = ("hypy_utils", "hypy_utils.tqdm_utils", "kadtk.emb_loader", "kadtk.model_loader")
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in loaders}):
        published = load(clone / "kadtk" / "kad.py")
    reference = torch.tensor(np.random.RandomState(0).rand(500, 64))
    evaluated = torch.tensor(np.random.RandomState(1).rand(400, 64) * 1.05)
    for name, side in (("reference", reference), ("evaluated", evaluated)):
        width = published.median_pairwise_distance(side)
        value = published.calc_kernel_audio_distance(
            reference, evaluated, (None, None), "cpu", bandwidth=width, precision=torch.float64
        )
        sys.stdout.write(f"bandwidth of the {name} set: {width!r}, KAD {value.item()!r}\n")


def prdc(clone: Path) -> None:
    """The four numbers of every case of the test."""
    published = load(clone / "prdc" / "prdc.py")
    for case in GOLDEN:
        *shape, k = case
        generated, real = pair(*shape)
        with contextlib.redirect_stdout(io.StringIO()):
            found = published.compute_prdc(real, generated, k)
        values = tuple(float(found[name]) for name in ("precision", "recall", "density", "coverage"))
        sys.stdout.write(f"{case}: {values}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kadtk", type=Path, required=True)
    parser.add_argument("--prdc", type=Path, required=True)
    args = parser.parse_args()
    kad(args.kadtk)
    prdc(args.prdc)


if __name__ == "__main__":
    main()
