"""The part of a baseline's recipe that names somebody else's model: a program, a diffusers pipeline, a folder of clips.

``[external]`` of ``recipes/baselines/external-<name>.toml``; docs/external.md explains every key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, JsonValue, PositiveFloat, PositiveInt, field_validator, model_validator

from avbench.recipe import Strict

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
"""``{prompt}`` and its like; braces around anything else are plain text."""

ROW = re.compile(r"\{row(?::0(\d))?\}")
"""The place of a clip among those of its call, in the pattern of its file: ``{row}``, or ``{row:04}`` for 0007."""

OF_A_CLIP = frozenset({"prompt", "image", "number"})
"""Placeholders that differ between the clips of one call."""

OF_A_CALL = frozenset({"prompt_file", "work", "out", "seed"})
"""Placeholders that every call has."""

THIS = "this"
"""Path of a place that is avbench's own: the Python that runs it, or the folder that holds ``recipes/``."""

PASSED_ON = (
    *("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "USER", "LD_LIBRARY_PATH"),
    *("CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES"),
    *("HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE", "TORCH_HOME"),
)
"""Environment variables that a program gets where its recipe names no others: no token, no key, no proxy."""


class Terms(Strict):
    """The licence of a part of a system.

    Attributes:
        what: The part, such as ``code`` or ``weights``.
        terms: Name of the licence, or ``unknown``.
        condition: What it forbids or asks, as ``forbids commercial use``: clips are made only with
            ``--accept-license``. Empty where it may be used for anything.
        url: Where it can be read.
    """

    what: str = Field(min_length=1)
    terms: str = Field(min_length=1)
    condition: str = ""
    url: str = ""


class Expected(Strict):
    """What a finished clip must be; what is not said is not checked.

    Attributes:
        frames: Pictures.
        fps: Frames per second.
        width: Pixels.
        height: Pixels.
        seconds: Length of the picture; where there is sound, of both.
        tolerance_s: By how much lengths may differ, also those of picture and sound.
        sound: There must be sound.
    """

    frames: PositiveInt | None = None
    fps: PositiveFloat | None = None
    width: PositiveInt | None = None
    height: PositiveInt | None = None
    seconds: PositiveFloat | None = None
    tolerance_s: Annotated[FiniteFloat, Field(ge=0)] = 0.25
    sound: bool = True


class Place(Strict):
    """A file or folder of this machine that a program needs.

    Attributes:
        about: What it is, and where to get it; shown where it is missing.
        path: Where it is; empty where only ``AVBENCH_<NAME>_<PLACE>`` says it, which always counts first. ``this`` is
            avbench's own Python or folder.
    """

    about: str = Field(min_length=1)
    path: str = ""


class Program(Strict):
    """A program in an environment of its own, run as a subprocess.

    Attributes:
        repository: Where its code comes from.
        commit: Commit of the checkout, checked before every run; empty where the code is pinned by nothing.
        environment: How to make its environment. Shown, never run.
        argv: The command as a list; placeholders are filled in, no shell reads it.
        prompts_per_call: Clips that one call makes; 1 is a call per clip.
        prompt_file: Format of ``{prompt_file}``: one prompt per line, or a table with one column.
        prompt_column: That column.
        files: JSON files written for each call into ``{work}``, by name; placeholders in their strings are filled in.
        output: Pattern of a clip's file (``.mp4``) below ``{out}``, with ``{row}`` where a call makes several.
        timeout_s: After so long a call and all that it started are ended, seconds.
        places: Files and folders of this machine, by the name of their placeholder.
        needs: Paths that must exist, with placeholders of places.
        variables: Environment variables that are passed on; no other is.
        settings: Environment variables that are set.
    """

    repository: str = ""
    commit: Annotated[str, Field(pattern="^([0-9a-f]{40})?$")] = ""
    environment: str = ""
    argv: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    prompts_per_call: PositiveInt = 1
    prompt_file: Literal["lines", "csv"] = "csv"
    prompt_column: str = "prompt"
    files: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")], JsonValue] = Field(
        default_factory=dict
    )
    output: str = Field(min_length=1)
    timeout_s: PositiveFloat
    places: dict[Annotated[str, Field(pattern="^[a-z_]+$")], Place] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    variables: tuple[str, ...] = PASSED_ON
    settings: dict[str, str] = Field(default_factory=dict)

    @field_validator("output")
    @classmethod
    def _stays_below(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"output {value!r} leaves the folder of the call; give a pattern below it")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Program:
        if own := sorted((OF_A_CLIP | OF_A_CALL) & self.places.keys()):
            raise ValueError(f"a place cannot be called {own[0]!r}, which means something else; give it another name")
        known = OF_A_CLIP | OF_A_CALL | self.places.keys()
        if unknown := sorted(self.placeholders() - known):
            raise ValueError(f"there is no placeholder {{{unknown[0]}}}; known: {', '.join(sorted(known))}")
        if below := sorted({name for text in self.needs for name in PLACEHOLDER.findall(text)} - self.places.keys()):
            raise ValueError(f"needs may only name places, not {{{below[0]}}}")
        if bare := [text for text in self.argv if text.startswith("{prompt}")]:
            raise ValueError(
                f"argv {bare[0]!r}: a prompt that begins with '-' would be read as an option; write "
                "--option={prompt}, or let the program read {prompt_file}"
            )
        if "image" in self.placeholders() and "images" not in self.places:
            raise ValueError("{image} is taken from the place 'images', a picture or a folder of them; add that place")
        if "out" not in self.placeholders():
            raise ValueError("neither argv nor files name {out}, so the program cannot know where its clips belong")
        if self.prompts_per_call > 1:
            if each := sorted(OF_A_CLIP & self.placeholders()):
                raise ValueError(f"{{{each[0]}}} differs between the {self.prompts_per_call} clips of one call")
            if not ROW.search(self.output):
                raise ValueError(f"output {self.output!r} needs {{row}} where one call makes several clips")
        return self

    def placeholders(self) -> set[str]:
        """Names of the placeholders in ``argv`` and ``files``."""
        texts = [*self.argv, *(text for data in self.files.values() for text in strings(data))]
        return {name for text in texts for name in PLACEHOLDER.findall(text)}


def strings(data: Any) -> Iterator[str]:
    """Every string of a JSON document, keys left out."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from strings(value)
    elif isinstance(data, list):
        for value in data:
            yield from strings(value)


class Pipeline(Strict):
    """A pipeline of diffusers that gives picture and sound together.

    Attributes:
        name: Class in diffusers, such as ``LTX2Pipeline``.
        repo: Hub repository with its weights; empty where only a folder holds them.
        revision: Commit, tag or branch of it. The record says which commit was used.
        files: Patterns of the files that are fetched.
        gated: The hub asks for a signed-in user who accepted its terms.
        weights: Folder that holds the pipeline instead; ``AVBENCH_<NAME>_WEIGHTS`` counts first.
        dtype: Type of its weights.
        offload: On a CUDA device: ``none`` keeps all of it there, ``model`` one part at a time, ``sequential`` one
            layer.
        arguments: Further arguments of its call.
        sample_rate_hz: Rate of its sound; None reads it from the pipeline's vocoder.
    """

    name: Annotated[str, Field(pattern="^[A-Z][A-Za-z0-9]*Pipeline$")]
    repo: str = ""
    revision: str = "main"
    files: tuple[str, ...] = ("*",)
    gated: bool = False
    weights: str = ""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    offload: Literal["none", "model", "sequential"] = "model"
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    sample_rate_hz: PositiveInt | None = None

    @field_validator("arguments")
    @classmethod
    def _not_ours(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in ("prompt", "generator", "output_type", "return_dict", "num_videos_per_prompt"):
            if name in value:
                raise ValueError(f"arguments.{name} is given by avbench; leave it out")
        return value


class GivenFolder(Strict):
    """Clips that a closed system made elsewhere.

    Attributes:
        path: Folder of clips in any layout of docs/inputs.md.
        system: What is said to have made them, with its version.
        settings: What is said of how: date, resolution, options, who paid.
    """

    path: str = ""
    system: str = ""
    settings: str = ""


class ExternalRecipe(Strict):
    """A system that avbench did not train: exactly one of ``program``, ``pipeline`` and ``folder``.

    Attributes:
        licences: Of everything that is loaded.
        cuda: It needs a CUDA device.
        vram: Memory of the GPU it needs, as its makers say it, or that they do not.
        seconds_per_clip: On ``hardware`` of the recipe; None where nobody has published it.
        note: What else a person should know before starting it.
        expected: What its clips must be.
        program: A program in its own environment.
        pipeline: A pipeline of diffusers.
        folder: Clips made elsewhere.
    """

    licences: tuple[Terms, ...] = ()
    cuda: bool = False
    vram: str = ""
    seconds_per_clip: PositiveFloat | None = None
    note: str = ""
    expected: Expected = Expected()
    program: Program | None = None
    pipeline: Pipeline | None = None
    folder: GivenFolder | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> ExternalRecipe:
        given = [name for name in ("program", "pipeline", "folder") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of program, pipeline and folder, not {' and '.join(given) or 'none'}")
        if self.program is not None and not self.program.output.endswith(".mp4"):
            raise ValueError(f"program.output {self.program.output!r} must end in .mp4, a film with its sound inside")
        if self.pipeline is not None and self.expected.fps is None:
            raise ValueError("expected.fps is missing: a pipeline gives pictures and does not say their rate")
        return self
