"""Somebody else's model from the command line to the leaderboard, with a clip that could not be made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avbench import cli
from avbench.errors import UserError
from avbench.leaderboard import records
from tests.baselines import external_program as toy
from tests.clips import clip, write_mp4
from tests.training.rendered_sets import write_clips

pytestmark = pytest.mark.slow


def avbench(*words: object, code: int = 0) -> str:
    """What a command prints; it must end with ``code``."""
    done = CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of ten small clips."""
    folder = tmp_path_factory.mktemp("data")
    made = [clip(number, frames=40, size=32) for number in range(10)]
    write_clips(folder, [(video, audio[0]) for video, audio in made], split="test")
    return folder


def test_a_program_reaches_the_leaderboard_and_its_failures_the_record(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path / "no-weights"))
    (tmp_path / "told").mkdir()
    at = toy.write_checkout(tmp_path / "checkout")
    recipe = toy.recipe(tmp_path / "checkout", tmp_path / "told", at, n=10)
    told = recipe.model_dump(mode="json", exclude_defaults=True)
    # a value of JSON is one of TOML but for its objects
    tables = {key: told.pop(key) for key in ("sample", "external")}
    program = tables["external"].pop("program")
    places = program.pop("places")
    text = _table("", told) + _table("sample", tables["sample"]) + "[[external.licences]]\nwhat='code'\nterms='MIT'\n"
    text += _table("external.expected", tables["external"]["expected"]) + _table("external.program", program)
    text += "".join(_table(f"external.program.places.{name}", place) for name, place in places.items())
    (tmp_path / "toy.toml").write_text(text)
    (tmp_path / "prompts.txt").write_text("# two prompts\na bell\na drum\n\nrain\nwind\ncrash\n")
    name = f"external:{tmp_path / 'toy.toml'}"
    how = ("--prompts", tmp_path / "prompts.txt", "--dataset", data, "--out", tmp_path / "run")
    shown = avbench("run-baseline", name, *how, "--dry-run")
    assert "command    " in shown
    assert f"reference  {data}" in shown
    assert not (tmp_path / "run").exists()
    # two of ten clips are missing: all else is done, and nobody should have to count
    shown = avbench("run-baseline", name, *how, "--workers", 1, "--leaderboard", tmp_path / "board", code=2)
    assert "sample     8 clips, 2 failed (" in shown
    (record,) = records.load_all(tmp_path / "board")
    assert (record.display_name, record.baseline, record.training) == ("external:toy", "external", None)
    assert (record.n_used, sorted(record.failed)) == (8, ["sample-00004", "sample-00009"])
    assert record.notes == f"https://example.org/toy at {at[:12]}; external:toy, code: MIT"
    assert record.sampling is not None
    assert record.sampling.scheduler == "that of the program"
    assert str(tmp_path) not in json.dumps(record.failed)
    assert "external:toy" in (tmp_path / "board" / "README.md").read_text()
    shown = avbench("sample", name, "--prompts", tmp_path / "prompts.txt", "--out", tmp_path / "run", code=2)
    assert "sample     0 clips, 8 already, 2 failed (" in shown
    avbench("sample", name, "--prompts", tmp_path / "prompts.txt", "--out", tmp_path / "run", "--n", 4)
    avbench("score", tmp_path / "run" / "samples", "--reference", data, "--workers", 1)
    avbench("sample", name, "--prompts", tmp_path / "prompts.txt", "--out", tmp_path / "run", code=2)
    avbench("score", tmp_path / "run" / "samples", "--reference", data, "--workers", 1, code=2)
    again = records.load(tmp_path / "run" / "samples" / "result.json")
    assert (again.display_name, again.notes, again.failed) == ("external:toy", record.notes, record.failed)
    prompts = json.loads((tmp_path / "run" / "samples" / "samples.json").read_text())["prompts"]
    assert prompts["sample-00001"] == prompts["sample-00006"] == "a drum"


def _table(name: str, values: dict[str, object]) -> str:
    head = f"[{name}]\n" if name else ""
    return head + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def test_a_folder_of_clips_reaches_the_leaderboard_as_given(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_WEIGHTS", str(tmp_path / "no-weights"))
    monkeypatch.chdir(tmp_path)
    for number in range(9):
        write_mp4(tmp_path / "veo" / f"{number}.mp4", number)
    (tmp_path / "veo" / "samples.json").write_text(json.dumps({"model": "Veo 3.1"}))
    (tmp_path / "mine.toml").write_text(
        'baseline = "external"\npreset = "veo"\nprotocol = "demo-v1"\n[sample]\nn = 1\n'
        '[external.folder]\npath = "veo"\nsettings = "720p"\n'
    )
    how = ("--dataset", data, "--workers", 1, "--leaderboard", tmp_path / "board")
    shown = avbench("run-baseline", "external:./veo", "--dataset", data, "--dry-run")
    assert "9 clips of" in shown
    avbench("run-baseline", "external:./mine.toml", *how)
    (record,) = records.load_all(tmp_path / "board")
    assert (record.display_name, record.n_used) == ("external:veo", 9)
    assert record.notes == "clips made elsewhere; as given: Veo 3.1, 720p"
    assert (tmp_path / "runs" / "external-veo" / "samples" / "0.mp4").is_symlink()
    assert not (tmp_path / "veo" / "result.json").exists()


def test_names_of_systems_are_told_apart(tmp_path: Path) -> None:
    from avbench.runs import Run

    def opened(name: str, preset: str | None = None) -> Run:
        return Run.open(name, preset, dataset=None, out=tmp_path / "run")

    assert opened("external:toy").recipe.shown_as == ("external:toy", "")
    assert opened("external", "ovi").recipe.shown_as == ("external:ovi", "")
    assert opened("mmdiffusion:tiny").recipe.shown_as == ("mmdiffusion", "tiny")
    with pytest.raises(UserError, match="there is no preset called 'ov'; did you mean ovi"):
        opened("external:ov")
    with pytest.raises(UserError, match="write the recipe's name once, as external:NAME"):
        opened("external:toy", "ovi")
    with pytest.raises(UserError, match="there is no such folder of clips"):
        opened("external:./none")
