"""Golden pictures for tests/test_protocol_pictures.py: what public evaluators' own functions make of fixed pictures.

    python tests/make_protocol_golden.py FOLDER_OF_CLONES

FOLDER_OF_CLONES holds MM-Diffusion, TATS, VideoGPT, content-debiased-fvd, common_metrics_on_video_quality and JavisDiT.
Their files are loaded from there and run as they are; what they import and this task does not need is replaced by empty
stand-ins. MM-Diffusion came before torchvision 0.17, which resizes tensors without antialiasing unless asked.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
import torchvision.transforms

HERE = Path(__file__).resolve().parent
OUT = HERE / "protocol_golden.json"
POINTS = 400
STAND_INS = (
    "blobfile",
    "cdfvd",
    "clip",
    "decord",
    "h5py",
    "javis",
    "moviepy",
    "mpi4py",
    "omegaconf",
    "pytorch_lightning",
    "pytorchvideo",
    "tats",
    "torio",
    "transformers",
    "torchvision.datasets.video_utils",
)
SHAPES = {"wide": (72, 128), "odd": (90, 122), "tall": (120, 67)}


def picture(shape: tuple[int, int], frames: int = 2) -> np.ndarray:
    """Coloured blocks under noise, from integers alone: uint8 (T, H, W, 3)."""
    height, width = shape
    rng = np.random.RandomState(height * 1000 + width)
    coarse = rng.randint(0, 256, (frames, -(-height // 8), -(-width // 8), 3))
    blocks = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    return (blocks + rng.randint(-20, 21, blocks.shape)).clip(0, 255).astype(np.uint8)


def points(values: np.ndarray) -> np.ndarray:
    """Some of the numbers, evenly spread over the flat array."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat[np.linspace(0, flat.size - 1, POINTS).astype(int)]


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives an empty module for what the public files import and this task does not need."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if not any(fullname == name or fullname.startswith(name + ".") for name in STAND_INS):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = MagicMock(name=spec.name)
        module.__spec__, module.__path__, module.__name__ = spec, [], spec.name
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass


def load(path: Path, name: str) -> ModuleType:
    """A public file as a module of its own."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def thwc(video: torch.Tensor) -> np.ndarray:
    """(C, T, H, W) -> numpy (T, H, W, C)."""
    return video.permute(1, 2, 3, 0).numpy()


def evaluators(clones: Path) -> dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """Protocol name to a function: uint8 (T, H, W, 3) -> uint8 pictures before, floats (T, H, W, C) in the network."""
    datasets = load(clones / "MM-Diffusion/mm_diffusion/multimodal_datasets.py", "mm_diffusion.multimodal_datasets")
    datasets.T.Resize = functools.partial(torchvision.transforms.Resize, antialias=False)
    mm_fvd = load(clones / "MM-Diffusion/evaluations/fvd/fvd.py", "mm_fvd")
    tats_data = load(clones / "TATS/tats/data.py", "tats.data")
    tats_fvd = load(clones / "TATS/tats/fvd/fvd.py", "tats.fvd.fvd")
    gpt_data = load(clones / "VideoGPT/videogpt/data.py", "gpt_data")
    cd_data = load(clones / "content-debiased-fvd/cdfvd/utils/data_utils.py", "cd_data")
    cd_i3d = load(clones / "content-debiased-fvd/cdfvd/third_party/i3d/utils.py", "cdfvd.third_party.i3d.utils")
    common = load(clones / "common_metrics_on_video_quality/fvd/styleganv/fvd.py", "common_fvd")
    javis_utils = load(clones / "JavisDiT/eval/javisbench/src/utils.py", "javis.src.utils")
    javis_data = load(clones / "JavisDiT/eval/javisbench/src/dataset.py", "javis.src.dataset")

    def mmdiffusion(video: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loader = SimpleNamespace(video_size=[len(video), 3, 64, 64], random_flip=False)
        placed = datasets.MultimodalDataset.process_video(loader, torch.from_numpy(video))
        signed = placed.float() / 127.5 - 1  # as in get_item
        seen = ((signed + 1) * 127.5).clamp(0, 255).to(torch.uint8)  # as in evaluator.load_multimodal_for_worker
        return seen.permute(0, 2, 3, 1).numpy(), thwc(mm_fvd.preprocess(seen[None])[0])

    def tats(video: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        small = tats_data.preprocess(torch.from_numpy(video), 128)["video"]
        seen = thwc(((small + 0.5) * 255).byte())  # as in sample_vqgan_transformer_short_videos
        return seen, thwc(tats_fvd.preprocess(seen[None], (224, 224))[0])

    def videogpt(video: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        small = gpt_data.preprocess(torch.from_numpy(video), 64)
        seen = (thwc(small + 0.5) * 255).astype("uint8")  # as in compute_fvd.eval_fvd
        return seen, thwc(gpt_data.preprocess(torch.from_numpy(seen), 224) * 2)

    def cd_fvd(video: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        small = cd_data.preprocess(torch.from_numpy(video), 256)["video"]
        seen = thwc((small * 255).byte())  # as in cdfvd.compute_fake_stats
        return seen, thwc(cd_i3d.preprocess_i3d(seen[None])[0])

    def common_metrics(video: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        unit = torch.from_numpy(video).permute(3, 0, 1, 2).float() / 255
        return video, thwc(common.preprocess_single(unit))

    def javisbench(video: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        transform = torchvision.transforms.Compose([torchvision.transforms.ToTensor(), javis_utils.ResizeAndPad(224)])
        vars(javis_data)["read_video"] = lambda path, n, frame_transform: torch.stack(list(map(frame_transform, video)))
        vars(javis_data)["read_audio"] = lambda *args, **kwargs: None
        seen = javis_data.FVDFADDataset((["x"], ["x"]), 24, 16000, len(video), transform=transform)[0]["video"]
        return seen.permute(0, 2, 3, 1).numpy(), thwc(mm_fvd.preprocess(seen[None])[0])

    return {
        "mmdiffusion-compat": mmdiffusion,
        "tats": tats,
        "videogpt": videogpt,
        "cd-fvd": cd_fvd,
        "common-metrics": common_metrics,
        "javisbench-compat": javisbench,
    }


def main() -> None:
    clones = Path(sys.argv[1])
    sys.meta_path.append(_StandIns())
    golden: dict[str, Any] = {}
    for name, run in evaluators(clones).items():
        for label, shape in SHAPES.items():
            seen, entered = run(picture(shape))
            golden.setdefault(name, {})[label] = {
                "shape": list(seen.shape),
                "pictures": points(seen).tolist(),
                "network": [round(float(v), 6) for v in points(entered)],
            }
    rows = [f" {json.dumps(n)}: {json.dumps(g, separators=(',', ':'))}" for n, g in golden.items()]
    OUT.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
