"""Every command that README and docs show is checked; so is every link, and every file for words it must not hold.

Commands stand in ```console fences, each on a line that begins with ``$ ``. A comment before the fence says what is
done with them::

    <!-- test: run -->        each command runs; exit code 0; what it prints must be what is shown below it
    <!-- test: run slow -->   the same, in the slow tests
    <!-- test: file NAME -->  the fence below, of any language, is written to NAME for the commands after it
    <!-- test: parse -->      the command and its options must exist (the default); ``parse, GPU`` says why

The fences of one page run in order in one empty folder, so a page can be a tutorial; ``$ export NAME=...`` holds for
the commands after it. Shown output is compared word by word: ``...`` within a line stands for any words, a line that is
only ``...`` for any lines, and seconds in brackets, ``(7.4 s)``, for any time. A ```pycon fence is run as a doctest.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from tests.commands import write_program

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
LINKED_PAGES = sorted({*PAGES, *(ROOT / "leaderboard").rglob("*.md"), *(ROOT / "manifests").rglob("*.md")})


@dataclass(frozen=True)
class Fence:
    """A fenced block of a page.

    Attributes:
        language: What follows the three backticks.
        mode: ``run``, ``run slow``, ``parse`` or ``file NAME``.
        text: The lines inside.
        line: Line number of the opening backticks.
    """

    language: str
    mode: str
    text: str
    line: int

    def commands(self) -> list[tuple[str, str]]:
        """Each command (continuation lines joined) with the output printed below it."""
        found: list[tuple[str, str]] = []
        lines = iter(self.text.splitlines())
        for line in lines:
            if line.startswith("$ "):
                command = line[2:]
                while command.endswith("\\"):
                    command = command[:-1] + next(lines, "").strip()
                found.append((command, ""))
            elif found:
                found[-1] = (found[-1][0], found[-1][1] + line + "\n")
        return found


MARKER = re.compile(r"<!-- test: (run slow|run|parse|file \S+)(?:,[^>]*)? -->")


def fences(text: str) -> list[Fence]:
    """All fenced blocks of a Markdown text, each with the mode that the comment before it sets."""
    found, mode, lines, start = [], "parse", [], 0
    language: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"\s*```\s*(\w*)", line)
        if fence and language is None:
            language, lines, start = fence[1], [], number
        elif fence:
            found.append(Fence(language or "", mode, "\n".join(lines), start))
            language, mode = None, "parse"
        elif language is not None:
            lines.append(line)
        elif marker := MARKER.search(line):
            mode = marker[1]
        elif line.strip():
            mode = "parse"
    return found


def programs(command: str) -> list[list[str]]:
    """The argument lists of a shell line: split at pipes and the like, without redirections and ``NAME=value``."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    parts: list[list[str]] = [[]]
    skip = False
    for token in lexer:
        if set(token) <= set("|&;()"):
            parts.append([])
        elif set(token) <= set("<>&"):
            skip = True
        elif skip:
            skip = False
        elif parts[-1] or not re.match(r"[A-Z_]+=", token):
            parts[-1].append(token)
    return [part for part in parts if part]


def complaint_about(arguments: list[str], app: typer.Typer) -> str:
    """Why ``avbench ARGUMENTS`` would be refused before it does anything; empty when it would not."""
    root: Any = typer.main.get_command(app)
    for _, command in leaves(root):
        command.callback = lambda **_: None  # parsed as ever, then nothing happens
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            root.main(arguments, prog_name="avbench", standalone_mode=False)
        except typer.TyperException as error:
            message = getattr(error, "format_message", error.__str__)()
            return message.partition("\n")[0].strip() or "it needs a subcommand"
    return ""


def leaves(command: Any, path: str = "avbench") -> Iterator[tuple[str, Any]]:
    """Every command below a group, with the words that call it."""
    for name, child in getattr(command, "commands", {}).items():
        yield from leaves(child, f"{path} {name}") if hasattr(child, "commands") else [(f"{path} {name}", child)]


def make_targets(makefile: str) -> set[str]:
    """Targets that a person may type."""
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def complaints_in(page: str, app: typer.Typer, targets: set[str]) -> list[str]:
    """Every command of a page that would be refused, and every one that no test would see."""
    bad = []
    named = {path for path, _ in leaves(typer.main.get_command(app))}  # in prose a command may stand by its name alone
    for fence in fences(page):
        if fence.language == "console":
            for command, _ in fence.commands():
                bad += [f"line {fence.line}: `{command}`: {why}" for why in _refusals(command, app, targets)]
        elif fence.language in ("", "bash", "sh", "shell") and re.search(r"^\$? ?(avbench|make) ", fence.text, re.M):
            bad.append(
                f"line {fence.line}: commands stand in a ```console fence, each after '$ ', so that they are tested"
            )
        elif fence.language == "python":
            try:
                ast.parse(fence.text)
            except SyntaxError as error:
                bad.append(f"line {fence.line}: not Python: {error}")
    for command in re.findall(r"(?<!`)`((?:avbench|make) [^`\n]+)`(?!`)", page):
        if command not in named and "..." not in command and "…" not in command:
            bad += [f"`{command}`: {why}" for why in _refusals(command, app, targets)]
    return bad


def _refusals(command: str, app: typer.Typer, targets: set[str]) -> Iterator[str]:
    for program, *arguments in programs(command):
        if program == "avbench" and (why := complaint_about(arguments, app)):
            yield why
        if program == "make":
            unknown = {word for word in arguments if not re.match(r"-|\w+=", word)} - targets
            yield from (f"the Makefile has no target {word!r}" for word in sorted(unknown))


def matches(expected: str, printed: str) -> bool:
    """True when the output is what the page shows; see the module's text. Spaces at line ends do not count."""

    def tidy(text: str) -> list[str]:
        return [line.rstrip() for line in text.strip().splitlines()]

    pattern = "".join(r"(?:.*\n)*?" if line == "..." else _line_pattern(line) + r"\n" for line in tidy(expected))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in tidy(printed))) is not None


def _line_pattern(line: str) -> str:
    shown = re.escape(line).replace(re.escape("..."), ".*")
    return re.sub(r"\\\(\d[\d\\.]*\\ s\\\)", lambda _: r"\(\d[\d.]* s\)", shown)


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    from avbench.cli import app

    return app


@pytest.fixture(scope="module")
def targets() -> set[str]:
    return make_targets((ROOT / "Makefile").read_text())


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_every_command_on_the_page_exists(page: Path, app: typer.Typer, targets: set[str]) -> None:
    bad = complaints_in(page.read_text(), app, targets)
    assert not bad, "\n".join(["", *bad])


def _runnable() -> Iterator[Any]:
    for page in PAGES:
        modes = {fence.mode for fence in fences(page.read_text())}
        if modes & {"run", "run slow"}:
            yield pytest.param(page, id=_id(page), marks=[pytest.mark.slow] if "run slow" in modes else [])


def first_failure(page: str, folder: Path) -> str:
    """Run the ``run`` fences of a page in ``folder``, in order, until a command does not do what the page shows."""
    scripts = folder / ".bin"
    scripts.mkdir()
    write_program(scripts / "avbench")  # the source beside this test, whether or not it is installed
    environment = os.environ | {
        "PATH": f"{scripts}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    for fence in fences(page):
        if fence.mode.startswith("file "):
            target = folder / fence.mode.removeprefix("file ")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(fence.text + "\n")
        for command, expected in fence.commands() if fence.mode.startswith("run") else ():
            if command.startswith("make "):
                return f"line {fence.line}: make runs in CI; mark this fence parse"
            if exported := re.fullmatch(r"export (\w+)=(\S+)", command):
                environment[exported[1]] = exported[2].replace("$PWD", str(folder))
                continue
            shell = ["bash", "-o", "pipefail", "-c", command]
            done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            where = f"line {fence.line}: $ {command}"
            if done.returncode:
                return f"{where}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
            if not matches(expected, done.stdout):
                return f"{where}\nprinted:\n{done.stdout}\nthe page shows:\n{expected}"
    return ""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", _runnable())
def test_commands_of_the_page_run_and_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    failure = first_failure(page.read_text(), tmp_path)
    assert not failure, failure


@pytest.mark.parametrize("page", [page for page in PAGES if "```pycon" in page.read_text()], ids=_id)
def test_python_sessions_of_the_page_give_what_it_shows(page: Path) -> None:
    failure = failed_sessions(page.read_text())
    assert not failure, failure


def failed_sessions(page: str) -> str:
    """What the ``pycon`` fences of a page give that they do not show; they share their names, in order."""
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    names: dict[str, Any] = {}
    for fence in fences(page):
        if fence.language == "pycon":
            session = doctest.DocTestParser().get_doctest(fence.text + "\n", names, "page", "page", fence.line)
            runner.run(session, out=said.append, clear_globs=False)
            names = session.globs
    return "".join(said)


def test_help_of_every_command_has_two_examples_that_parse(app: typer.Typer) -> None:
    bad = []
    for path, command in leaves(typer.main.get_command(app)):
        text = inspect.cleandoc(command.help or "")
        examples = re.findall(r"^ *(avbench .+)$", text.partition("Examples:")[2], re.MULTILINE)
        if len(examples) < 2 or not all(example.startswith(path) for example in examples):
            bad.append(f"{path}: its help needs two examples of itself below 'Examples:'")
        bad += [f"{path}: `{example}`: {why}" for example in examples for why in _refusals(example, app, set())]
    assert not bad, "\n".join(["", *bad])


def _anchors(page: str) -> set[str]:
    """Anchors GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ +(.+?) *$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Relative links of a Markdown file whose file or heading does not exist."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    bad = []
    for link in re.findall(r"\]\(<?([^)\s>]+)>?[^)]*\)|(?:src|href)=\"([^\"]+)\"", text):
        target, _, anchor = "".join(link).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target) if target else page
        if not file.exists():
            bad.append(f"{target}: there is no such file")
        elif anchor and file.suffix == ".md" and anchor not in _anchors(file.read_text()):
            bad.append(f"{target}#{anchor}: there is no such heading")
    return bad


@pytest.mark.parametrize("page", LINKED_PAGES, ids=_id)
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert not broken_links(page)


FORBIDDEN = {
    "a package registry": re.compile(
        rb"py" rb"pi\.org|python" rb"hosted\.org|down" rb"load\.pytorch\.org/whl|npm" rb"js\.org"
    ),
    "an absolute path of one machine": re.compile(rb"(?<![\w.>})*-])/wo" rb"rk/"),
}
ASSETS_BESIDE = re.compile(rb"\.\./sha" rb"red\b")
"""The folder of test assets beside a checkout: only ``.ci/run`` may know where it is."""


def forbidden_in(content: bytes, path: str) -> list[str]:
    """What a file of the repository must not hold."""
    bad = [
        f"{path} names {what}: {hit[0].decode()}" for what, words in FORBIDDEN.items() if (hit := words.search(content))
    ]
    if path != ".ci/run" and ASSETS_BESIDE.search(content):
        bad.append(f"{path} knows where test assets are; tests reach them through fixtures")
    return bad


def test_no_file_speaks_of_one_machine_or_registry(project_files: list[str]) -> None:
    assert len(project_files) > 20
    bad = [line for name in project_files for line in forbidden_in((ROOT / name).read_bytes(), name)]
    assert not bad, "\n".join(["", *bad])


# The checks themselves, on small examples.


@pytest.fixture
def toy() -> typer.Typer:
    app = typer.Typer()
    nested = typer.Typer()

    @app.command()
    def score(folder: str, n: int = 3) -> None: ...

    @nested.command()
    def show(folder: str = "x") -> None: ...

    @nested.command()
    def build() -> None: ...

    app.add_typer(nested, name="leaderboard")
    return app


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```console\n$ avbench score out --m 3\n```", "--m"),
        ("```console\n$ avbench score out --n three\n```", "three"),
        ("```console\n$ avbench score\n```", "folder"),
        ("```console\n$ avbench scor out\n```", "scor"),
        ("```console\n$ cd x && avbench leaderboard shw | head\n```", "shw"),
        ("```console\n$ avbench score out \\\n    --bad\n```", "--bad"),
        ("Type `avbench score --all` now.", "--all"),
        ("```console\n$ make tea\n```", "'tea'"),
        ("```bash\navbench score out\n```", "```console"),
        ("```python\nx =\n```", "not Python"),
    ],
)
def test_a_wrong_command_is_noticed(page: str, complaint: str, toy: typer.Typer) -> None:
    assert complaint in "\n".join(complaints_in(page, toy, {"demo"}))


def test_right_commands_pass(toy: typer.Typer) -> None:
    assert complaints_in("`avbench score`, `avbench leaderboard show`, `avbench score ... --any`", toy, set()) == []
    first = "$ HF=1 avbench score out --n 4 > log  # note\nany --bad output"
    page = f"```console\n{first}\n$ avbench --help\n$ make demo -j2\n```"
    assert complaints_in(page, toy, {"demo"}) == []
    assert [command for command, _ in fences(page)[0].commands()][1:] == ["avbench --help", "make demo -j2"]


def test_the_comment_before_a_fence_sets_its_mode() -> None:
    fence = "```console\n$ true\n```\n"
    page = f"{fence}<!-- test: run -->\n\n{fence}<!-- test: run slow -->\n{fence}<!-- test: run -->\ntext\n{fence}"
    assert [fence.mode for fence in fences(page)] == ["parse", "run", "run slow", "parse"]


def test_output_matches_up_to_dots_and_seconds() -> None:
    assert matches("clips 12 in ... s\n", "clips 12 in 3.4 s  \n")
    assert matches("a\n...\nb (7.4 s)\n", "a\nx\ny\nb (12 s)\n")
    assert matches("...\nb", "b")
    assert matches("...", "")
    assert not matches("", "anything")
    assert not matches("clips 12\n", "clips 13\n")
    assert not matches("clips ... done", "clips 12\ndone")
    assert not matches("b of 8 s (7.4 s)", "b of 9 s (7.4 s)")
    assert not matches("b (7.4 s)", "b (7.4 m)")


@pytest.mark.parametrize(
    ("shown", "failure"),
    [
        ("$ echo one > file\n$ cat file\none", ""),
        ("$ cat file | cat", "exit code 1"),
        ("$ echo one\ntwo", "printed:\none"),
        ("$ echo one", "printed:\none"),
        ("$ export KEPT=$PWD/a\n$ basename $KEPT\na", ""),
        ("$ avbench --version\navbench ...", ""),
        ("$ make demo", "mark this fence parse"),
    ],
)
def test_a_page_is_run_and_held_to_what_it_shows(shown: str, failure: str, tmp_path: Path) -> None:
    found = first_failure(f"<!-- test: run -->\n```console\n{shown}\n```", tmp_path)
    assert failure in found if failure else not found
    other = tmp_path / "other"
    other.mkdir()
    assert first_failure(f"```console\n{shown}\n```", other) == ""  # not marked: not run


def test_a_fence_can_be_a_file_and_a_session(tmp_path: Path) -> None:
    page = "<!-- test: file a/b.txt -->\n```text\nfour words stand here\n```\n<!-- test: run -->\n```console\n"
    assert not first_failure(page + "$ wc -w < a/b.txt\n4\n```", tmp_path)
    assert not failed_sessions("```pycon\n>>> x = 1\n```\n\n```pycon\n>>> x + 1\n2\n```")
    assert "Expected:\n    3\nGot:\n    2\n" in failed_sessions("```pycon\n>>> 1 + 1\n3\n```")


def test_broken_links_and_forbidden_words_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# One thing\n[x](b.md) [y](#one-thing) [z](#two) [w](https://example.org/no.md)\n")
    assert broken_links(page) == ["b.md: there is no such file", "#two: there is no such heading"]
    assert forbidden_in(b"see /wo" + b"rk/main", "x")
    assert not forbidden_in(b"demo/dataset/work/raw <out>/work/raw", "x")
    assert forbidden_in(b"https://py" + b"pi.org/simple", "x")
    assert forbidden_in(b"$here/../sha" + b"red", "x")
    assert not forbidden_in(b"$here/../sha" + b"red", ".ci/run")
