"""The command line's front: which commands there are, and how every one of them ends.

A command's module is imported when the command is used, not before: `vbl --help` costs little more than click. Here
alone errors turn into words on stderr and an exit code. What a command does is in its own module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click

from vbl.cli.options import common
from vbl.errors import VblError


class Entry(NamedTuple):
    """A command before it is loaded: where it is, and what `vbl --help` says of it."""

    module: str
    summary: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Start": {
        "demo": Entry("demo", "Watch a workflow survive being killed, twice."),
        "init": Entry("init", "Write a small workflow to begin with."),
        "run": Entry("run", "Start a run, watch it, and print its output."),
        "up": Entry("up", "Supervise the file: move its runs until stopped."),
    },
    "Look": {
        "top": Entry("top", "Watch the file: its runs, queues, gates and throughput."),
        "ls": Entry("ls", "List runs, the newest first."),
        "show": Entry("show", "Show a run: its state, and its timeline."),
        "why": Entry("why", "Say what a run waits for."),
        "events": Entry("events", "Print the history of a run."),
        "tail": Entry("tail", "Print the latest events, and those to come."),
        "state": Entry("state", "Print the accumulated state of a run."),
        "diff": Entry("diff", "Compare two runs: what they did, and with what."),
        "graph": Entry("graph", "Draw what followed from what, in a run or a workflow."),
        "ui": Entry("ui", "Show the file in the browser."),
    },
    "Decide": {
        "inbox": Entry("inbox", "List what waits for a person."),
        "gate": Entry("inbox", "Show one question in full."),
        "approve": Entry("decide", "Approve what a gate asks."),
        "deny": Entry("decide", "Deny what a gate asks."),
        "resolve": Entry("resolve", "Settle a step whose outcome nobody knows."),
        "signal": Entry("decide", "Send a message to a run."),
        "audit": Entry("audit", "Tell who decided what, and on which information."),
    },
    "Steer": {
        "cancel": Entry("control", "Cancel a run."),
        "pause": Entry("control", "Start no more steps of a run."),
        "unpause": Entry("control", "Let a paused run go on."),
        "retry": Entry("control", "Open a failed run again, from its failed step."),
        "schedules": Entry("schedules", "List schedules, and steer them."),
        "queues": Entry("queues", "Show queues: their limits, and who waits."),
    },
    "The file": {
        "doctor": Entry("doctor", "Check the file, and say what to do."),
        "sql": Entry("sql", "Query the file; read-only."),
        "bench": Entry("bench", "Measure vbl on this machine."),
    },
}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}
WIDEST = max(len(name) for name in COMMANDS)


class Lazy(click.Group):
    """A group whose commands are imported when they are asked for, and listed without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"vbl.cli.{entry.module}")
        command: click.Command = getattr(module, cmd_name, None) or module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown one, name the nearest."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1)
            raise click.UsageError(f"no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, without importing one."""
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{WIDEST}}", entry.summary) for name, entry in section.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """End with what the names stand for, and the exit codes."""
        with formatter.section("Names"):
            formatter.write_dl(
                [
                    ("RUN", "an id, the unique beginning of one, @last or @failed"),
                    ("GATE", "an id, the unique beginning of one, or RUN:NAME"),
                    ("TARGET", "file.py:workflow or package.module:workflow"),
                    ("PATH", "--db, else $VBL_DB, else vbl.db in your data folder"),
                ]
            )
        with formatter.section("Exit codes"):
            formatter.write_text(
                "0 fine, 1 error, 2 usage, 3 not found, 4 conflict, 5 the run failed, 6 it waits for a person, "
                "8 cancelled, 9 another supervisor holds the file, 10 storage, 130 interrupted"
            )


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"vbl {sys.modules['vbl'].__version__}")  # said there alone; an import would point the wrong way
        ctx.exit()


@click.group(
    cls=Lazy,
    invoke_without_command=True,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@common
@click.pass_context
def cli(context: click.Context, **given: Any) -> None:
    """Durable workflows in one SQLite file: killed at any instant, they resume where they were.

    \b
    Example:
      vbl init && vbl run hello.py:hello

    Completion of commands, options and run ids, in ~/.bashrc (zsh_source and fish_source for the other shells):

    \b
      eval "$(_VBL_COMPLETE=bash_source vbl)"
    """
    context.obj = given
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    given = list(sys.argv[1:] if args is None else args)
    _stand_in_for_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a lone surrogate is no crash
    try:
        code = _invoke(given)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()
        code = 141
    sys.exit(code)


def _stand_in_for_closed_streams() -> None:
    """Let what the caller closed lead nowhere; else the next file that is opened gets its number, and the output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def _invoke(args: list[str]) -> int:
    """Run the command; every way in which it can end becomes an exit code here."""
    try:
        if asked := os.environ.get("_VBL_COMPLETE"):
            from click.shell_completion import shell_complete

            return shell_complete(cli, {}, "vbl", "_VBL_COMPLETE", asked)
        with cli.make_context("vbl", [*args]) as context:  # click eats what it is given
            cli.invoke(context)
        return 0
    except click.exceptions.Exit as left:
        return left.exit_code
    except VblError as error:
        _tell(args, error.as_dict())
        return error.exit_code
    except click.UsageError as error:
        named = next((arg for arg in args if arg in COMMANDS), "")  # click's parser knows no context
        path = error.ctx.command_path if error.ctx else f"vbl {named}".rstrip()
        _tell(args, {"code": "usage", "message": error.format_message(), "hint": f"{path} --help"})
        return 2
    except click.ClickException as error:
        _tell(args, {"code": "error", "message": error.format_message(), "hint": ""})
        return error.exit_code
    except (KeyboardInterrupt, EOFError, click.Abort):
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        if not wants_json(args):
            raise
        _tell(args, {"code": "internal", "message": f"{type(error).__name__}: {error}", "hint": "Please report it"})
        return 1


def wants_json(args: Sequence[str]) -> bool:
    """Whether --json was asked for, also where the command line could not be read to its end."""
    head = args[: args.index("--")] if "--" in args else args
    return "--json" in head


def _tell(args: list[str], error: dict[str, Any]) -> None:
    """Say an error on stderr, as words or as JSON."""
    from vbl.cli.terminal import say_error

    say_error(error, as_json=wants_json(args), args=args)


def _silence() -> None:
    """Nobody reads any more: let the interpreter's last flush go nowhere instead of complaining."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
