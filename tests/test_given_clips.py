"""Clips of a closed system become the samples of a run, under their own names and with their own prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avbench import given_clips, inputs, protocol, recipe as recipes
from avbench.baselines._untrained import Prompts
from avbench.errors import UserError
from avbench.progress import SILENT, Reporter
from avbench.recipe_baseline import BaselineRecipe
from tests.baselines.external_program import texts
from tests.clips import write_mp4, write_npz

RULES = protocol.load("demo-v1")


class Said(Reporter):
    """Keeps what was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def veo(tmp_path: Path) -> Path:
    """Three clips in two layouts, a preview, and what is said of them."""
    folder = tmp_path / "Veo 3.1"
    write_mp4(folder / "b.mp4", 1)
    write_mp4(folder / "more" / "a.mp4", 2)
    write_npz(folder / "c.npz", 3)
    (folder / "lone.wav").write_bytes(b"RIFF")
    (folder / "samples.json").write_text(
        json.dumps({"model": "Veo 3.1", "prompts": {"b": "a bell"}, "fps": 10, "licences": "mine", "config": 3})
    )
    return folder


def recipe(folder: Path, **said: str) -> BaselineRecipe:
    data: dict[str, Any] = given_clips.recipe_of(str(folder)).model_dump(mode="json")
    data["protocol"] = "demo-v1"
    data["external"]["folder"] |= said
    return recipes.parse(data, BaselineRecipe, "recipe")


def take(run: Path, of: BaselineRecipe, prompts: Prompts | None, reporter: Reporter = SILENT) -> tuple[int, int]:
    return given_clips.write_samples(run, of, prompts=prompts, reporter=reporter)


def test_clips_keep_their_names_and_prompts_and_no_byte_is_copied(veo: Path, tmp_path: Path) -> None:
    said = Said()
    run = tmp_path / "run"
    assert take(run, recipe(veo), None, said) == (3, 0)
    before, _ = inputs.outputs(veo, RULES)
    after, _ = inputs.outputs(run / "samples", RULES)
    assert [item.item_id for item in after] == [item.item_id for item in before] == ["b.mp4", "c.npz", "more/a.mp4"]
    assert [item.content_sha256() for item in after] == [item.content_sha256() for item in before]
    assert (run / "samples" / "b.mp4").is_symlink()
    assert inputs.prompts(run / "samples", ["b.mp4", "c.npz"]) == {"b.mp4": "a bell"}
    assert said.warnings == ["lone.wav left out: has no picture: there is no film or folder of pictures of its name"]
    assert take(run, recipe(veo), None) == (0, 3)


def test_the_maker_is_marked_as_given(veo: Path, tmp_path: Path) -> None:
    of = recipe(veo, settings="8 s, 720p, made in May")
    take(tmp_path / "run", of, None)
    card = json.loads((tmp_path / "run" / "samples" / "samples.json").read_text())
    assert of.preset == "Veo-3.1"
    assert card["model"] == "external:Veo-3.1"
    assert card["notes"] == "clips made elsewhere; as given: Veo 3.1, 8 s, 720p, made in May"
    assert (card["generator"]["pinned"], card["generator"]["clips"], card["fps"]) == (False, 3, 10)
    assert inputs.read_card(tmp_path / "run" / "samples").stated.fps == 10
    assert (card["licences"], "config" in card) == ([], False)


def test_a_list_of_prompts_is_one_per_clip_in_order_of_name(veo: Path, tmp_path: Path) -> None:
    take(tmp_path / "run", recipe(veo), texts("one", "two", "three"))
    found = inputs.prompts(tmp_path / "run" / "samples", ["b.mp4", "c.npz", "more/a.mp4"])
    assert list(found.values()) == ["one", "two", "three"]
    with pytest.raises(UserError, match="holds 3 clips and list 2 prompts; a list is one prompt per clip"):
        take(tmp_path / "run", recipe(veo), texts("one", "two"))


def test_a_folder_that_changed_is_taken_anew(veo: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    take(run, recipe(veo), None)
    (veo / "b.mp4").unlink()
    write_mp4(veo / "d.mp4", 4)
    assert take(run, recipe(veo), None) == (3, 0)
    assert sorted(path.name for path in (run / "samples").iterdir()) == sorted(
        ["c.npz", "d.mp4", "lone.wav", "more", "samples.json"]
    )


def test_what_cannot_be_taken_is_refused_in_one_sentence(veo: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder of clips"):
        given_clips.recipe_of(str(tmp_path / "none"))
    with pytest.raises(UserError, match="lies in the run or around it"):
        take(veo / "run", recipe(veo), None)
    write_mp4(tmp_path / "run" / "samples" / "sample-00000.mp4", 1)
    with pytest.raises(UserError, match="holds clips that were made there; give another --out"):
        take(tmp_path / "run", recipe(veo), None)
    (tmp_path / "one").mkdir()
    write_mp4(tmp_path / "one" / "a.mp4", 1)
    with pytest.raises(UserError, match=r"holds one clip \(a\.mp4\)"):
        take(tmp_path / "other", recipe(tmp_path / "one"), None)
    shipped = recipes.load(recipes.find("baselines", "external-folder"), BaselineRecipe)
    with pytest.raises(UserError, match=r"name the folder as external:\./FOLDER"):
        take(tmp_path / "other", shipped, None)


def test_a_dry_run_counts_clips_and_prompts(veo: Path, tmp_path: Path) -> None:
    shown = given_clips.plan(tmp_path / "run", recipe(veo), prompts=None)
    assert shown[0] == "system     external:Veo-3.1: Veo 3.1"
    assert shown[1].startswith("clips      3 clips of ")
    assert shown[2] == "prompts    1 of 3 clips have one"
    assert "lone.wav" in shown[3]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "path"), [("veo", False), ("./veo", True), ("/data/veo", True), ("a/b.toml", False)])
def test_a_name_with_a_slash_is_a_folder(name: str, path: bool) -> None:
    assert given_clips.is_path(name) is path
