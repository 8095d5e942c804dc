"""What an external system would be started with, as lines for a person to read before hours of a GPU are spent."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from avbench import hub_weights
from avbench.baselines import _external_program as programs
from avbench.baselines._external_places import CHECKOUT, found_places, hub_model, variable, weights_folder
from avbench.baselines._untrained import Licence, Prompts
from avbench.errors import UserError
from avbench.recipe_baseline import BaselineRecipe
from avbench.recipe_external import Expected, Pipeline, Program

_LABEL = 11


def lines(
    run: Path,
    recipe: BaselineRecipe,
    prompts: Prompts | None,
    licences: Sequence[Licence],
    accept_licence: bool,
    missing: Sequence[str],
) -> list[str]:
    """The lines of a dry run.

    Args:
        run: Folder of the run.
        recipe: The system.
        prompts: Texts, or None.
        licences: Of everything that is loaded.
        accept_licence: Their conditions were accepted.
        missing: What is not on this machine, a sentence each.
    """
    rows = _rows(run, recipe, prompts, licences, accept_licence, missing)
    return [f"{label:<{_LABEL}}{text}" for label, text in rows]


def _rows(
    run: Path,
    recipe: BaselineRecipe,
    prompts: Prompts | None,
    licences: Sequence[Licence],
    accept_licence: bool,
    missing: Sequence[str],
) -> Iterator[tuple[str, str]]:
    external = recipe.external
    assert external is not None
    yield "system", f"external:{recipe.preset}" + (f": {recipe.description}" if recipe.description else "")
    if external.program is not None:
        yield from _program(external.program)
    if external.pipeline is not None:
        yield from _pipeline(external.pipeline, recipe.preset)
    for licence in licences:
        asked = bool(licence.condition) and not accept_licence
        yield "licence", str(licence).split(", ", 1)[-1] + ("; needs --accept-license" if asked else "")
    yield "GPU", external.vram or "nobody has said how much memory it needs"
    yield "clips", f"{recipe.sample.n} into {run / 'samples'}, seed {recipe.sample.seed}, {_prompts(prompts)}"
    if external.seconds_per_clip:
        hours = external.seconds_per_clip * recipe.sample.n / 3600
        yield "time", f"{external.seconds_per_clip:g} s a clip, {hours:.1f} h in all ({recipe.hardware})"
    yield "a clip", _expected(external.expected)
    if external.note:
        yield "note", external.note
    if external.program is not None:
        yield from _call(run, recipe, external.program, prompts)
    unseen = ["a CUDA device: none is seen on this machine"] if external.cuda and not sees_cuda() else []
    for sentence in [*missing, *unseen]:
        yield "missing", sentence
    if not missing and not unseen:
        yield "here", "all that can be seen before the start"


def sees_cuda() -> bool:
    """Whether the machine shows a CUDA device. A program brings its own torch, so avbench's is not asked."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def _program(program: Program) -> Iterator[tuple[str, str]]:
    if program.repository:
        yield "code", f"{program.repository} at {program.commit or 'whatever is checked out: nothing pins it'}"
    for line in program.environment.strip().splitlines():
        yield "set up", line


def _pipeline(pipeline: Pipeline, preset: str) -> Iterator[tuple[str, str]]:
    yield "code", f"{pipeline.name} of diffusers"
    own = weights_folder(pipeline, preset)
    if own is not None:
        yield "weights", str(own)
    elif pipeline.repo:
        held = hub_weights.present(hub_model(pipeline, "")) is not None
        where = "on this machine" if held else "fetched at the start: not on this machine"
        own_folder = f"{variable(preset, 'weights')} names a folder of your own"
        yield "weights", f"{pipeline.repo} at {pipeline.revision}, {where}; {own_folder}"
    yield "numbers", f"{pipeline.dtype}, offload {pipeline.offload}"
    for name, value in pipeline.arguments.items():
        yield "argument", f"{name} = {value!r}"


def _prompts(prompts: Prompts | None) -> str:
    return f"{len(prompts.texts)} prompts of {prompts.name}" if prompts else "no prompts"


def _expected(expected: Expected) -> str:
    parts = [f"{expected.frames} frames"] if expected.frames else []
    parts += [f"{expected.fps:g} fps"] if expected.fps else []
    parts += [f"{expected.width} x {expected.height}"] if expected.width and expected.height else []
    parts += [f"{expected.seconds:g} s"] if expected.seconds else []
    return ", ".join([*parts, "with sound" if expected.sound else "with or without sound"])


def _call(run: Path, recipe: BaselineRecipe, program: Program, prompts: Prompts | None) -> Iterator[tuple[str, str]]:
    """The first call, to the letter."""
    try:
        call = programs.prepare(run, recipe, programs.block(program, 0, recipe.sample.n), prompts)
    except UserError as error:
        yield "call", f"cannot be shown: {error}"
        return
    named = CHECKOUT not in program.places or CHECKOUT in found_places(program, recipe.preset)
    yield "runs in", str(call.folder) if named else f"{{{CHECKOUT}}}"
    for name, value in sorted(call.env.items()):
        yield "variable", f"{name}={value}"
    for name, text in call.files.items():
        yield "file", f"{call.work / name}: {' '.join(text.split())}"
    yield "command", shlex.join(call.argv)
    yield "gives", f"{call.out / program.output}, or is ended after {program.timeout_s:g} s"
