"""The second step by MMAudio (arXiv 2412.15322): picture and text to sound, its own code in its own environment.

Its checkout and its Python are named by the recipe or by ``$AVBENCH_MMAUDIO_CHECKOUT`` and ``$AVBENCH_MMAUDIO_PYTHON``.
It stands at a pinned commit and fetches its weights itself, into that checkout. One program loads the networks and
makes the sounds of all clips, one after the other; see `avbench.baselines._two_step_mmaudio_worker`. Where a clip fails
the program is ended, and the next clip starts another.

MMAudio cuts a video back to whole frames of 25 per second, and so gives 6.04 s of sound for 49 pictures at 8 fps
(6.125 s). It is therefore shown the last picture for one frame longer; its sound is cut where the picture ends.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from avbench import media
from avbench.baselines._external_places import CHECKOUT, complaints, environment, found_places
from avbench.baselines._external_process import NotStarted, end_orphan, last_words
from avbench.baselines._external_worker import Worker
from avbench.errors import MediaError, UserError
from avbench.recipe_external import THIS, Place, Program
from avbench.recipe_two_step import MMAudioStep

NAME = "mmaudio"
Sound = tuple[NDArray[np.float32], int]
"""float32 (C, L), and its rate."""
REPOSITORY = "https://github.com/hkchengrex/MMAudio"
LICENCE_URL = "https://creativecommons.org/licenses/by-nc/4.0/"
SLACK_S = 0.1
"""By how much its sound may be shorter or longer than what was asked for; latents are 23 ms."""

_INPUT = "clip.mp4"
_SOUND = "clip.flac"
_LOG = "mmaudio.log"
_WORKER = Path(__file__).with_name("_two_step_mmaudio_worker.py")
_GPUS = "CUDA_VISIBLE_DEVICES"


def program(step: MMAudioStep) -> Program:
    """What is run, where, and how its environment is made."""
    return Program(
        repository=REPOSITORY,
        commit=step.commit,
        environment=f"git clone {REPOSITORY}, git checkout {step.commit}, pip install -e . in a Python of its own",
        argv=("{python}", "-c", _WORKER.name, "{out}"),  # the text of that file, whose answers say where sounds are
        output="*.flac",
        timeout_s=step.timeout_s,
        places={
            CHECKOUT: Place(about=f"a checkout of {REPOSITORY}", path=step.checkout),
            "python": Place(about="the Python in which MMAudio is installed", path=step.python or THIS),
        },
        needs=("{checkout}/mmaudio/eval_utils.py",),
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


class Player:
    """MMAudio, started with the first clip and kept for the next ones.

    Args:
        step: How sounds are made.
        folder: For its files: those of a clip are deleted when all went well, and left with the log otherwise.
        device: Where it computes.
    """

    def __init__(self, step: MMAudioStep, folder: Path, *, device: torch.device) -> None:
        self._step, self._folder, self._device = step, folder, device
        self._worker: Worker | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder = self._folder.resolve()
        end_orphan(self._folder)
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()
        (self._folder / _LOG).unlink(missing_ok=True)

    def sound(self, name: str, video: NDArray[np.uint8], fps: float, prompt: str, seed: int) -> Sound:
        """The sound of one clip.

        Args:
            name: Of the clip.
            video: uint8 (T, H, W, 3).
            fps: Of the video.
            prompt: The text.
            seed: Of its noise.

        Returns:
            float32 (1, L), as long as the picture, and its rate.

        Raises:
            MediaError: The program failed, took too long, or gave no sound, or one of another length.
        """
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            found = self._made(folder, video, fps, prompt, seed)
        except BaseException:
            self._close()  # what it was doing is not known
            with suppress(FileNotFoundError):
                os.replace(self._folder / _LOG, folder / _LOG)
            raise
        shutil.rmtree(folder)
        return found

    def _made(self, folder: Path, video: NDArray[np.uint8], fps: float, prompt: str, seed: int) -> Sound:
        media.encode(folder / _INPUT, np.concatenate([video, video[-1:]]), fps, None, 0)
        seconds = float(len(video) / media.frame_rate(fps))
        self._ask(
            {
                "film": str(folder / _INPUT),
                "seconds": round(seconds, 6),
                "prompt": prompt,
                "negative_prompt": self._step.negative_prompt,
                "seed": seed,
                "sound": str(folder / _SOUND),
            }
        )
        return _read(folder / _SOUND, seconds)

    def _ask(self, clip: dict[str, Any]) -> None:
        """Have one clip made; the networks are loaded first where that is not done.

        Raises:
            MediaError: It failed.
        """
        step, begun, why = self._step, time.monotonic(), ""
        if self._worker is None:
            try:
                self._worker = self._start()
            except NotStarted as error:
                raise MediaError(f"MMAudio {error}") from error
            networks = step.model_dump(include={"variant", "steps", "guidance", "full_precision"})
            why = self._worker.ask({**networks, "device": self._device.type}, step.timeout_s)
        why = why or self._worker.ask(clip, step.timeout_s)
        if why:
            said = last_words(self._folder / _LOG)
            raise MediaError(f"MMAudio {why} after {time.monotonic() - begun:.0f} s" + (f" ({said})" if said else ""))

    def _start(self) -> Worker:
        what = program(self._step)
        places = found_places(what, NAME)
        return Worker(
            [str(places["python"]), "-c", _WORKER.read_text()],
            folder=places[CHECKOUT],
            env={**environment(what, places), **_visible(self._device)},
            work=self._folder,
            log=self._folder / _LOG,
        )

    def _close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def _visible(device: torch.device) -> dict[str, str]:
    """The variable that leaves the program no GPU but the one that was asked for; it takes the first it sees."""
    if device.type != "cuda":
        return {_GPUS: ""}
    if device.index is None:
        return {}
    seen = os.environ.get(_GPUS, "").split(",")
    return {_GPUS: seen[device.index] if seen != [""] else str(device.index)}


def _read(path: Path, seconds: float) -> Sound:
    """What the program wrote, to the sample as long as the picture."""
    if not path.is_file() or path.is_symlink():
        raise MediaError(f"MMAudio said that it was done and wrote no {path.name}")
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
