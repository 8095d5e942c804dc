"""Print the golden rows of the audioclip tests, by running the published code on recomputable weights.

    python -m tests.features.make_golden_audioclip --mm-diffusion CLONE

CLONE is a checkout of researchmm/MM-Diffusion. Nothing of it is copied here: its audio tower is loaded from where it
lies, without the training library it imports.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from pathlib import Path
from unittest import mock

import torch

from tests.features.conftest import _state
from tests.features.test_feature_audioclip import calm, fingerprint, sounds


def main(mm_diffusion: Path) -> None:
    """Print a fingerprint for each mode and scale."""
    root = mm_diffusion / "evaluations" / "AudioCLIP"
    for name in ("model", "utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(root / name)]
        sys.modules[name] = package
    trainer = types.ModuleType("ignite_trainer")
    trainer.AbstractNet, trainer.AbstractTransform = torch.nn.Module, object  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, {"ignite_trainer": trainer, "termcolor": mock.MagicMock()}):
        tower = importlib.import_module("model.esresnet.fbsp").ESResNeXtFBSP(
            n_fft=2048,
            hop_length=561,
            win_length=1654,
            window="blackmanharris",
            normalized=True,
            onesided=True,
            spec_height=-1,
            spec_width=-1,
            num_classes=1024,
            apply_attention=True,
            pretrained=False,
        )
    tower.load_state_dict(tower.state_dict() | calm(_state("audioclip")))
    with torch.no_grad():
        for mode in ("eval", "train"):
            tower.train(mode == "train")
            for scale, factor in (("float", 1), ("int16", 32768)):
                rows = tower(torch.from_numpy(sounds())[:, None] * factor).numpy()
                sys.stdout.write(f'    ("{mode}", "{scale}"): {fingerprint(rows)},\n')


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mm-diffusion", type=Path, required=True)
    main(**vars(parser.parse_args()))
