"""Clips of a diffusers pipeline that gives picture and sound together, such as LTX-2's.

The class is taken from diffusers by name and its weights are safetensors: no code comes with a repository.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avbench import hub_weights, registry
from avbench.baselines._base import clip_name
from avbench.baselines._external_check import check
from avbench.baselines._external_places import hub_model, variable, weights_folder
from avbench.baselines._external_program import Made
from avbench.baselines._two_step_video import check_files, folder_digest
from avbench.baselines._untrained import Prompts, clip_seed, write_film
from avbench.errors import MediaError, UserError
from avbench.parallel import attempt
from avbench.progress import SILENT, Reporter
from avbench.recipe_baseline import BaselineRecipe
from avbench.recipe_external import ExternalRecipe, Pipeline
from avbench.schema import Outcome


def complaints(pipeline: Pipeline, preset: str) -> list[str]:
    """What is missing on this machine before the pipeline can run, a sentence each; the hub is not asked."""
    bad = []
    try:
        pipeline_class(pipeline.name)
    except UserError as error:
        bad.append(str(error))
    folder, hint = weights_folder(pipeline, preset), f"set {variable(preset, 'weights')}"
    if folder is None and not pipeline.repo:
        bad.append(f"nobody has said where its weights are; {hint}")
    elif folder is not None and not (folder / "model_index.json").is_file():
        bad.append(f"{folder}: holds no model_index.json, so it is no saved pipeline; {hint} to one that is")
    return bad


def pipeline_class(name: str) -> Any:
    """A pipeline class of the installed diffusers.

    Raises:
        UserError: There is none of this name, or what it needs is not installed.
    """
    import diffusers

    known = [each for each in dir(diffusers) if each.endswith("Pipeline")]
    if name not in known:
        raise registry.unknown("pipeline of diffusers", name, known)
    found = getattr(diffusers, name)
    if not hasattr(found, "from_pretrained") or "dummy" in found.__module__:
        raise UserError(f"{name} of diffusers needs transformers; install the extra: pip install 'avbench[two-step]'")
    return found


class Maker:
    """A loaded pipeline.

    Args:
        recipe: Which, and how it is called.
        device: Where it computes.
        reporter: Progress of a download.

    Raises:
        UserError: It cannot be found, fetched or loaded.
    """

    def __init__(self, recipe: BaselineRecipe, device: torch.device, reporter: Reporter = SILENT) -> None:
        assert recipe.external is not None
        assert recipe.external.pipeline is not None
        self._recipe, self._external = recipe, recipe.external
        self._options: Pipeline = recipe.external.pipeline
        folder, self.revision = self._weights(reporter)
        self._pipeline = _placed(_loaded(self._options, folder), self._options, device)
        self._rate_hz = self._options.sample_rate_hz or _vocoder_rate(self._pipeline, self._options.name)

    def _weights(self, reporter: Reporter) -> tuple[Path, str]:
        own = weights_folder(self._options, self._recipe.preset)
        if own is not None:
            return own, folder_digest(own)
        found = hub_weights.snapshot(
            hub_model(self._options, _weights_licence(self._external)), accept_licence=True, reporter=reporter
        )
        return found, hub_weights.commit(found)

    def make(self, run: Path, missing: Sequence[int], prompts: Prompts) -> Iterator[Outcome[Made]]:
        """Make the clips ``missing``, each from a generator of its own; one outcome per clip, in order."""
        for number in missing:
            work = run / "calls" / clip_name(number)
            shutil.rmtree(work, ignore_errors=True)
            yield attempt(functools.partial(self._one, work, prompts), number, clip_name(number))
            shutil.rmtree(work, ignore_errors=True)

    def _one(self, work: Path, prompts: Prompts, number: int) -> Made:
        seed = clip_seed(self._recipe.sample.seed, number)
        with torch.inference_mode():
            result = self._pipeline(
                prompt=prompts.text(number),
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
                **self._options.arguments,
            )
        fps = self._external.expected.fps
        assert fps is not None
        path = work / "clip.mp4"
        write_film(path, _pictures(result), fps, _sound(result), self._rate_hz)
        check(path, self._external.expected)
        return Made(number, path, seed)


def _weights_licence(external: ExternalRecipe) -> str:
    return next((each.terms for each in external.licences if each.what == "weights"), "unknown")


def _loaded(options: Pipeline, folder: Path) -> Any:
    """The pipeline with its weights, of safetensors alone.

    Raises:
        UserError: The folder holds another pipeline, code or pickles, or not all of it.
    """
    held, _ = check_files(folder)
    if held != options.name:
        raise UserError(f"{folder}: holds a {held}, the recipe is for {options.name}; name the folder of that")
    try:
        return pipeline_class(options.name).from_pretrained(
            folder, torch_dtype=getattr(torch, options.dtype), use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{folder}: cannot be loaded as {options.name} ({reason})") from error


def _placed(pipeline: Any, options: Pipeline, device: torch.device) -> Any:
    """Where its weights stay between steps; parts of it move by themselves where there is a CUDA device."""
    pipeline.set_progress_bar_config(disable=True)
    if device.type != "cuda" or options.offload == "none":
        pipeline.to(device)
    elif options.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)
    return pipeline


def _vocoder_rate(pipeline: Any, name: str) -> int:
    config = getattr(getattr(pipeline, "vocoder", None), "config", {})
    rate = config.get("output_sampling_rate")
    if not rate:
        raise UserError(f"{name} does not say the rate of its sound; give pipeline.sample_rate_hz in the recipe")
    return int(rate)


def _pictures(result: Any) -> NDArray[np.uint8]:
    """Its frames as uint8 (T, H, W, 3), rounded to the nearest grey level."""
    frames = np.asarray(result.frames[0])
    if frames.dtype == np.uint8:
        return frames
    if not np.isfinite(frames).all():
        raise MediaError("the pipeline gave pictures with NaN or infinity")
    return np.rint(frames.astype(np.float32).clip(0, 1) * 255).astype(np.uint8)


def _sound(result: Any) -> NDArray[np.float32]:
    """Its sound as float32 (C, L)."""
    audio = getattr(result, "audio", None)
    if audio is None:
        raise MediaError("the pipeline gave no sound")
    first = audio[0]
    sound = np.atleast_2d(first.float().cpu().numpy() if torch.is_tensor(first) else np.asarray(first, np.float32))
    if not np.isfinite(sound).all():
        raise MediaError("the pipeline gave a sound with NaN or infinity")
    return sound
