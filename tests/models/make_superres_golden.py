"""Make superres_golden.json with the published network: ``python make_superres_golden.py CLONE_OF_MM-DIFFUSION``.

The clone is github.com/researchmm/MM-Diffusion at 7250222; einops and torch are all it needs to run its network.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from make_mmdiffusion_golden import published_module
from mmdiffusion_cases import probe, shapes_of, shapes_sha256, weights
from superres_cases import CASES, Case, pictures


def golden(module: Any, case: Case) -> dict[str, Any]:
    """Output of one case at a few positions."""
    network = module.ImageSuperResModel(
        case.height,
        3,
        case.model_channels,
        6,
        case.num_res_blocks,
        case.attention,
        channel_mult=case.channel_mult,
        num_heads=case.heads,
        use_scale_shift_norm=True,
        resblock_updown=True,
    ).eval()
    shapes = shapes_of(network)
    network.load_state_dict(weights(shapes))
    noisy, timesteps, low_res = pictures(case)
    with torch.no_grad():
        out = network(noisy, timesteps, low_res=low_res)
    return {"shapes_sha256": shapes_sha256(shapes), "out": probe(out), "out_std": out.std().item()}


def main() -> None:
    """Write the file beside this one."""
    published_module(Path(sys.argv[1]))
    module = importlib.import_module("mm_diffusion.image_unet")
    values = {name: golden(module, case) for name, case in CASES.items()}
    Path(__file__).with_name("superres_golden.json").write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
