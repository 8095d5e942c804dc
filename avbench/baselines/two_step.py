"""Two steps (arXiv 2603.16093): a text becomes a picture, picture and text become a sound.

Nothing is trained. All pictures are made first, then all sounds, so that one network is in memory at a time. Every
picture and every clip is published as soon as it is there: after a kill the same command makes what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from avbench import hub_weights, media
from avbench.baselines import _two_step_mmaudio as mmaudio, _two_step_run as own_run, _two_step_video as text_to_video
from avbench.baselines._base import clip_name, sampling_alone
from avbench.baselines._two_step_mmaudio import Sound
from avbench.baselines._two_step_video import UNTRAINED, Videos, Wanted
from avbench.baselines._untrained import (
    HOPELESS,
    SAMPLES,
    Licence,
    Prompts,
    SamplesCard,
    clip_seed,
    require_accepted,
    write_film,
)
from avbench.errors import MediaError, UserError
from avbench.progress import Bar, Reporter
from avbench.recipe_baseline import BaselineRecipe
from avbench.recipe_two_step import MMAudioStep, TwoStepRecipe, VideoStep
from avbench.schema import Outcome

NAME = "two-step"
_FORBIDS = "forbids commercial use"


def steps_of(recipe: BaselineRecipe) -> TwoStepRecipe:
    """The two models of a recipe.

    Raises:
        UserError: It names none.
    """
    if recipe.two_step is None:
        raise UserError(
            f"recipe {recipe.baseline}-{recipe.preset}: has no section [two_step]; docs/two-step.md has one"
        )
    return recipe.two_step


def licences(steps: TwoStepRecipe) -> tuple[Licence, ...]:
    """On what terms the two models may be used."""
    video, sound = steps.video, steps.sound
    found = []
    if video.model != UNTRAINED:
        url = "" if text_to_video.is_folder(video) else f"https://huggingface.co/{video.model}"
        found.append(Licence(video.model, video.licence, _FORBIDS if video.non_commercial else "", url))
    if isinstance(sound, MMAudioStep):
        condition = _FORBIDS if sound.non_commercial else ""
        found.append(Licence(f"MMAudio {sound.variant} (weights)", sound.licence, condition, mmaudio.LICENCE_URL))
    else:
        found += own_run.licences(sound)
    return tuple(found)


def write_samples(
    run: Path,
    recipe: BaselineRecipe,
    *,
    prompts: Prompts | None,
    device: torch.device,
    accept_licence: bool,
    reporter: Reporter,
) -> tuple[int, int]:
    """Make the clips of ``run/samples`` that are missing; see the module.

    Args:
        run: Folder of the run.
        recipe: What to make.
        prompts: The texts; clip i takes prompt i mod their number.
        device: Where networks run.
        accept_licence: Licences that ask something were accepted.
        reporter: Progress.

    Returns:
        Clips made now, and clips that were there.

    Raises:
        UserError: No prompts, a licence was not accepted, a model is not there, or no clip at all could be made.
    """
    with sampling_alone(run):
        return _write(run, recipe, _required(prompts), device, accept_licence, reporter)


def _write(
    run: Path,
    recipe: BaselineRecipe,
    texts: Prompts,
    device: torch.device,
    accept_licence: bool,
    reporter: Reporter,
) -> tuple[int, int]:
    steps = steps_of(recipe)
    require_accepted(licences(steps), accept_licence)
    seed = recipe.sample.seed
    sounds, identity = _sounds_of(steps, seed, run, device)  # before hours of video
    weights = text_to_video.locate(steps.video, run / "model", accept_licence=accept_licence, reporter=reporter)
    about = text_to_video.about(steps.video, weights)
    wanted = [Wanted(clip_name(i), texts.text(i), clip_seed(seed, i)) for i in range(recipe.sample.n)]
    card = SamplesCard(
        run / SAMPLES,
        {
            "model": NAME,
            "preset": recipe.preset,
            "sample": {"scheduler": weights.scheduler, "steps": steps.video.steps, "seed": seed},
            "video": about,
            "sound": identity,
        },
        {clip.name: clip.prompt for clip in wanted},
        {clip.name: clip.seed for clip in wanted},
        licences(steps),
    )
    names = set(card.missing)
    missing = [clip for clip in wanted if clip.name in names]
    videos = Videos(run / "videos", about)
    begun = time.monotonic()
    with reporter.bar("video", total=len(missing), unit="clip") as bar:
        text_to_video.make_videos(
            steps.video, weights, missing, videos, device=device, bar=bar, failed=_teller(card, reporter)
        )
    card.add_seconds(time.monotonic() - begun)
    silent = {number: clip for number, clip in enumerate(wanted) if clip.name in names and videos.has(clip)}
    begun = time.monotonic()
    with (
        reporter.bar("sound", total=len(missing), unit="clip") as bar,
        closing(sounds(silent, videos, bar)) as outcomes,
    ):
        for tried, (clip, outcome) in enumerate(zip(silent.values(), outcomes, strict=False), 1):
            _finish(clip, videos, outcome, card, begun, reporter)
            begun = time.monotonic()
            if tried == HOPELESS < len(silent) and not any(card.film(done.name).exists() for done in silent.values()):
                reporter.warn(f"the first {tried} clips got no sound, so the others are not tried")
                break
    return _counted(card, missing, len(wanted))


Sounds = Callable[[Mapping[int, Wanted], Videos, Bar], Generator[Outcome[Sound], None, None]]
"""Clips by their numbers, their pictures and a bar to their sounds, in the same order."""


def _required(prompts: Prompts | None) -> Prompts:
    if prompts is None:
        raise UserError(f"{NAME} makes clips from texts; give --prompts FILE with one per line, or a list of avbench")
    return prompts


def _sounds_of(steps: TwoStepRecipe, seed: int, run: Path, device: torch.device) -> tuple[Sounds, dict[str, Any]]:
    """What makes the sounds, and what decides them.

    Raises:
        UserError: It cannot make a sound for a picture, or is not there.
    """
    step = steps.sound
    if isinstance(step, MMAudioStep):
        mmaudio.require(step)

        def by_program(clips: Mapping[int, Wanted], videos: Videos, bar: Bar) -> Generator[Outcome[Sound], None, None]:
            with mmaudio.Player(step, run / "sounds", device=device) as player:
                for clip in clips.values():
                    try:
                        video, fps = videos.read(clip)
                        outcome = Outcome(clip.name, player.sound(clip.name, video, fps, clip.prompt, clip.seed))
                    except MediaError as error:
                        outcome = Outcome(clip.name, None, str(error))
                    bar.advance()
                    yield outcome

        return by_program, step.defining()
    model, shown = own_run.load(step, seed), steps.video

    def by_run(clips: Mapping[int, Wanted], videos: Videos, bar: Bar) -> Generator[Outcome[Sound], None, None]:
        yield from own_run.sounds(
            model, step, clips, videos, frames=shown.frames, fps=shown.fps, device=device, bar=bar
        )

    # the folder's name decides nothing, its weights do
    return by_run, {**step.defining(), "run": model.run.resolve().name, "model": model.identity}


def _finish(
    clip: Wanted, videos: Videos, outcome: Outcome[Sound], card: SamplesCard, begun: float, reporter: Reporter
) -> None:
    """Publish a clip whose sound was begun at ``begun``, or note why there is none."""
    reason = outcome.error
    if outcome.value is not None:
        video, fps = videos.read(clip)
        try:
            write_film(card.film(clip.name), video, fps, *outcome.value)
        except MediaError as error:
            reason = str(error)
    seconds = time.monotonic() - begun
    if not reason:
        card.done(clip.name, seconds)
        return
    _teller(card, reporter)(clip.name, reason)
    card.add_seconds(seconds)


def _teller(card: SamplesCard, reporter: Reporter) -> Callable[[str, str], None]:
    """Notes a clip that could not be made."""

    def tell(name: str, reason: str) -> None:
        card.fail(name, reason)
        reporter.warn(f"{name}: {reason}")

    return tell


def _counted(card: SamplesCard, missing: Sequence[Wanted], wanted: int) -> tuple[int, int]:
    """Clips made now and before.

    Raises:
        UserError: There is none.
    """
    left = len(card.missing)
    if left == wanted:
        name, reason = next(iter(card.failed.items()))
        raise UserError(f"none of {wanted} clips could be made; {name}: {reason}")
    return len(missing) - left, wanted - len(missing)


def plan(run: Path, recipe: BaselineRecipe, *, prompts: Prompts | None, accept_licence: bool) -> list[str]:
    """What would be made, downloaded and accepted, and what is missing on this machine; nothing of it is done.

    Raises:
        UserError: The recipe names no models, or there are no prompts.
    """
    steps, texts = steps_of(recipe), _required(prompts)
    video, sound = steps.video, steps.sound
    seconds = float(video.frames / media.frame_rate(video.fps))
    lines = [
        f"clips      {recipe.sample.n} of {seconds:.3f} s, {video.width}x{video.height} at {video.fps:g} fps, seed "
        f"{recipe.sample.seed}, into {run / SAMPLES}",
        f"prompts    {texts.name}: {len(texts.texts)}, the first: {texts.texts[0]}",
        f"video      {video.model}, revision {hub_weights.shown(video.revision)}, {video.steps} steps, guidance "
        f"{video.guidance:g}; {_where(video)}{_memory(video.gpu_gb)}",
    ]
    if isinstance(sound, MMAudioStep):
        size = "unknown size" if sound.download_gb is None else f"{sound.download_gb:g} GB"
        lines.append(
            f"sound      MMAudio {sound.variant} at {sound.commit[:12]}, {sound.steps} steps, guidance "
            f"{sound.guidance:g}; fetches {size} into its checkout{_memory(sound.gpu_gb)}"
        )
        lines += [f"missing    {reason}" for reason in mmaudio.missing(sound)]
    else:
        lines.append(f"sound      the run in {sound.run}, its picture given by {sound.method}")
        lines += _missing_run(sound.run)
    for licence in licences(steps):
        asks = licence.condition and not accept_licence
        lines.append(f"licence    {licence}" + ("; needs --accept-license" if asks else ""))
    return lines


def _where(video: VideoStep) -> str:
    """Where a pipeline's files come from, and how much there is to fetch."""
    if video.model == UNTRAINED:
        return "random weights, nothing to download"
    if text_to_video.is_folder(video):
        return "a folder of this machine" + ("" if Path(video.model).expanduser().is_dir() else ", which is not there")
    if hub_weights.present(text_to_video.hub_model(video)) is not None:
        return "on this machine already"
    size = "of unknown size" if video.download_gb is None else f"{video.download_gb:g} GB"
    return f"to download: {size}"


def _memory(gpu_gb: float | None) -> str:
    return "" if gpu_gb is None else f"; {gpu_gb:g} GB of GPU memory"


def _missing_run(run: str) -> Sequence[str]:
    there = (Path(run) / "recipe.json").is_file()
    return [] if there else [f"missing    {run}: holds no run; train it first"]
