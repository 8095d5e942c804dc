"""Make mmdiffusion_golden.json with the published network: ``python make_mmdiffusion_golden.py CLONE_OF_MM-DIFFUSION``.

The clone is github.com/researchmm/MM-Diffusion at 7250222; einops and torch are all it needs to run its network.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import types
from pathlib import Path
from typing import Any

import torch
from mmdiffusion_cases import CASES, Case, clip, probe, shapes_of, shapes_sha256, weights


def published_module(clone: Path) -> Any:
    """The module of the network; its logger imports MPI, which computing a forward pass does not need."""
    sys.path.insert(0, str(clone))
    for name in ("mpi4py", "blobfile"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["mpi4py"].MPI = types.ModuleType("MPI")  # type: ignore[attr-defined]
    return importlib.import_module("mm_diffusion.multimodal_unet")


def published_network(module: Any, case: Case) -> torch.nn.Module:
    """The network in the sizes of ``case``."""
    return module.MultimodalUNet(
        [case.frames, 3, case.size, case.size],
        [1, case.samples],
        case.model_channels,
        3,
        1,
        case.num_res_blocks,
        list(case.cross_resolutions),
        list(case.windows),
        True,
        list(case.video_attention),
        list(case.audio_attention) or [-1],
        channel_mult=case.channel_mult,
        num_heads=4,
        num_head_channels=case.cross_head_channels,
        use_scale_shift_norm=True,
        resblock_updown=True,
    ).eval()


def golden(module: Any, case: Case) -> dict[str, Any]:
    """Outputs of one case at a few positions, with the shifts that were drawn."""
    network = published_network(module, case)
    shapes = shapes_of(network)
    network.load_state_dict(weights(shapes))
    drawn: list[int] = []
    draw = random.Random(case.seed)

    def randint(low: int, high: int) -> int:
        drawn.append(draw.randint(low, high))
        return drawn[-1]

    module.random = types.SimpleNamespace(randint=randint)
    with torch.no_grad():
        video, audio = network(*clip(case))
    return {
        "shapes_sha256": shapes_sha256(shapes),
        "shifts": drawn,
        "video": probe(video),
        "video_std": video.std().item(),
        "audio": probe(audio),
        "audio_std": audio.std().item(),
    }


def main() -> None:
    """Write the file beside this one."""
    module = published_module(Path(sys.argv[1]))
    values = {name: golden(module, case) for name, case in CASES.items()}
    Path(__file__).with_name("mmdiffusion_golden.json").write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
