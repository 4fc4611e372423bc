"""The Typer application, and the only place where errors become a sentence and an exit code.

0 success; 1 a check failed; 2 wrong usage or bad input; 101 a bug in kptool; 128 + n stopped by signal n.
"""

from __future__ import annotations

import atexit
import errno
import gc
import signal
import sys
import traceback
from typing import Annotated

import typer

from kptool.base.errors import ConfigError, DataError, KptoolError
from kptool.cli import (
    bench,
    compare,
    convert,
    defaults,
    demo,
    doctor,
    evaluate,
    export,
    extract,
    help,  # noqa: A004 - the module has the command's name
    info,
    label,
    learn_curve,
    plugin,
    predict,
    recommend,
    report,
    settings,
    show,
    submit,
    train,
    tune,
    usage,
)
from kptool.cli.output import complain, print_messages
from kptool.system.printable import printable
from kptool.system.signals import Stopped, raised
from kptool.system.workers import rank

app = typer.Typer(
    name="kptool",
    cls=defaults.Group,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Detect keypoints in images with CNNs: extract, train, evaluate, predict, benchmark.",
)
for command in (
    demo,
    label,
    extract,
    convert,
    recommend,
    settings,
    train,
    tune,
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
    plugin,
    help,
):
    name = command.__name__.rsplit(".", 1)[-1]
    kind = plugin.ListingCommand if command in (train, tune, learn_curve) else defaults.Command
    app.command(name.replace("_", "-"), cls=kind)(getattr(command, name))

BUG = 101


def _version(wanted: bool) -> None:
    if wanted:
        from kptool.base.version import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print informational messages too.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Detect keypoints in images with CNNs: extract, train, evaluate, predict, benchmark.

    --verbose, --quiet and --debug may stand anywhere on the line.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit the process with its code. Without `arguments`, the process is taken to be ours."""
    if arguments is None:
        _spare_modules()
    arguments = [usage.at_home(a) for a in (sys.argv[1:] if arguments is None else arguments)]
    arguments, flags = usage.without_flags(arguments)
    debug = "debug" in flags
    try:
        if {"verbose", "quiet"} <= flags:
            raise ConfigError("--verbose and --quiet contradict each other; leave one out")
        print_messages(verbose="verbose" in flags, quiet="quiet" in flags or rank() > 0)
        with raised():
            code = app(arguments, prog_name="kptool", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except KptoolError as error:
        _show(error, debug)
        sys.exit(2)
    except Stopped as stop:
        complain(f"kptool: stopped by {signal.Signals(stop.number).name}" + (f"; {stop.hint}" if stop.hint else ""))
        sys.exit(128 + stop.number)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone; Python would print an error when flushing at exit
        sys.exit(141)
    except Exception as error:
        sys.exit(_refused(error, debug, arguments))


def _spare_modules() -> None:
    """Seldom search all objects for garbage, and not at exit: most belong to imported modules, which stay until then.

    Young objects are searched as often as ever. Importing torch takes 0.3 s less, and so does leaving it behind.
    """
    gc.set_threshold(*gc.get_threshold()[:2], 1000)
    atexit.register(gc.freeze)


def _refused(error: Exception, debug: bool, arguments: list[str]) -> int:
    """Report an error that is not a KptoolError; returns the exit code."""
    if usage.is_wrong(error):
        commands = [command.name or "" for command in app.registered_commands]
        complain(str(error) if usage.asks_for_help(error) else f"kptool: {usage.sentence(error, arguments, commands)}")
        return 2
    refusal = _foreseen(error)
    if refusal is not None:
        refusal.__cause__ = error
        _show(refusal, debug)
        return 2
    _show(error, debug)
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":  # optional, as prediction works without it
        complain("kptool: this needs torch: pip install torch")
        return 2
    complain("kptool: this is a bug in kptool; run again with --debug and report the output")
    return BUG


def _foreseen(error: Exception) -> DataError | None:
    """A DataError for failures of the file system and file names that are not UTF-8; None for bugs."""
    if isinstance(error, OSError) and error.filename is not None and error.errno != errno.ENOENT:
        return DataError(f"{error.filename}: {error.strerror}; fix this, or use another path")
    if isinstance(error, UnicodeEncodeError) and printable(error.object) != error.object:
        return DataError(f"the name {error.object[:200]!r} is not UTF-8, which is required here; rename it")
    return None


def _show(error: Exception, debug: bool) -> None:
    """Print an error as one line, after its traceback if `debug`."""
    if debug:
        traceback.print_exception(error)
    text = " ".join(str(error).split())
    complain(f"kptool: {text}" if isinstance(error, KptoolError) else f"kptool: {type(error).__name__}: {text}")
