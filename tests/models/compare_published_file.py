"""Let the published code save a checkpoint, import it, compare: ``python compare_published_file.py CLONE FOLDER``.

The clone is github.com/researchmm/MM-Diffusion at 7250222. Run from the project's root, with it on the path
(``PYTHONPATH=.``). The network has the paper's layout at a quarter of its width; ``FOLDER`` must be new.
"""

from __future__ import annotations

import random
import sys
import types
from pathlib import Path

import torch

from avbench.baselines import _importing, mmdiffusion
from avbench.baselines._importing import Untold
from avbench.runs import load_recipe
from avbench.training import checkpoint
from tests.models.mmdiffusion_cases import Case, clip

PAPER = Case(16, 16, 4096, 1, 32, (1, 2, 3, 4), 2, (2, 4, 8), (1, 4, 8), (2, 4, 8), (), 32, (300,), 1)


def main() -> None:
    """Print the largest difference of each output, in standard deviations; exit code 1 above 1e-4."""
    sys.path.insert(0, str(Path(__file__).parent))
    from make_mmdiffusion_golden import published_module, published_network

    clone, folder = Path(sys.argv[1]), Path(sys.argv[2])
    module = published_module(clone)
    torch.manual_seed(0)
    network = published_network(module, PAPER)
    for parameter in network.parameters():  # no zero of the initialisation is left, so that every block shows
        parameter.data += 0.02 * torch.randn_like(parameter)
    folder.mkdir()
    file = folder / "ema_0.9999_000010.pt"
    torch.save({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, file)
    drawn: list[int] = []
    draw = random.Random(0)

    def randint(low: int, high: int) -> int:
        drawn.append(draw.randint(low, high))
        return drawn[-1]

    module.random = types.SimpleNamespace(randint=randint)
    untold = Untold(cross_head_channels=PAPER.cross_head_channels)
    recipe = load_recipe("mmdiffusion", "paper")
    done = _importing.import_checkpoint(file, _importing.read(file), folder / "run", recipe, untold)
    imported = mmdiffusion.load(checkpoint.read(done.checkpoint))
    with torch.no_grad():
        wanted = network(*clip(PAPER))
        got = imported(*clip(PAPER), drawn)
    errors = [((one - other).abs().max() / other.std()).item() for one, other in zip(got, wanted, strict=True)]
    sys.stdout.write(f"{done.tensors} tensors, {done.parameters} parameters, errors {errors}\n")
    sys.exit(max(errors) > 1e-4)


if __name__ == "__main__":
    main()
