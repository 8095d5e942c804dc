"""What a recipe of an external system may say, what the shipped ones say, and what a dry run shows."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from avbench import recipe as recipes
from avbench.baselines import _external_plan, external
from avbench.baselines._external_fill import fill, output_pattern, prompt_table
from avbench.errors import UserError
from avbench.recipe_baseline import BaselineRecipe
from avbench.recipe_external import PASSED_ON, Program
from tests.baselines import external_program as toy

PROGRAMS = ["external-javisdit-plus", "external-ovi", "external-mova", "external-universe1"]
PROMPTS = toy.texts("a bell rings", "-x")


def shipped(name: str) -> BaselineRecipe:
    return recipes.load(recipes.find("baselines", name), BaselineRecipe)


def program(**changes: Any) -> Program:
    data = {"argv": ["{python}", "run.py", "--out={out}"], "output": "*.mp4", "timeout_s": 9}
    places = {"python": {"about": "a Python"}}
    return recipes.parse({**data, "places": places, **changes}, Program, "recipe")


WRONG = [
    ({"argv": ["{python}", "--out={out}", "{prompt}"]}, "a prompt that begins with '-' would be read as an option"),
    ({"argv": ["{python}", "--out={out}", "{nothing}"]}, r"there is no placeholder \{nothing\}; known: image, number"),
    ({"argv": ["{python}", "run.py"]}, "so the program cannot know where its clips belong"),
    ({"argv": ["{python}", "--out={out}", "--i={image}"]}, "add that place"),
    ({"argv": []}, "argv"),
    ({"argv": "python run.py"}, "argv"),
    ({"output": "../*.mp4"}, "leaves the folder of the call"),
    ({"output": "/tmp/a.mp4"}, "leaves the folder of the call"),
    ({"files": {"../a": {}}}, "files"),
    ({"commit": "main"}, "commit"),
    ({"places": {"out": {"about": "x"}, "python": {"about": "x"}}}, "'out', which means something else"),
    ({"needs": ["{out}/x"]}, r"needs may only name places, not \{out\}"),
    ({"prompts_per_call": 2}, r"needs \{row\}"),
    (
        {"prompts_per_call": 2, "argv": ["{python}", "--out={out}", "--p={prompt}"], "output": "{row}.mp4"},
        r"\{prompt\} differs between the 2 clips of one call",
    ),
]


@pytest.mark.parametrize(("changes", "said"), WRONG)
def test_a_wrong_recipe_is_refused_in_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        program(**changes)


def test_a_recipe_names_one_kind_of_system(tmp_path: Path) -> None:
    data = shipped("external-toy").model_dump(mode="json")
    for more, said in (
        ({"folder": {"path": "x"}}, "give one of program, pipeline and folder, not program and folder"),
        ({"program": None}, "not none"),
        ({"program": {**data["external"]["program"], "output": "*.avi"}}, "must end in .mp4"),
    ):
        with pytest.raises(UserError, match=said):
            recipes.parse({**data, "external": {**data["external"], **more}}, BaselineRecipe, "recipe")
    with pytest.raises(UserError, match=r"needs a section \[external\]"):
        external.plan(
            tmp_path,
            recipes.parse({**data, "external": None}, BaselineRecipe, "recipe"),
            prompts=PROMPTS,
            accept_licence=False,
        )


def test_placeholders_are_filled_once_and_other_braces_stay() -> None:
    assert (
        fill('{"a": {prompt}} {none} {Seed} {seed}', {"prompt": "{seed}", "seed": 3}) == '{"a": {seed}} {none} {Seed} 3'
    )
    assert [output_pattern("x_{row:04}-{row}*.mp4", row) for row in (0, 12)] == ["x_0000-0*.mp4", "x_0012-12*.mp4"]


def test_a_file_of_lines_cannot_hold_a_line_break() -> None:
    assert prompt_table(["a", "b, c"], "lines", "x") == "a\nb, c\n"
    assert prompt_table(['a "b"', "c\nd"], "csv", "x") == '"x"\n"a ""b"""\n"c\nd"\n'
    with pytest.raises(UserError, match="has a line break"):
        prompt_table(["a", "c\nd"], "lines", "x")


def test_no_secret_is_passed_on_by_default() -> None:
    assert not [name for name in PASSED_ON if re.search("TOKEN|KEY|SECRET|PASS|PROXY", name)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_shipped_program_is_pinned_and_says_what_it_needs(name: str) -> None:
    recipe = shipped(name)
    assert recipe.external is not None
    assert recipe.external.program is not None
    found = recipe.external.program
    assert re.fullmatch("[0-9a-f]{40}", found.commit)
    assert found.repository.startswith("https://github.com/")
    assert recipe.external.vram
    assert recipe.external.licences
    assert recipe.external.expected.frames
    assert recipe.external.expected.fps
    assert found.environment
    assert {"checkout", "python"} <= found.places.keys()
    assert {"seed", "out"} <= found.placeholders()
    assert {"prompt", "prompt_file"} & found.placeholders()


@pytest.mark.parametrize(
    "name",
    [*PROGRAMS, "external-toy", pytest.param("external-ltx2", marks=pytest.mark.slow)],  # imports diffusers
)
def test_a_dry_run_shows_the_command_the_licences_and_what_is_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = shipped(name)
    shown = external.plan(tmp_path / "run", recipe, prompts=PROMPTS, accept_licence=False)
    assert recipe.external is not None
    rows = [(line[:11].strip(), line[11:]) for line in shown]
    said = {label: text for label, text in rows}
    assert all(len(label) < 11 for label, _ in rows)
    assert said["clips"].startswith(f"{recipe.sample.n} into {tmp_path / 'run' / 'samples'}, seed 0, 2 prompts of list")
    asked = [text for label, text in rows if label == "licence"]
    assert len(asked) == len(recipe.external.licences)
    for licence, text in zip(recipe.external.licences, asked, strict=True):
        assert licence.terms in text
        assert text.endswith("; needs --accept-license") is bool(licence.condition)
    assert said["GPU"] == recipe.external.vram
    if name in PROGRAMS:
        named = {word for label, text in rows if label == "missing" for word in text.split() if "AVBENCH_" in word}
        places = recipe.external.program.places  # type: ignore[union-attr]
        assert named == {f"AVBENCH_{recipe.preset.upper().replace('-', '_')}_{place.upper()}," for place in places}
        command = shlex.split(said["command"])
        assert len(command) == len(recipe.external.program.argv)  # type: ignore[union-attr]
    assert not (tmp_path / "run").exists(), "a dry run writes nothing"
    accepted = external.plan(tmp_path / "run", recipe, prompts=PROMPTS, accept_licence=True)
    assert not [line for line in accepted if "needs --accept-license" in line]


def test_a_gpu_that_is_not_there_is_told_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seen in (False, True):
        monkeypatch.setattr(_external_plan, "sees_cuda", lambda seen=seen: seen)
        shown = external.plan(tmp_path, shipped("external-ovi"), prompts=PROMPTS, accept_licence=False)
        assert ("missing    a CUDA device: none is seen on this machine" in shown) is not seen


def test_a_dry_run_of_what_is_all_there_names_nothing_missing(tmp_path: Path) -> None:
    shown = external.plan(tmp_path, shipped("external-toy"), prompts=PROMPTS, accept_licence=False)
    assert shown[-1] == "here       all that can be seen before the start"
    command = next(line for line in shown if line.startswith("command"))
    out = tmp_path.absolute() / "calls" / "sample-00000" / "out"
    words = ["recipes/programs/toy.py", "--prompt=a bell rings", "--seed=0", f"--out={out}/clip.mp4"]
    assert shlex.split(command[11:]) == [sys.executable, *words]


def test_prompts_that_are_missing_are_named(tmp_path: Path) -> None:
    shown = external.plan(tmp_path, shipped("external-toy"), prompts=None, accept_licence=False)
    assert shown[-1] == "missing    it needs prompts; give --prompts FILE, one per line"


def test_the_config_of_ovi_takes_its_prompt_from_a_table(tmp_path: Path) -> None:
    """As text it would be looked through for ``${...}``, which OmegaConf replaces."""
    from avbench.baselines import _external_program as programs

    call = programs.prepare(tmp_path, shipped("external-ovi"), (0,), toy.texts("${oc.env:HOME}"))
    assert "${" not in call.files["ovi.yaml"]
    assert call.files["prompts.csv"] == '"text_prompt"\n"${oc.env:HOME}"\n'
    assert f'"text_prompt": "{call.work}/prompts.csv"' in call.files["ovi.yaml"]
