"""The part of a baseline's recipe that names two models: one makes a picture for a text, the other a sound for both.

Section ``[two_step]`` of ``recipes/baselines/two-step-*.toml``; docs/two-step.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from avbench.recipe import Strict

DType = Literal["float16", "bfloat16", "float32"]

_CHANGES_NO_CLIP = {"offload", "checkout", "python", "timeout_s", "download_gb", "gpu_gb", "batch_size"} | {
    "files",
    "gated",
    "licence",
    "non_commercial",
}
"""Fields of a step that say where and how it is computed and who may use it, not what comes out."""


class Step(Strict):
    """One of the two models."""

    def defining(self) -> dict[str, Any]:
        """What decides a clip; two recipes that agree in it may share what was made."""
        return self.model_dump(mode="json", exclude=_CHANGES_NO_CLIP)


class VideoStep(Step):
    """Text to picture: any text-to-video pipeline of diffusers.

    Attributes:
        model: Repository of the Hugging Face hub, or a folder in the layout of ``DiffusionPipeline.save_pretrained``;
            ``untrained`` is a tiny one with random weights, made on the spot, to see the line work without a network.
        revision: Commit, tag or branch of the repository; ``samples.json`` has the commit that was found.
        files: Which files of the repository, as shell patterns on their paths; each must match one. Pickles and Python
            files are never read.
        gated: The hub gives it only to signed-in users who accepted its terms there.
        licence: Of the weights.
        non_commercial: That licence forbids commercial use: the weights are used only with ``--accept-license``.
        frames: Pictures of a clip.
        height: Pixels, even.
        width: Pixels, even.
        fps: Rate at which the pictures are shown.
        steps: Solver steps, of the pipeline's own solver.
        guidance: Scale of classifier-free guidance.
        dynamic_guidance: Let the scale change over the steps, where the pipeline has that (CogVideoX).
        negative_prompt: What a clip is guided away from.
        scheduler: Options of the pipeline's solver that are not as its files have them.
        dtype: Numbers of the networks.
        vae_dtype: Numbers of the decoder, where they differ and the pipeline converts between them (Wan does).
        tiling: Decode in overlapping tiles, to need less memory.
        offload: On a GPU: ``model`` keeps one network there at a time, ``sequential`` one layer, ``none`` all.
        download_gb: Size of what is downloaded, 10^9 bytes; None where nobody has stated it.
        gpu_gb: Memory it needs on a GPU with this offload, as its authors state it, 10^9 bytes.
    """

    model: str = Field(min_length=1)
    revision: str = "main"
    files: tuple[str, ...] = ("*.json", "*.safetensors")
    gated: bool = False
    licence: str = Field(min_length=1)
    non_commercial: bool = False
    frames: PositiveInt
    height: Annotated[int, Field(gt=0, multiple_of=2)]
    width: Annotated[int, Field(gt=0, multiple_of=2)]
    fps: PositiveFloat
    steps: PositiveInt = 50
    guidance: NonNegativeFloat = 6.0
    dynamic_guidance: bool = False
    negative_prompt: str = ""
    scheduler: Mapping[str, bool | int | float | str] = Field(default_factory=dict)
    dtype: DType = "float32"
    vae_dtype: DType | None = None
    tiling: bool = False
    offload: Literal["none", "model", "sequential"] = "none"
    download_gb: PositiveFloat | None = None
    gpu_gb: PositiveFloat | None = None


class MMAudioStep(Step):
    """Picture and text to sound: MMAudio (arXiv 2412.15322), its own program in its own environment.

    Attributes:
        kind: ``mmaudio``.
        commit: Commit its checkout must stand at.
        variant: Name of its network.
        guidance: Scale of classifier-free guidance.
        steps: Euler steps.
        negative_prompt: What the sound is guided away from.
        full_precision: float32 instead of bfloat16.
        licence: Of its weights.
        non_commercial: See `VideoStep`.
        checkout: Folder of its checkout; empty takes ``$AVBENCH_MMAUDIO_CHECKOUT``.
        python: Python of its environment; empty takes ``$AVBENCH_MMAUDIO_PYTHON``, else the one that runs avbench.
        timeout_s: Seconds after which one clip is given up.
        download_gb: See `VideoStep`.
        gpu_gb: See `VideoStep`.
    """

    kind: Literal["mmaudio"]
    commit: Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
    variant: Literal["small_16k", "small_44k", "medium_44k", "large_44k", "large_44k_v2"] = "large_44k_v2"
    guidance: NonNegativeFloat = 4.5
    steps: PositiveInt = 25
    negative_prompt: str = ""
    full_precision: bool = False
    licence: str = Field(min_length=1)
    non_commercial: bool = True
    checkout: str = ""
    python: str = ""
    timeout_s: PositiveFloat = 1800.0
    download_gb: PositiveFloat | None = None
    gpu_gb: PositiveFloat | None = None


class RunStep(Step):
    """Picture to sound: a model that avbench trained, sampled with the picture given (``--task v2a``).

    Attributes:
        kind: ``run``.
        run: Folder of the run; its own recipe says which baseline it is.
        steps: Solver steps; None takes those of the run's recipe.
        method: How the picture is given, see `avbench.diffusion.conditioning`.
        scale: Weight of the guidance; ``replace`` takes none.
        guidance: Of AVDiT: by how much more the sound follows the picture than it would by itself.
        overlap_s: Neighbouring windows of the model share at least so much of the clip; there one sound fades into the
            next.
        batch_size: Windows per forward pass.
    """

    kind: Literal["run"]
    run: str = Field(min_length=1)
    steps: PositiveInt | None = None
    method: Literal["replace", "guide", "both"] = "replace"
    scale: NonNegativeFloat | None = None
    guidance: NonNegativeFloat = 0.0
    overlap_s: NonNegativeFloat = 0.2
    batch_size: PositiveInt = 8

    def defining(self) -> dict[str, Any]:
        """See `Step`; a guidance that is not used is left out, as before there was any."""
        return {name: value for name, value in super().defining().items() if name != "guidance" or value}


class TwoStepRecipe(Strict):
    """The two models.

    Attributes:
        video: Text to picture.
        sound: Picture and text to sound.
    """

    video: VideoStep
    sound: Annotated[MMAudioStep | RunStep, Field(discriminator="kind")]
