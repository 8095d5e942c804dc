"""The second step by MMAudio (arXiv 2412.15322): picture and text to sound, its own program in its own environment.

Its checkout and its Python are named by the recipe or by ``$AVBENCH_MMAUDIO_CHECKOUT`` and ``$AVBENCH_MMAUDIO_PYTHON``.
It stands at a pinned commit and fetches its weights itself, into that checkout.

The program cuts a video back to whole frames of 25 per second, and so gives 6.04 s of sound for 49 pictures at 8 fps
(6.125 s). It is therefore shown the last picture for one frame longer; its sound is cut where the picture ends.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from avbench import media
from avbench.baselines._external_places import CHECKOUT, complaints, environment, found_places
from avbench.baselines._external_process import end_orphan, last_words, run as run_program
from avbench.errors import MediaError, UserError
from avbench.recipe_external import THIS, Place, Program
from avbench.recipe_two_step import MMAudioStep

NAME = "mmaudio"
REPOSITORY = "https://github.com/hkchengrex/MMAudio"
LICENCE_URL = "https://creativecommons.org/licenses/by-nc/4.0/"
SLACK_S = 0.1
"""By how much its sound may be shorter or longer than what was asked for; latents are 23 ms."""

_INPUT = "clip.mp4"
_LOG = "mmaudio.log"
_GPUS = "CUDA_VISIBLE_DEVICES"


def program(step: MMAudioStep) -> Program:
    """What is run, where, and how its environment is made."""
    return Program(
        repository=REPOSITORY,
        commit=step.commit,
        environment=f"git clone {REPOSITORY}, git checkout {step.commit}, pip install -e . in a Python of its own",
        argv=("{python}", "demo.py", "--output={out}"),
        output="*.flac",
        timeout_s=step.timeout_s,
        places={
            CHECKOUT: Place(about=f"a checkout of {REPOSITORY}", path=step.checkout),
            "python": Place(about="the Python in which MMAudio is installed", path=step.python or THIS),
        },
        needs=("{checkout}/demo.py",),
    )


def missing(step: MMAudioStep) -> list[str]:
    """What is not on this machine yet, a sentence each."""
    return [f"MMAudio: {reason}" for reason in complaints(program(step), NAME)]


def require(step: MMAudioStep) -> None:
    """Find out before hours of video whether the program can be run.

    Raises:
        UserError: Its checkout or its Python is not there, or the checkout is not the pinned commit.
    """
    for reason in missing(step):
        raise UserError(f"{reason}; to make its environment: {program(step).environment}")


def command(
    step: MMAudioStep, python: Path, film: Path, out: Path, prompt: str, seed: int, seconds: float
) -> list[str]:
    """The command for one clip. Each value stands in one word with its option, so that no prompt can be an option."""
    words = [
        str(python),
        "demo.py",
        f"--variant={step.variant}",
        f"--video={film}",
        f"--prompt={prompt}",
        f"--negative_prompt={step.negative_prompt}",
        f"--duration={seconds:.6f}",
        f"--cfg_strength={step.guidance:g}",
        f"--num_steps={step.steps}",
        f"--seed={seed}",
        f"--output={out}",
        "--skip_video_composite",
    ]
    return [*words, "--full_precision"] if step.full_precision else words


def make_sound(
    step: MMAudioStep,
    video: NDArray[np.uint8],
    fps: float,
    prompt: str,
    seed: int,
    folder: Path,
    *,
    device: torch.device,
) -> tuple[NDArray[np.float32], int]:
    """The sound of one clip.

    Args:
        step: How.
        video: uint8 (T, H, W, 3).
        fps: Of the video.
        prompt: The text.
        seed: Of its noise.
        folder: For the program's files; deleted when all went well, left with the program's log otherwise.
        device: Where the program computes.

    Returns:
        float32 (1, L), as long as the picture, and its rate.

    Raises:
        MediaError: The program failed, took too long, or gave no sound, or one of another length.
    """
    end_orphan(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder = folder.resolve()
    media.encode(folder / _INPUT, np.concatenate([video, video[-1:]]), fps, None, 0)
    what, log = program(step), folder / _LOG
    places = found_places(what, NAME)
    seconds = float(len(video) / media.frame_rate(fps))
    words = command(step, places["python"], folder / _INPUT, folder / "out", prompt, seed, seconds)
    begun = time.monotonic()
    why = run_program(
        words,
        folder=places[CHECKOUT],
        env={**environment(what, places), **_visible(device)},
        work=folder,
        log=log,
        timeout_s=step.timeout_s,
    )
    if why:
        said = last_words(log)
        raise MediaError(f"MMAudio {why} after {time.monotonic() - begun:.0f} s" + (f" ({said})" if said else ""))
    sound, rate = _read(folder / "out" / f"{Path(_INPUT).stem}.flac", seconds)
    shutil.rmtree(folder)
    return sound, rate


def _visible(device: torch.device) -> dict[str, str]:
    """The variable that leaves the program no GPU but the one that was asked for; it takes the first it sees."""
    if device.type != "cuda":
        return {_GPUS: ""}
    if device.index is None:
        return {}
    seen = os.environ.get(_GPUS, "").split(",")
    return {_GPUS: seen[device.index] if seen != [""] else str(device.index)}


def _read(path: Path, seconds: float) -> tuple[NDArray[np.float32], int]:
    """What the program wrote, to the sample as long as the picture."""
    if not path.is_file() or path.is_symlink():
        raise MediaError(f"MMAudio ended well and wrote no {path.name}")
    try:
        rate = media.probe(path).sample_rate_hz
        sound = media.decode_audio(path, mono=True)
    except MediaError as error:
        raise MediaError(f"MMAudio wrote a damaged {path.name}") from error
    wanted, found = round(seconds * rate), sound.shape[1]
    if abs(found - wanted) > SLACK_S * rate:
        raise MediaError(f"MMAudio gave {found / rate:.3f} s of sound for {seconds:.3f} s of picture")
    if not np.isfinite(sound).all():
        raise MediaError("MMAudio gave a sound that holds NaN or infinity")
    return np.pad(sound[:, :wanted], ((0, 0), (0, max(0, wanted - found)))), rate
