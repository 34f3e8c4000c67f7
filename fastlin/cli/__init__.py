"""The command ``fastlin``, with one file for each command; this one turns errors into exit codes.

Results go to standard output; progress, warnings and errors to standard error.
Exit code 0: success. 2: an error that the user can fix, as one line explains. 130: Ctrl-C. 143:
SIGTERM. Anything else is a defect of fastlin and shows its traceback.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Any, NoReturn

import click

from fastlin import __version__, interruption
from fastlin.cli.streams import say, steady_streams
from fastlin.errors import FastlinError

# Kept here, so that `fastlin --help` need not import the commands.
COMMANDS = {
    "train": "Train a model, show its losses, save it.",
    "predict": "Predict labels or probabilities with a saved model.",
    "evaluate": "Measure a saved model: accuracy, loss, confusion matrix.",
    "export": "Write a saved model as ONNX, for other programs.",
    "report": "Write the whole report: derivations, figures, tables.",
    "bench": "Time fastlin against other libraries, after checking both.",
    "selftest": "Check this installation on every backend.",
    "info": "Show versions, processor, backends and the data folder.",
    "data": "List, fetch and find the data sets.",
}
MISTAKE = 2


class CommandLine(click.Group):
    """Group that imports a command when it is called, and ends with one line after any error."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command `cmd_name`; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"fastlin.cli.{cmd_name}").command
        interruption.raise_from_now_on()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and flush standard output here, where errors can be handled."""
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:  # a script may have closed it: `fastlin ... >&-`
                sys.stdout.flush()
        except KeyboardInterrupt:
            raise click.Abort from None
        return result

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run, and leave the interpreter with the exit code."""
        with steady_streams(), warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]  # takes any arguments
            try:
                code = super().main(
                    *args, **{**extra, "prog_name": "fastlin", "standalone_mode": False}
                )
            except (click.Abort, KeyboardInterrupt):
                _leave_interrupted()
            except Exception as error:
                if interruption.received is not None:  # a half-imported module may raise anything
                    _leave_interrupted()
                if not isinstance(error, _MISTAKES):
                    raise
                say(f"error: {_explain(error)}")
                sys.exit(MISTAKE)
        sys.exit(code if isinstance(code, int) else 0)


_MISTAKES = (click.ClickException, FastlinError, OSError, MemoryError)


def _leave_interrupted() -> NoReturn:
    if sys.stderr is not None and sys.stderr.isatty():
        click.echo(err=True)  # the terminal shows ^C in this line
    say(interruption.word())
    sys.exit(interruption.exit_code())


EXAMPLES = """\b
Example:
  fastlin train --data digits --out model.safetensors
  fastlin evaluate model.safetensors --data digits

Each command explains itself: fastlin train --help
"""


# The help is passed as text, because there are no docstrings under `python -OO`.
@click.group(
    help="Train logistic and softmax regression on CPUs.",
    epilog=EXAMPLES,
    cls=CommandLine,
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="fastlin")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Show the help page if no command is given."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _explain(error: Exception) -> str:
    """Return what went wrong and, if the message does not say it, what to type."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.format_message()} See: {error.ctx.command_path} --help"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, MemoryError):
        return f"not enough memory ({error or 'allocation failed'}); take a smaller data set"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: '{error.filename}'" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _show_warning(message: Warning | str, *_: Any) -> None:
    say(f"warning: {message}")
