"""How the noise levels of AVDiT's training clips are drawn: the part of a baseline's recipe that is its alone.

Source: arXiv 2405.13762 ("mixture of noise levels"); `avbench.diffusion.noise_levels` draws them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, PositiveFloat, model_validator

from avbench.recipe import Strict

Weight = Annotated[FiniteFloat, Field(ge=0)]
Strategy = Literal["vanilla", "pm", "pt", "ptm"]
_UNIFORM: dict[Strategy, float] = {"vanilla": 1.0, "pm": 1.0, "pt": 1.0, "ptm": 1.0}
Times = tuple[tuple[Annotated[float, Field(ge=0)], PositiveFloat], ...]


class NoiseLevelRecipe(Strict):
    """How the noise levels of a training clip are drawn.

    Attributes:
        weights: Strategy to its share, of any sum: ``vanilla`` one level for all tokens, ``pm`` one per modality,
            ``pt`` one per time slice, ``ptm`` one per slice and modality. The default is the paper's mixture.
        task: None, or the one task that the network is trained for: what that task gives has no noise in training and
            the rest one level, as in the paper's task-specific baseline. ``weights`` then do not count.
        keep: Times given for ``continue`` and ``inpaint``, [start, end) in seconds; as `ConditionRecipe.keep`.
        self_conditioning: Share of the steps in which the network sees its own first estimate.
    """

    weights: dict[Strategy, Weight] = Field(default_factory=lambda: dict(_UNIFORM))
    task: Literal["v2a", "a2v", "continue", "inpaint"] | None = None
    keep: Times = ()
    self_conditioning: Annotated[float, Field(ge=0, le=1)] = 0.9

    @model_validator(mode="after")
    def _no_contradiction(self) -> NoiseLevelRecipe:
        if not sum(self.weights.values()):
            raise ValueError("weights are all 0: give at least one strategy a share")
        if bool(self.keep) != (self.task in ("continue", "inpaint")):
            raise ValueError("keep goes with task continue or inpaint: name both, such as keep [[0, 0.5]], or neither")
        return self

    @property
    def drawn(self) -> dict[str, float]:
        """Weights of the strategies that training draws from."""
        return {"vanilla": 1.0} if self.task else {name: weight for name, weight in self.weights.items()}
