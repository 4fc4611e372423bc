"""The application, and the one place where errors become a sentence and an exit code.

0 done; 1 a check said no; 2 wrong usage or bad input; 101 a bug of kptool's; 128 + n stopped by signal n.
"""

from __future__ import annotations

import errno
import logging
import signal
import sys
import traceback
from typing import Annotated

import typer

from kptool.cli import (
    bench,
    compare,
    convert,
    doctor,
    evaluate,
    export,
    extract,
    info,
    learn_curve,
    predict,
    recommend,
    report,
    show,
    submit,
    train,
)
from kptool.cli.output import note
from kptool.errors import DataError, KptoolError
from kptool.stopping import Stopped, raised

app = typer.Typer(
    name="kptool",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Detect keypoints in images with CNNs: extract, train, evaluate, predict, benchmark.",
)
for command in (
    extract,
    convert,
    recommend,
    train,
    evaluate,
    predict,
    submit,
    export,
    compare,
    show,
    report,
    info,
    doctor,
    learn_curve,
    bench,
):
    name = command.__name__.rsplit(".", 1)[-1]
    app.command(name.replace("_", "-"))(getattr(command, name))

BUG = 101


def _version(wanted: bool) -> None:
    if wanted:
        from kptool import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Detect keypoints in images with CNNs: extract, train, evaluate, predict, benchmark."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit the process with its code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    logging.basicConfig(format="kptool: %(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    try:
        with raised():
            app([a for a in arguments if a != "--debug"])
    except KptoolError as error:
        _show(error, debug)
        sys.exit(2)
    except Stopped as stop:
        note(f"kptool: stopped by {signal.Signals(stop.number).name}" + (f"; {stop.hint}" if stop.hint else ""))
        sys.exit(128 + stop.number)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left; Python would complain while flushing
        sys.exit(141)
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None and error.errno != errno.ENOENT:
            refusal = DataError(f"{error.filename}: {error.strerror}; give another path, or mend what is wrong with it")
            refusal.__cause__ = error
            _show(refusal, debug)  # of the machine, and not foreseen where it happened
            sys.exit(2)
        _show(error, debug)
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":  # predicting does without, so it may be
            note("kptool: this needs torch: pip install torch")
            sys.exit(2)
        note("kptool: this is a bug of kptool's; run again with --debug and report what it prints")
        sys.exit(BUG)


def _show(error: Exception, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    text = " ".join(str(error).split())
    note(f"kptool: {text}" if isinstance(error, KptoolError) else f"kptool: {type(error).__name__}: {text}")
