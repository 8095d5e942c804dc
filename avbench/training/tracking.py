"""The rows of the log sent to TensorBoard and to Weights & Biases too, where the recipe or an option asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from avbench.errors import UserError

Track = Callable[[dict[str, float]], None]
"""Takes one row of the log."""

_PACKAGES = "install it with `pip install 'avbench[track]'`, or leave it out of train.track"


@contextmanager
def trackers(names: Sequence[str], run: Path, config: dict[str, Any], start: int) -> Iterator[Track]:
    """Open the trackers asked for, for as long as the ``with`` block lasts.

    Args:
        names: Some of ``tensorboard`` (event files in ``run/tensorboard``) and ``wandb`` (files in ``run/wandb``; which
            server, account and mode is told by its own variables, ``WANDB_MODE=offline`` needs no network; a
            training that goes on is a new run there, in the group of the folder's name).
        run: Folder of the run.
        config: Shown by W&B beside the curves.
        start: Steps taken before; what a tracker was told of later steps is void.

    Yields:
        A function that takes a row of the log.

    Raises:
        UserError: A package is not installed, or W&B does not start.
    """
    with ExitStack() as stack:
        told = [stack.enter_context(_OPEN[name](run, config, start)) for name in dict.fromkeys(names)]

        def track(row: dict[str, float]) -> None:
            for tell in told:
                tell(row)

        yield track


@contextmanager
def _tensorboard(run: Path, config: dict[str, Any], start: int) -> Iterator[Track]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(f"train.track = 'tensorboard': the package tensorboard is missing; {_PACKAGES}") from error
    with SummaryWriter(str(run / "tensorboard"), purge_step=start + 1) as writer:

        def tell(row: dict[str, float]) -> None:
            for name, value in row.items():
                if name != "step":
                    writer.add_scalar(_title(name), value, int(row["step"]))

        yield tell


@contextmanager
def _wandb(run: Path, config: dict[str, Any], start: int) -> Iterator[Track]:
    try:
        import wandb
    except ImportError as error:
        raise UserError(f"train.track = 'wandb': the package wandb is missing; {_PACKAGES}") from error
    try:
        session = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "avbench"),
            group=run.resolve().name,
            dir=str(run),
            config={**config, "resumed_at_step": start},
        )
    except wandb.errors.Error as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"train.track = 'wandb': W&B does not start ({reason}); "
            "log in with `wandb login`, or set WANDB_MODE=offline"
        ) from error
    try:
        yield lambda row: session.log({_title(name): value for name, value in row.items()}, step=int(row["step"]))
    finally:
        session.finish()


def _title(name: str) -> str:
    """Losses in a group of their own: ``loss/video_q1``."""
    return name.replace("loss_", "loss/", 1)


_OPEN = {"tensorboard": _tensorboard, "wandb": _wandb}
