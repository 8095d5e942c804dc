"""The pictures a protocol scores are those of the public code it follows: golden values from make_protocol_golden.py.

``mmdiffusion-compat`` and ``javisbench-compat`` are the same to the last level. TATS, VideoGPT and cd-fvd cut off
decimals after the resize where avbench rounds: at most one level, half a level in the mean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avbench import levels, media, protocol, recipe
from avbench.features import i3d
from tests.make_protocol_golden import SHAPES, picture, points

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "protocol_golden.json").read_text())
LEVEL = 2 / 255
"""One grey level in what the network sees."""

EXACT = ("mmdiffusion-compat", "javisbench-compat")
CUT_OFF = ("tats", "videogpt", "cd-fvd")


def scored(name: str, shape: str) -> np.ndarray:
    """The pictures of a fixed clip as the protocol scores them."""
    found = recipe.load(recipe.find("protocols", name), protocol.Protocol)
    fitted = media.fit_frames(picture(SHAPES[shape]), (found.size, found.size), fit=found.fit, resize=found.resize)
    return levels.apply(fitted, found.levels)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", EXACT)
def test_a_compat_protocol_gives_the_public_pictures_to_the_last_level(name: str, shape: str) -> None:
    ours, golden = scored(name, shape), GOLDEN[name][shape]
    assert list(ours.shape) == golden["shape"]
    assert points(ours).tolist() == golden["pictures"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CUT_OFF)
def test_a_protocol_differs_from_code_that_cuts_off_decimals_by_rounding_alone(name: str, shape: str) -> None:
    ours, golden = scored(name, shape), GOLDEN[name][shape]
    assert list(ours.shape) == golden["shape"]
    above = points(ours).astype(int) - golden["pictures"]
    assert set(above.tolist()) <= {0, 1}
    assert 0.2 < above.mean() < 0.7


@pytest.fixture(scope="module")
def network() -> i3d.Feature:
    """An I3D feature whose weights do not matter here: only what it does before the network is looked at."""
    return i3d.Feature(i3d.Feature.architecture().state_dict())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", GOLDEN)
def test_the_network_is_fed_what_the_public_code_feeds_it(name: str, shape: str, network: i3d.Feature) -> None:
    found = recipe.load(recipe.find("protocols", name), protocol.Protocol)
    # common_metrics has no loader: its clips go to the network as they are
    seen = picture(SHAPES[shape]) if name == "common-metrics" else scored(name, shape)
    network.resize = found.features["i3d"]["resize"]
    fed = network.preprocess(torch.from_numpy(seen)[None])
    ours = points(fed[0].permute(1, 2, 3, 0).numpy())
    tolerance = LEVEL if name in CUT_OFF else 0.0
    assert np.abs(ours - GOLDEN[name][shape]["network"]).max() <= tolerance + 2e-6
