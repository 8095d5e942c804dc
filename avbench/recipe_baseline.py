"""The recipe of a baseline: how it is trained, how it is sampled, and what has been published of it.

``recipes/baselines/<baseline>-<preset>.toml``, read as every recipe is (`avbench.recipe`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from avbench.errors import UserError
from avbench.recipe import Strict
from avbench.recipe_avdit import NoiseLevelRecipe, Times
from avbench.recipe_external import ExternalRecipe
from avbench.recipe_two_step import TwoStepRecipe

_NOT_DEFINING = {"steps", "activation_checkpointing", "checkpoint_every", "keep_last", "keep_every"} | {
    "sample_every",
    "track",
}
"""Fields of `TrainRecipe` that a run may change when it goes on."""

_OPTIONAL: dict[str, Any] = {"flip": 0.0, "audio_gain": 1.0, "decay": "none"}
"""Fields of `TrainRecipe` that define a run only where they are not left at this, their default."""


class TrainRecipe(Strict):
    """How a baseline is trained.

    Attributes:
        steps: Optimizer steps.
        batch_size: Clips per step, of all processes together.
        accumulate: Parts a process computes its share of the batch in, one after the other, to need less memory.
        learning_rate: AdamW, no weight decay.
        warmup_steps: Linear warm-up.
        decay: ``cosine`` lowers the learning rate after the warm-up to 0 at the last step. The weights of any step then
            depend on how many there are, so such a run cannot be trained for longer.
        ema_decay: Decay of the averaged weights, reached after a warm-up.
        clip_norm: Gradients are clipped to this norm.
        flip: Probability that a clip's picture is mirrored, its sound as it is; 1 mirrors all of them, as the published
            MM-Diffusion code does by mistake.
        audio_gain: The network sees the sound multiplied by this, and samples are divided by it. The paper's is 1: it
            normalises no sound.
        bf16: Autocast to bfloat16; weights, optimizer and loss stay float32.
        activation_checkpointing: Compute activations a second time in the backward pass instead of keeping them: less
            memory, more time, the same weights.
        checkpoint_every: Steps between checkpoints.
        keep_last: Newest checkpoints left on disk.
        keep_every: Checkpoints whose step is a multiple of this are never deleted; None deletes all but the newest.
        sample_every: Steps between pictures of a few sampled clips; each comes with a checkpoint. None makes none.
        track: Where losses are shown besides ``log.jsonl``.
        seed: Seed of initialisation, order, noise.
    """

    steps: PositiveInt
    batch_size: PositiveInt
    accumulate: PositiveInt = 1
    learning_rate: PositiveFloat = 1e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    decay: Literal["none", "cosine"] = _OPTIONAL["decay"]
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    clip_norm: PositiveFloat = 1.0
    flip: Annotated[float, Field(ge=0, le=1)] = _OPTIONAL["flip"]
    audio_gain: Annotated[float, Field(gt=0, allow_inf_nan=False)] = _OPTIONAL["audio_gain"]
    bf16: bool = False
    activation_checkpointing: bool = False
    checkpoint_every: PositiveInt = 1000
    keep_last: PositiveInt = 2
    keep_every: PositiveInt | None = None
    sample_every: PositiveInt | None = None
    track: tuple[Literal["tensorboard", "wandb"], ...] = ()
    seed: int = 0

    def defining(self) -> dict[str, Any]:
        """What decides the weights at a given step: all but how long, what is kept on disk and what is shown."""
        found = self.model_dump(mode="json", exclude=_NOT_DEFINING)
        kept = {name: value for name, value in found.items() if name not in _OPTIONAL or value != _OPTIONAL[name]}
        return kept if self.decay == "none" else {**kept, "steps": self.steps}

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.decay == "none":
            return self.learning_rate * warm
        done = max(0, step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * warm * (1 + math.cos(math.pi * done)) / 2


class ConditionRecipe(Strict):
    """What a sample is given, and how: see `avbench.diffusion.conditioning`.

    Attributes:
        task: ``v2a`` gives the picture and makes the sound, ``a2v`` the other way round, ``continue`` gives the
            beginning, ``inpaint`` some times; ``keep`` says which.
        source: Where the given part comes from: a folder of clips (docs/inputs.md) or a dataset.
        split: Split of a dataset.
        keep: Times given for ``continue`` and ``inpaint``, [start, end) in seconds on the frame grid; in text
            ``0-0.4,1.2-1.6``.
        method: ``replace``, ``guide`` or ``both``.
        scale: Weight of the guidance; 1 is Bayes' rule under its approximation. None is 1; ``replace`` takes none.
        noise: Noise of the replaced part: ``fresh`` in every step, or ``fixed``.
        guidance: Of AVDiT: by how much more it follows what is given than it would by itself; 0 is by itself.
        drop: Of AVDiT: what of the given part guidance compares without: ``all``, ``video``, ``audio``, or times as
            those of ``keep``.
    """

    task: Literal["v2a", "a2v", "continue", "inpaint"]
    source: str
    split: Literal["train", "validation", "test", "all"] = "test"
    keep: Times = ()
    method: Literal["replace", "guide", "both"] = "replace"
    scale: Annotated[float, Field(ge=0)] | None = None
    noise: Literal["fresh", "fixed"] = "fresh"
    guidance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    drop: Literal["all", "video", "audio"] | Times = "all"

    @model_validator(mode="before")
    @classmethod
    def _times_as_text(cls, data: Any) -> Any:
        for name in ("keep", "drop"):
            text = data.get(name) if isinstance(data, dict) else None
            if not isinstance(text, str) or (name == "drop" and text.isalpha()):
                continue
            found = [part.split("-") for part in text.split(",")]
            if any(len(part) != 2 for part in found):
                raise ValueError(f"{name} {text!r}: write seconds as START-END, several with commas: 0-0.4,1.2-1.6")
            data = {**data, name: found}
        return data

    @model_validator(mode="after")
    def _no_contradiction(self) -> ConditionRecipe:
        if self.task in ("v2a", "a2v") and self.keep:
            raise ValueError(f"task {self.task} gives a whole picture or sound; leave out keep, or use task inpaint")
        if self.task in ("continue", "inpaint") and not self.keep:
            raise ValueError(f"task {self.task} needs the seconds that are given, such as keep 0-0.8")
        if self.task == "continue" and (len(self.keep) > 1 or self.keep[0][0] > 0):
            raise ValueError("task continue is given one part from 0 on, such as keep 0-0.8; use task inpaint")
        for start_s, end_s in self.keep:
            if start_s >= end_s:
                raise ValueError(f"keep {start_s:g}-{end_s:g} is empty; its end must lie behind its start")
        if self.method == "replace" and self.scale is not None:
            raise ValueError(f"scale {self.scale:g} is of guidance; use method guide or both, or leave it out")
        if self.method == "guide" and self.noise == "fixed":
            raise ValueError("noise fixed is of replacement; use method replace or both, or leave it out")
        if self.drop != "all" and not self.guidance:
            raise ValueError(f"drop {self.drop} is of guidance; give a guidance above 0, or leave it out")
        return self


class SampleRecipe(Strict):
    """How clips are sampled from a trained baseline.

    Attributes:
        n: Clips to make.
        scheduler: Solver, see `avbench.diffusion.solvers`.
        steps: Solver steps, at most the timesteps of the training schedule.
        spacing: Where the steps lie, see `avbench.diffusion.solvers.timesteps`.
        video_threshold: How the estimate of the picture is kept in range in every step: ``none``, ``clip`` or
            ``dynamic``; None takes what suits the solver.
        audio_threshold: The same of the sound.
        ddpm_variance: Variance of the noise that ``ddpm`` adds: ``large`` is beta_t, ``small`` the posterior's.
        start_noise: ``drawn``, or ``unit``: scaled to a root mean square of exactly 1 per clip and modality, see
            `avbench.diffusion.sampling.start_noise`.
        bf16: The network in bfloat16, weights and activations: half the memory, and the fastest way; the solver stays
            float32. It is another rounding, so the clips are not those of float32.
        batch_size: Clips per forward pass; does not change the clips.
        seed: Clip ``i`` depends on ``(seed, i)`` alone.
        condition: What each clip is given; None samples picture and sound together.
        enlarge: Folder whose clips are made larger; of baselines that do this.
        seconds: Length of clips that are made of several windows, each continuing the one before; of AVDiT. None makes
            clips of one window.
    """

    n: PositiveInt
    scheduler: Literal["dpm-solver++", "ddpm", "ddim", "unipc"] = "dpm-solver++"
    steps: PositiveInt = 20
    spacing: Literal["linspace", "trailing", "leading", "quadratic"] = "linspace"
    video_threshold: Literal["none", "clip", "dynamic"] | None = None
    audio_threshold: Literal["none", "clip", "dynamic"] | None = None
    ddpm_variance: Literal["large", "small"] = "large"
    start_noise: Literal["drawn", "unit"] = "drawn"
    bf16: bool = False
    batch_size: PositiveInt = 8
    seed: int = 0
    condition: ConditionRecipe | None = None
    enlarge: str | None = None
    seconds: PositiveFloat | None = None


class CodecRecipe(Strict):
    """The codecs that a baseline of latents works behind, and the clips it learns (docs/latent.md, docs/codecs.md).

    Attributes:
        video: Codec of the picture: a name, or the folder of a run of the baseline ``autoencoder``.
        audio: Codec of the sound, likewise.
        frames: Frames of a clip; a causal codec takes 1 + 4 k, or whatever its own step is.
        size: Width and height of a clip, pixels: those of the dataset's training view, or a whole fraction.
        fps: Frames per second, as the training view.
        sample_rate_hz: Audio rate of clips, as the training view; codecs of another rate get the sound resampled.
        stride: Frames from the start of an encoded window to that of the next; None is half a clip.
        accept_licence: The licences of the codecs' weights are accepted, also those that forbid commercial use.
    """

    video: str = Field(min_length=1)
    audio: str = Field(min_length=1)
    frames: PositiveInt
    size: PositiveInt
    fps: PositiveFloat = 10.0
    sample_rate_hz: PositiveInt = 16000
    stride: PositiveInt | None = None
    accept_licence: bool = False


class Literature(Strict):
    """A row of published numbers, to know what to expect; they are never ranked with measured ones.

    Attributes:
        table: Name of a file in ``recipes/literature`` (`avbench.leaderboard.literature`), the one home of the numbers.
        system: Which of its rows.
    """

    table: str = Field(min_length=1)
    system: str = Field(min_length=1)


class BaselineRecipe(Strict):
    """One configuration of a baseline: ``recipes/baselines/<baseline>-<preset>.toml``.

    Attributes:
        description: What it is for.
        baseline: File in ``avbench/baselines``.
        preset: What the user calls it.
        network: Size of the network, named in its model file; empty means that it is called as the preset.
        dataset: Dataset it is trained on, or compared with, when the user names none.
        protocol: Protocol its samples are scored with.
        hardware: What it was trained on, or is meant for; empty means unknown.
        hours: Hours of training on that hardware; None means that nobody has published or measured them.
        literature: Rows of published numbers to compare with by eye.
        noise_levels: How noise levels are drawn in training; of AVDiT.
        codec: The codecs and clips of a baseline of latents; None for the others.
        prompts: Texts that clips are made from: a list in ``recipes/prompts`` or a file, see
            `avbench.inputs.prompt_lists`; empty where the baseline takes none.
        train: Training; None where the baseline trains nothing.
        sample: Sampling; a baseline that trains nothing reads ``n`` and ``seed`` alone.
        two_step: The two models of the baseline ``two-step``.
        external: The system of the baseline ``external``.
    """

    description: str = ""
    baseline: str
    preset: str
    network: str = ""
    dataset: str = "demo"
    protocol: str
    hardware: str = ""
    hours: PositiveFloat | None = None
    literature: tuple[Literature, ...] = ()
    noise_levels: NoiseLevelRecipe | None = None
    codec: CodecRecipe | None = None
    prompts: str = ""
    train: TrainRecipe | None = None
    sample: SampleRecipe
    two_step: TwoStepRecipe | None = None
    external: ExternalRecipe | None = None

    @property
    def size(self) -> str:
        """Name of the network's size in its model file."""
        return self.network or self.preset

    @property
    def shown_as(self) -> tuple[str, str]:
        """Model and preset as tables show them; somebody else's model is called ``external:NAME``."""
        return (f"external:{self.preset}", "") if self.external else (self.baseline, self.preset)

    @property
    def training(self) -> TrainRecipe:
        """Training, of a baseline that is trained.

        Raises:
            UserError: The recipe has none.
        """
        if self.train is None:
            raise UserError(f"recipe {self.baseline}-{self.preset}: has no section [train]; {self.baseline} needs one")
        return self.train
