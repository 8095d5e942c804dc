"""The command line. One short function per command; heavy imports happen inside them."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import NoReturn

import typer

from avbench import __version__

app = typer.Typer(
    help="Exact paired audio-video datasets, joint generation baselines and comparable scores.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes after Ctrl-C and after SIGTERM, as a shell expects them."""


def _version(value: bool) -> None:
    if value:
        typer.echo(f"avbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Exact paired audio-video datasets, joint generation baselines and comparable scores."""


def main() -> None:
    """Run the command line: a mistake of the user is one sentence and exit code 2, never a traceback."""
    from avbench.errors import UserError, environment_fault

    # OpenMP threads that spin while they wait make torch up to 15 times slower when anything else uses a core
    # (measured: a training step of the tiny preset, batch 4, on 2 shared cores: 24 s spinning, 1.6 s sleeping).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # But one that sleeps at once is woken for every operator: turning for some 10 us first makes a step of that preset,
    # batch 2, take 0.74 s instead of 1.35 s on 2 quiet cores, and as long as before beside two busy processes.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Registered first, so run last: Ctrl-C while Python unloads its libraries must not turn finished work into a death
    # by signal.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)
    try:
        app()
    except UserError as error:
        _complain(error)
    except KeyboardInterrupt:  # before typer has read the command line, which answers it from then on
        _stop(INTERRUPTED)
    except SystemExit as end:
        if end.code in (INTERRUPTED, TERMINATED):
            _stop(end.code)
        raise
    except Exception as error:
        if (fault := environment_fault(error)) is None:
            raise
        _complain(fault)


def _stop(code: int) -> NoReturn:
    typer.echo("stopped; run the same command again to go on where it stopped", err=True)
    sys.exit(code)


def _complain(error: Exception) -> NoReturn:
    from avbench.confidential import masked

    typer.secho(f"error: {masked(str(error))}", err=True, fg="red")
    sys.exit(2)


def _end(number: int, frame: object) -> NoReturn:
    """SIGTERM unwinds like Ctrl-C: workers and programs are ended, half-written files removed. A second one kills."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise SystemExit(TERMINATED)


from avbench.cli import (  # noqa: E402 - importing them adds their commands to `app`
    bench,  # noqa: F401
    check,  # noqa: F401
    checkpoint,  # noqa: F401
    data,  # noqa: F401
    export,  # noqa: F401
    info,  # noqa: F401
    inspect,  # noqa: F401
    leaderboard,  # noqa: F401
    publish,  # noqa: F401
    scan,  # noqa: F401
    score,  # noqa: F401
    status,  # noqa: F401
    study,  # noqa: F401
)
