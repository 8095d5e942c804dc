"""The command line: help with examples everywhere, quick to start, and one sentence for every mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from avbench import cli
from tests.commands import avbench

RUNNER = CliRunner()


def commands(app: typer.Typer, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every command's words and docstring, groups included."""
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        yield (*prefix, name), command.callback.__doc__ or ""
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, (*prefix, str(group.name)))


ALL = dict(commands(cli.app))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_help_with_two_examples(words: tuple[str, ...]) -> None:
    result = RUNNER.invoke(cli.app, [*words, "--help"])
    assert result.exit_code == 0
    examples = [line for line in ALL[words].splitlines() if line.strip().startswith(f"avbench {' '.join(words)}")]
    assert len(examples) >= 2, f"the help of {' '.join(words)} needs two examples"


def test_help_names_every_dataset_that_comes_with_avbench() -> None:
    shown = RUNNER.invoke(cli.app, ["build-dataset", "--help"]).output
    cards = sorted(path.parent.name for path in (Path(__file__).parents[2] / "manifests").glob("*/card.toml"))
    assert cards
    assert all(name in shown for name in cards)


def test_the_commands_of_the_house_are_there() -> None:
    wanted = [
        "build-dataset",
        "download",
        "segment",
        "filter",
        "shard",
        "run-baseline",
        "train",
        "sample",
        "score",
        "list",
        "doctor",
    ]
    assert set(wanted) <= {words[0] for words in ALL}
    assert {("leaderboard", "show"), ("leaderboard", "build"), ("manifest", "sync"), ("weights", "fetch")} <= set(ALL)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from avbench.cli import main; sys.argv = ['avbench', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'pydantic', 'av', 'cv2', 'yt_dlp'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["build-dataset", "conserts"], "there is no dataset called 'conserts'; did you mean concerts?"),
        (["build-dataset", "absent.csv"], "absent.csv: there is no such manifest file"),
        (["build-dataset", "demo", "--recipe", "dem"], "there is no dataset called 'dem'; did you mean demo?"),
        (["run-baseline", "mmdifusion"], "there is no baseline called 'mmdifusion'; did you mean mmdiffusion"),
        (["run-baseline", "mmdiffusion", "--preset", "tinny"], "there is no preset called 'tinny'; did you mean tiny?"),
        (["train", "mmdiffusion", "--dataset", "nowhere"], "nowhere: is no finished dataset"),
        (["score", "absent", "--reference", "."], "absent: there is no such folder"),
        (["score", "absent"], "absent: give the clips to compare with: --reference"),
        (["score", ".", "--reference", ".", "--protocol", "demo"], "did you mean demo-v1"),
        (["weights", "fetch", "i3"], "there is no set of weights called 'i3'"),
        (["train", "mmdiffusion", "--device", "warp"], "there is no device called 'warp'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path: Path, words: list[str], sentence: str) -> None:
    done = avbench(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir()), "a mistake must leave nothing behind"


@pytest.mark.slow
def test_the_program_that_starts_from_nothing_does_what_these_tests_see(tmp_path: Path) -> None:
    words = ["score", "absent", "--reference", "."]
    program = [sys.executable, "-c", "from avbench.cli import main; main()"]
    cold = subprocess.run([*program, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    warm = avbench(*words, cwd=tmp_path)
    assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr) != (0, "", "")


def test_ctrl_c_before_the_command_line_is_read_is_a_sentence_too() -> None:
    script = (
        "import signal, typer\nfrom avbench import cli\n"
        "typer.main.get_command = lambda _app: signal.raise_signal(signal.SIGINT)\ncli.main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    said = "stopped; run the same command again to go on where it stopped\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", said)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["filters", "features", "metrics", "baselines", "codecs", "datasets", "protocols", "weights"]
)
def test_list_shows_one_line_each(kind: str) -> None:
    result = RUNNER.invoke(cli.app, ["list", kind])
    assert result.exit_code == 0, result.output
    lines = result.output.strip().splitlines()
    assert lines
    assert all(len(line.split()) > 2 for line in lines), "every line says what the thing is"


def test_completion_is_offered_and_answers() -> None:
    assert "--install-completion" in RUNNER.invoke(cli.app, ["--help"]).output
    asked = {"_AVBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "avbench run", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['avbench']; from avbench.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}, check=False
    )
    assert done.stdout.split() == ["run-baseline"], done.stderr
