"""The first step: text to picture, by any text-to-video pipeline of diffusers, from files that hold no code.

Pictures are kept in ``videos/`` of the run, without loss, each under a digest of all that decides it. So a sound can be
made anew without them, and they may be deleted once the clips are there.
"""

from __future__ import annotations

import gc
import importlib.util
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avbench import hub_weights, npz, recipe as recipes
from avbench.baselines._two_step_untrained import build_cogvideox, quiet
from avbench.errors import MediaError, UserError
from avbench.hub_weights import HubModel
from avbench.progress import Bar, Reporter
from avbench.recipe_two_step import VideoStep
from avbench.workspace import file_sha256, publish, read_json, write_json

UNTRAINED = "untrained"
"""Model of the recipe ``tiny``; see `avbench.baselines._two_step_untrained`."""

INDEX = "model_index.json"
EXTRA = "install the extra: pip install 'avbench[two-step]'"
_LIBRARIES = ("diffusers", "transformers")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Wanted:
    """One clip to make.

    Attributes:
        name: File stem.
        prompt: The text.
        seed: Of its noise.
    """

    name: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class Weights:
    """The files of a pipeline on this machine.

    Attributes:
        folder: Where.
        revision: Commit of the hub's repository, or the digest of a folder's files.
        pipeline: Name of its class in diffusers.
        scheduler: Name of its solver's class.
    """

    folder: Path
    revision: str
    pipeline: str
    scheduler: str


def hub_model(step: VideoStep) -> HubModel:
    """What is fetched of a repository."""
    return HubModel(step.model, step.revision, step.licence, step.non_commercial, step.files, step.gated)


def is_folder(step: VideoStep) -> bool:
    """Whether the model is a folder of this machine: one that is there, or a name that no repository can have."""
    model = step.model
    named = Path(model).is_dir() or model.startswith(("/", ".", "~")) or model.count("/") != 1
    return named and model != UNTRAINED


def locate(step: VideoStep, scratch: Path, *, accept_licence: bool, reporter: Reporter) -> Weights:
    """The files of the pipeline: those of a folder, fetched from the hub, or made on the spot with random numbers.

    Args:
        step: Which model.
        scratch: Where one with random numbers goes.
        accept_licence: A licence that forbids commercial use was accepted.
        reporter: Progress of the transfer.

    Raises:
        UserError: No such folder or repository, a library is missing, it holds code or pickles, or what
            `avbench.hub_weights.snapshot` raises.
    """
    _require_libraries(step)
    if step.model == UNTRAINED:
        folder = build_cogvideox(scratch)
    elif is_folder(step):
        folder = Path(step.model).expanduser()
    else:
        folder = hub_weights.snapshot(hub_model(step), accept_licence=accept_licence, reporter=reporter)
    classes = check_files(folder)
    is_local = step.model == UNTRAINED or is_folder(step)
    return Weights(folder, folder_digest(folder) if is_local else hub_weights.commit(folder), *classes)


def _require_libraries(step: VideoStep) -> None:
    if importlib.util.find_spec("transformers") is None:
        raise UserError(f"{step.model}: its text encoder needs transformers, which is not installed; {EXTRA}")


def check_files(folder: Path) -> tuple[str, str]:
    """Names of the classes of pipeline and solver, where the files hold a pipeline of diffusers and no code.

    Raises:
        UserError: They do not.
    """
    path = folder / INDEX
    if not path.is_file():
        raise UserError(
            f"{folder}: holds no {INDEX}; give a folder that DiffusionPipeline.save_pretrained wrote, or OWNER/NAME of "
            "a hub repository in that layout"
        )
    index = read_json(path)
    name = index.get("_class_name")
    parts = {key: value for key, value in index.items() if isinstance(value, list) and value[:1] != [None]}
    foreign = [f"{key} ({value[0]})" for key, value in parts.items() if not _is_known(value[0])]
    code = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.py"))
    if not isinstance(name, str) or foreign or code:
        what = foreign[0] if foreign else code[0] if code else f"pipeline {name}"
        raise UserError(f"{folder}: {what} is code of its own, which avbench does not run; take a model of diffusers")
    for part in parts:
        files = [file.name for file in (folder / part).glob("*") if file.is_file()]
        if any(file.endswith(_PICKLES) for file in files) and not any(file.endswith(".safetensors") for file in files):
            raise UserError(
                f"{folder / part}: holds weights as a pickle only, which avbench never opens; take safetensors"
            )
    _require_tokenizer(folder)
    return name, str(parts.get("scheduler", ["", "unknown"])[1])


def _is_known(library: str) -> bool:
    """Whether a part of a pipeline is of the libraries: a folder of diffusers' own pipelines counts by its name."""
    from diffusers import pipelines

    return library in _LIBRARIES or (library.isidentifier() and (Path(pipelines.__path__[0]) / library).is_dir())


def _require_tokenizer(folder: Path) -> None:
    """A tokenizer that is there as a SentencePiece model only needs that library."""
    for found in folder.glob("tokenizer*"):
        bare = any(found.glob("*.model")) and not (found / "tokenizer.json").is_file()
        if bare and importlib.util.find_spec("sentencepiece") is None:
            raise UserError(f"{found}: reading it needs sentencepiece, which is not installed; {EXTRA}")


def folder_digest(folder: Path) -> str:
    """Digest of all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return recipes.sha256({path.relative_to(folder).as_posix(): file_sha256(path) for path in files})


class Videos:
    """The pictures of a run on disk.

    Args:
        folder: ``videos`` of the run.
        identity: What decides every picture but prompt and seed.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._folder, self._identity = folder, identity

    def _note(self, wanted: Wanted) -> Path:
        return self._folder / f"{wanted.name}.json"

    def _pictures(self, wanted: Wanted) -> Path:
        return self._folder / f"{wanted.name}.npz"

    def _key(self, wanted: Wanted) -> str:
        return recipes.sha256({"video": self._identity, "prompt": wanted.prompt, "seed": wanted.seed})

    def has(self, wanted: Wanted) -> bool:
        """Whether the pictures of this prompt and seed are there."""
        note = self._note(wanted)
        there = note.is_file() and self._pictures(wanted).is_file()
        return there and read_json(note).get("key") == self._key(wanted)

    def write(self, wanted: Wanted, video: NDArray[np.uint8], fps: float) -> None:
        """Publish pictures: first they themselves, then the note that says what they are."""
        note = self._note(wanted)
        note.unlink(missing_ok=True)  # it speaks of the pictures that are replaced
        with publish(self._pictures(wanted)) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, video=video, fps=np.float64(fps))
        write_json(note, {"key": self._key(wanted), "prompt": wanted.prompt, "seed": wanted.seed})

    def read(self, wanted: Wanted) -> tuple[NDArray[np.uint8], float]:
        """Pictures uint8 (T, H, W, 3), and frames per second.

        Raises:
            MediaError: The file is damaged; its note is gone, so that the next run makes the pictures anew.
        """
        path = self._pictures(wanted)
        try:
            data = npz.read(path)
            return data["video"], float(data["fps"])
        except npz.DAMAGE as error:
            self._note(wanted).unlink(missing_ok=True)
            raise MediaError(f"{path}: cannot be read ({error}); the same command makes these pictures anew") from error


def make_videos(
    step: VideoStep,
    weights: Weights,
    wanted: Sequence[Wanted],
    videos: Videos,
    *,
    device: torch.device,
    bar: Bar,
    failed: Callable[[str, str], None],
) -> None:
    """Make the pictures that are not there, one clip after the other, each published as soon as it is made.

    Args:
        step: How.
        weights: The pipeline's files.
        wanted: Clips.
        videos: Where to.
        device: Where to compute.
        bar: Advanced by one per clip.
        failed: Told the name of a clip that could not be made, and why.

    Raises:
        UserError: The pipeline does not make what the recipe asks for, or the GPU has too little memory.
    """
    missing = [clip for clip in wanted if not videos.has(clip)]
    bar.advance(len(wanted) - len(missing))
    if not missing:
        return
    with _loaded(step, weights, device) as pipeline:
        for clip in missing:
            try:
                videos.write(clip, _video(pipeline, step, clip, bar), step.fps)
            except MediaError as error:
                failed(clip.name, str(error))


@contextmanager
def _loaded(step: VideoStep, weights: Weights, device: torch.device) -> Iterator[Any]:
    """The pipeline, in memory for the length of the block: the second step needs its room."""
    from diffusers import DiffusionPipeline

    quiet()
    dtype: Any = getattr(torch, step.dtype)
    if step.vae_dtype is not None:
        dtype = {"vae": getattr(torch, step.vae_dtype), "default": dtype}
    with warnings.catch_warnings():
        # newer versions call it dtype, older ones know no such word
        warnings.filterwarnings("ignore", message=".*torch_dtype", category=FutureWarning)
        pipeline: Any = DiffusionPipeline.from_pretrained(
            weights.folder, torch_dtype=dtype, use_safetensors=True, local_files_only=True
        )
    pipeline.set_progress_bar_config(disable=True)
    _check_arguments(pipeline, step)
    if step.scheduler:
        pipeline.scheduler = _with_options(pipeline.scheduler, step)
    if step.tiling:
        pipeline.vae.enable_tiling()
    if device.type == "cuda" and step.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif device.type == "cuda" and step.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
    try:
        yield pipeline
    finally:
        pipeline.maybe_free_model_hooks()
        del pipeline
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _with_options(scheduler: Any, step: VideoStep) -> Any:
    """The pipeline's solver with the recipe's options."""
    known = set(inspect.signature(type(scheduler).__init__).parameters)
    for name in step.scheduler:
        if name not in known:
            raise UserError(
                f"two_step.video.scheduler.{name}: {type(scheduler).__name__} of {step.model} has no such option; it "
                f"has {', '.join(sorted(known - {'self'}))}"
            )
    return type(scheduler).from_config(scheduler.config, **step.scheduler)


def _check_arguments(pipeline: Any, step: VideoStep) -> None:
    """The pipeline makes pictures of a text, and takes what the recipe sets."""
    takes = inspect.signature(type(pipeline).__call__).parameters
    name = type(pipeline).__name__
    if "num_frames" not in takes or "prompt" not in takes or "image" in takes:
        raise UserError(f"{step.model}: {name} does not make videos of a text alone; take a text-to-video pipeline")
    if step.dynamic_guidance and "use_dynamic_cfg" not in takes:
        raise UserError(f"two_step.video.dynamic_guidance: {name} has none; leave it out")
    if step.tiling and not hasattr(getattr(pipeline, "vae", None), "enable_tiling"):
        raise UserError(f"two_step.video.tiling: the decoder of {name} has none; leave it out")


def _video(pipeline: Any, step: VideoStep, clip: Wanted, bar: Bar) -> NDArray[np.uint8]:
    """The pictures of one clip, uint8 (T, H, W, 3), rounded to the nearest grey level.

    Raises:
        MediaError: The pipeline gave no numbers.
        UserError: It gave another number or size of pictures, or the GPU has too little memory.
    """
    takes = inspect.signature(type(pipeline).__call__).parameters

    def stepped(_pipeline: Any, _step: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        bar.advance(1 / step.steps)
        return values

    optional: dict[str, Any] = {"use_dynamic_cfg": True} if step.dynamic_guidance else {}
    if "callback_on_step_end" in takes:
        optional["callback_on_step_end"] = stepped
    try:
        frames = pipeline(
            prompt=clip.prompt,
            negative_prompt=step.negative_prompt,
            num_frames=step.frames,
            height=step.height,
            width=step.width,
            num_inference_steps=step.steps,
            guidance_scale=step.guidance,
            # on the CPU: the same noise on every device
            generator=torch.Generator().manual_seed(clip.seed),
            output_type="np",
            **optional,
        ).frames[0]
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            f"{step.model}: the GPU has too little memory for {step.frames} frames of {step.width}x{step.height}; set "
            "two_step.video.offload = 'model' or 'sequential' and tiling = true in a recipe of your own"
        ) from error
    except ValueError as error:  # the pipeline refuses a size or a number of frames
        raise UserError(f"{step.model}: {str(error).splitlines()[0]}; change [two_step.video] of the recipe") from error
    if "callback_on_step_end" not in takes:
        bar.advance()
    video = np.asarray(frames, np.float32)
    if video.shape != (step.frames, step.height, step.width, 3):
        made = "x".join(map(str, video.shape))
        raise UserError(
            f"{step.model}: gave {made} values for {step.frames} frames of {step.width}x{step.height}; set frames, "
            "height and width in [two_step.video] to what the model makes"
        )
    if not np.isfinite(video).all():
        raise MediaError(f"the pictures hold NaN or infinity; {step.dtype} may be too coarse for this model")
    return np.rint(video.clip(0, 1) * 255).astype(np.uint8)


def about(step: VideoStep, weights: Weights) -> dict[str, Any]:
    """What decides the pictures, as ``samples.json`` and the digests have it."""
    # where a folder lies decides nothing, what is in it does
    model = Path(step.model).expanduser().resolve().name if is_folder(step) else step.model
    found = {"model": model, "revision": weights.revision, "pipeline": weights.pipeline, "solver": weights.scheduler}
    return {**step.defining(), **found}
