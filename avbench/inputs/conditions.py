"""What samples are given: windows of a folder of clips or of a dataset, chosen by the number of the sample alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avbench.diffusion.conditioning import GivenClip
from avbench.errors import MediaError, UserError
from avbench.inputs import reference
from avbench.protocol import Protocol
from avbench.recipe_baseline import ConditionRecipe
from avbench.training.loader import WindowSpec

_NEEDS = {"v2a": "flow_fd", "a2v": "mel_fd", "continue": "av_align", "inpaint": "av_align"}
"""A metric that needs of a clip what the task does: a picture, a sound, or both."""


class Conditions:
    """The clips that samples are given.

    Sample ``i`` of M clips takes clip ``i mod M``, in order of name, and of it one window whose place is drawn with
    ``i // M`` and the clip's name. So what a sample is given depends neither on the seed of the sampling nor on how
    many are made, and no clip is used twice before all were used once.

    Args:
        where: A folder of clips in any layout of docs/inputs.md, or a finished dataset.
        recipe: Task and split.
        window: What the network takes.

    Raises:
        UserError: No clips there.
    """

    def __init__(self, where: Path, recipe: ConditionRecipe, window: WindowSpec) -> None:
        self._where, self._task = where, recipe.task
        self._protocol = Protocol(
            name="condition",
            metrics=(_NEEDS[recipe.task],),
            frames=window.frames,
            fps=window.fps,
            size=window.size,
            sample_rate_hz=window.sample_rate_hz,
            windows="random",
            reference_split=recipe.split,
        )
        self._items, self._about = reference(where, self._protocol)

    def __len__(self) -> int:
        """Clips there are."""
        return len(self._items)

    @property
    def about(self) -> dict[str, Any]:
        """Name, version, sha256 and split of where they come from, and how many there are."""
        return {**self._about, "clips": len(self)}

    def clip(self, number: int) -> GivenClip:
        """What sample ``number`` is given.

        Raises:
            UserError: That clip is damaged, too short, or lacks what the task gives.
        """
        turn, place = divmod(number, len(self))
        item = self._items[place]
        try:
            window = next(iter(item.windows(self._protocol.model_copy(update={"seed": turn}))))
        except MediaError as error:
            raise UserError(
                f"{self._where}: task {self._task} cannot be given a clip: {error}; mend it or take it away"
            ) from error
        signals = window.signals
        source = {
            "clip": item.item_id,
            "window": window.window_id,
            "start_s": round(window.start_s, 6),
            "recording": window.cluster,
        }
        return GivenClip(
            signals.video if self._task != "a2v" else None, signals.audio if self._task != "v2a" else None, source
        )
