"""The real command line, each command a process of its own, without the seconds that it takes to import libraries.

A process that has imported them is started with the first command that a test gives, and forks for every command: the
fork takes over arguments, folder, environment and open files, and goes on as ``avbench`` would, whose own modules it
imports itself. Run as a script, ``commands.py ADDRESS WORDS...`` is a program like ``avbench``.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import subprocess

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = (
    *("pydantic", "typer", "rich.progress", "jinja2", "matplotlib.pyplot", "numpy", "pandas", "pyarrow.parquet"),
    *("scipy.linalg", "scipy.signal", "scipy.stats", "av", "cv2", "torch", "torchvision", "torchaudio"),
)
"""Imported once. Of these none reads an address or a folder from the environment as it is imported."""
_LARGEST = 1 << 17


def avbench(*words: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Args:
        words: Of its command line.
        cwd: Folder to run it in.
        variables: Of its environment, beside those of this process.
    """
    import subprocess
    import tempfile

    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, open(os.devnull) as nothing:
        files = [nothing.fileno(), out.fileno(), err.fileno()]
        code = ask(address(), words, str(cwd or Path.cwd()), {**os.environ, **variables}, files)
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(["avbench", *words], code, out.read(), err.read())


def write_program(path: Path) -> None:
    """Write a program that does what ``avbench`` does."""
    path.write_text(f"#!/bin/sh\nexec '{sys.executable}' -IS '{__file__}' '{address()}' \"$@\"\n")
    path.chmod(0o755)


def ask(address: str, words: Sequence[str], cwd: str, environment: Mapping[str, str], files: Sequence[int]) -> int:
    """Have a command run with three open files of this process.

    Returns:
        Its exit code, negative for a signal.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        request = json.dumps([list(words), cwd, dict(environment)]).encode()
        assert len(request) <= _LARGEST
        socket.send_fds(connection, [request], files)
        return int(connection.recv(_LARGEST))


@functools.cache
def address() -> str:
    """Where the process that forks listens; it is started by the first call, and ends with this process."""
    import atexit
    import shutil
    import subprocess
    import tempfile

    folder = tempfile.mkdtemp(prefix="avbench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{folder}/commands")
        listener.listen()
        code = "import sys; from tests.commands import serve; serve(int(sys.argv[1]))"
        server = subprocess.Popen(
            [sys.executable, "-c", code, str(listener.fileno())],
            cwd=ROOT,
            # as avbench.cli sets it before a library reads it
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
                "OMP_WAIT_POLICY": "PASSIVE",
                "GOMP_SPINCOUNT": "10000",
            },
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
    atexit.register(server.wait)
    atexit.register(lambda: server.stdin and server.stdin.close())
    return f"{folder}/commands"


def serve(listening: int) -> NoReturn:
    """Fork for every request until standard input is closed."""
    import gc
    import importlib

    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # else a fork copies what a collection looks at: half a second
    listener = socket.socket(fileno=listening)
    while True:
        if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
            os._exit(0)
        connection, _ = listener.accept()
        request, files, _, _ = socket.recv_fds(connection, _LARGEST, 3)
        # one fork waits for the command that another one becomes
        waiting = os.fork()
        if not waiting:
            listener.close()
            command = os.fork()
            if not command:
                connection.close()
                _become(*json.loads(request), files)
            for file in files:
                os.close(file)
            code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
            connection.send(str(code).encode())
            os._exit(0)
        connection.close()
        for file in files:
            os.close(file)
        with contextlib.suppress(ChildProcessError):  # none is left
            while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):
                pass


def _become(words: Sequence[str], cwd: str, environment: Mapping[str, str], files: Sequence[int]) -> NoReturn:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["avbench", *words]
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    run_and_end()


def run_and_end(before: Callable[[], None] | None = None) -> NoReturn:
    """Be the command line in this process, to its end but for the unloading of libraries, which takes a second.

    Args:
        before: Called first; what it raises ends the process as the command's own errors do.
    """
    import atexit
    import threading
    import traceback

    code = 1
    try:
        if before is not None:
            before()
        from avbench.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - shown, as the interpreter would
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does at its end
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    ended = ask(sys.argv[1], sys.argv[2:], os.getcwd(), os.environ, [0, 1, 2])
    if ended < 0:
        os.kill(os.getpid(), -ended)
    sys.exit(ended)
