"""Clips of a program in its own environment: a command per call, its files checked before they count."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.baselines._base import clip_name
from avbench.baselines._external_check import check, the_file
from avbench.baselines._external_fill import Values, fill, filled_json, output_pattern, prompt_table
from avbench.baselines._external_places import CHECKOUT, environment, found_places
from avbench.baselines._external_process import end_orphan, run as run_process
from avbench.baselines._untrained import Prompts, clip_seed
from avbench.errors import MediaError, UserError
from avbench.parallel import attempt
from avbench.recipe_baseline import BaselineRecipe
from avbench.recipe_external import ExternalRecipe, Program
from avbench.schema import Outcome

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
IMAGES = "images"
"""The place that ``{image}`` is taken from: a picture, or a folder of them."""


@dataclass(frozen=True)
class Made:
    """A clip that was made, before it stands in the run.

    Attributes:
        number: Which.
        path: The file, alone in a folder that may be deleted after it was moved.
        seed: What it was made with.
    """

    number: int
    path: Path
    seed: int


@dataclass(frozen=True)
class Call:
    """One start of the program.

    Attributes:
        numbers: Clips that it makes, in order.
        work: Folder of its files; ``out`` below it is where its clips belong.
        log: What it prints.
        argv: The command.
        folder: Where it runs.
        env: All of its environment.
        files: Files written before it starts, by name in ``work``.
        seed: Its seed.
    """

    numbers: tuple[int, ...]
    work: Path
    log: Path
    argv: tuple[str, ...]
    folder: Path
    env: dict[str, str]
    files: dict[str, str]
    seed: int

    @property
    def out(self) -> Path:
        """Where its clips belong."""
        return self.work / "out"


def block(program: Program, number: int, n: int) -> tuple[int, ...]:
    """The clips of the call that makes clip ``number``: always the same, whichever of them are missing."""
    size = program.prompts_per_call
    first = number - number % size
    return tuple(range(first, min(first + size, n)))


def prepare(run: Path, recipe: BaselineRecipe, numbers: Sequence[int], prompts: Prompts | None) -> Call:
    """The call that makes ``numbers``; nothing is written.

    Raises:
        UserError: A prompt cannot be handed over, or there is no picture where one is needed.
    """
    program, name = _program(recipe), clip_name(numbers[0])
    places = found_places(program, recipe.preset)
    work = (run / "calls" / name).absolute()
    texts = [prompts.text(number) if prompts else "" for number in numbers]
    wanted = program.placeholders()
    picture = _picture(places.get(IMAGES), numbers[0]) if "image" in wanted else None
    seed = clip_seed(recipe.sample.seed, numbers[0])
    values: Values = {
        **{place: str(path) for place, path in places.items()},
        "prompt": texts[0],
        "number": numbers[0],
        "seed": seed,
        "work": str(work),
        "out": str(work / "out"),
        "prompt_file": str(work / _table_name(program)),
        "image": str(picture or ""),
    }
    files = {file: filled_json(data, values) for file, data in program.files.items()}
    if "prompt_file" in wanted:
        files[_table_name(program)] = prompt_table(texts, program.prompt_file, program.prompt_column)
    return Call(
        numbers=tuple(numbers),
        work=work,
        log=(run / "logs" / f"{name}.log").absolute(),
        argv=tuple(fill(word, values) for word in program.argv),
        folder=places.get(CHECKOUT, run.absolute()),
        env=environment(program, places),
        files=files,
        seed=seed,
    )


def _program(recipe: BaselineRecipe) -> Program:
    external = recipe.external
    assert isinstance(external, ExternalRecipe)
    assert external.program is not None
    return external.program


def _table_name(program: Program) -> str:
    return "prompts.csv" if program.prompt_file == "csv" else "prompts.txt"


def pictures(place: Path | None) -> list[Path]:
    """The pictures of a place, in order of name; none where there is no such place."""
    if place is None or not place.exists():
        return []
    return [place] if place.is_file() else sorted(p for p in place.iterdir() if p.suffix.lower() in PICTURES)


def _picture(place: Path | None, number: int) -> Path | None:
    """The picture of clip ``number`` of M: number ``number mod M``; None where the place is not there yet."""
    found = pictures(place)
    if not found and place is not None and place.exists():
        raise UserError(f"{place}: holds no picture ({', '.join(PICTURES)}); the system continues one for every clip")
    return found[number % len(found)] if found else None


def make(run: Path, recipe: BaselineRecipe, missing: Sequence[int], prompts: Prompts | None) -> Iterator[Outcome[Made]]:
    """Make the clips ``missing``, call after call; one outcome per clip, in order.

    A call that made several clips before is made again whole where one of them is missing, from the same seed. A call
    counts where the program ended with exit code 0 and the clip is what it must be.
    """
    program, left = _program(recipe), set(missing)
    for number in missing:
        if number not in left:
            continue
        numbers = block(program, number, recipe.sample.n)
        wanted = [each for each in numbers if each in left]
        left -= set(wanted)
        try:
            call = prepare(run, recipe, numbers, prompts)
            reason = _start(call, program)
        except UserError as error:
            call, reason = None, str(error)
        whole = True
        for each in wanted:
            outcome = _outcome(call, each, reason, recipe)
            whole = whole and outcome.ok
            yield outcome
        if call is not None and whole:  # what failed stays to be looked at
            shutil.rmtree(call.work, ignore_errors=True)


def _start(call: Call, program: Program) -> str:
    """Run the program; why it failed, or nothing."""
    end_orphan(call.work)
    shutil.rmtree(call.work, ignore_errors=True)
    call.out.mkdir(parents=True)
    for name, text in call.files.items():
        (call.work / name).write_text(text, encoding="utf-8", errors="replace")
    reason = run_process(
        call.argv, folder=call.folder, env=call.env, work=call.work, log=call.log, timeout_s=program.timeout_s
    )
    if not reason:
        return ""
    return f"the program {reason}; what it printed is in logs/{call.log.name}"


def _outcome(call: Call | None, number: int, reason: str, recipe: BaselineRecipe) -> Outcome[Made]:
    """The clip ``number`` of a call that is over."""
    name = clip_name(number)
    if call is None or reason:
        return Outcome(name, None, reason, fault="ProgramFault")
    return attempt(functools.partial(_collect, call, recipe), number, name)


def _collect(call: Call, recipe: BaselineRecipe, number: int) -> Made:
    """Find and check the file of one clip.

    Raises:
        MediaError: It is not there, broken, or another than it must be.
    """
    assert recipe.external is not None
    pattern = output_pattern(_program(recipe).output, call.numbers.index(number))
    try:
        path = the_file(call.out, pattern)
        check(path, recipe.external.expected)
    except MediaError as error:
        raise MediaError(f"the program {error}; what it printed is in logs/{call.log.name}") from error
    return Made(number, path, call.seed)
