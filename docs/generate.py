"""Writes the reference pages from the code, so that they say what the code does.

    python docs/generate.py            write docs/reference/*.md
    python docs/generate.py --check    write nothing; show what differs and exit 1 if anything does

One function makes one page and returns its text. Nothing here depends on the machine, the time or the terminal.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import inspect
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_overloads

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402
from pydantic_core import PydanticUndefined  # noqa: E402

import vbl  # noqa: E402
from vbl import agents, errors, testing  # noqa: E402
from vbl.history import events  # noqa: E402

NOTE = "<!-- Written by docs/generate.py from the code; edit the code, then run it. -->"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A Markdown table; an empty list where there are no rows."""
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *body, ""] if body else []


def ticks(text: str) -> str:
    return f"`{text}`"


# Events


GROUPS = {
    "Run": ("RUN_", "CANCEL_REQUESTED"),
    "Step": ("STEP_", "RETRY_"),
    "Checkpoint": ("CHECKPOINT_",),
    "Gate": ("APPROVAL_", "DECISION_"),
    "Waiting": ("TIMER_", "SIGNAL_", "WAIT_"),
    "Child": ("CHILD_",),
    "Schedule": ("SCHEDULE_",),
    "State": ("VERSION_", "STATE_"),
}


def events_page() -> str:
    out = [
        NOTE,
        "",
        "# Events",
        "",
        "The history of a run is a sequence of these facts, numbered from 1 without a gap. Each event has `run_id`,",
        "`seq`, `type`, `at` (microseconds since 1970 UTC), a payload with the fields below, and the digest of the",
        "event before it. Field names are stable; `v` is the version of the payload's form, and older forms are",
        "brought up to date when they are read.",
        "",
    ]
    left = dict(events.PAYLOADS)
    for group, prefixes in GROUPS.items():
        out += [f"## {group}", ""]
        for name in [name for name in left if name.startswith(prefixes)]:
            out += event_section(name, left.pop(name))
    if left:
        raise SystemExit(f"docs/generate.py: no group for {', '.join(left)}")
    out += ["## The error in a payload", "", one_line(inspect.getdoc(events.Error)), ""]
    return finish([*out, *fields_table(events.Error.model_fields)])


def event_section(name: str, payload: type[events.Payload]) -> list[str]:
    said = re.split(r"\n(?=Written by|Effect:|Rejected when)", inspect.getdoc(payload) or "")
    if len(said) != 3:
        raise SystemExit(f"docs/generate.py: the docstring of {payload.__name__} has not its three lines")
    written, effect, rejected = (one_line(line) for line in said)
    return [
        f"### {name}",
        "",
        f"- **Written by** {written.removeprefix('Written by ')}",
        f"- **Effect:** {effect.removeprefix('Effect: ')}",
        f"- **Rejected when** {rejected.removeprefix('Rejected when ')}",
        "",
        *(fields_table({key: field for key, field in payload.model_fields.items() if key != "v"})),
    ]


def fields_table(fields: dict[str, FieldInfo]) -> list[str]:
    return table(
        ("field", "type", "default"),
        [(ticks(name), ticks(annotation(field.annotation)), default(field)) for name, field in fields.items()],
    )


def annotation(what: Any) -> str:
    text = what.__name__ if isinstance(what, type) and not hasattr(what, "__args__") else str(what)
    return re.sub(r"\b(typing|vbl(\.\w+)*)\.", "", text)


def default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return ticks(repr(field.default_factory()))
    return "required" if field.default is PydanticUndefined else ticks(repr(field.default))


def one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def first_paragraph(text: str | None) -> str:
    return one_line((text or "").split("\n\n")[0])


# Errors


EXIT_CODES = {
    0: "fine",
    1: "an error",
    2: "wrong use",
    3: "not found",
    4: "a conflict: blocked, already decided, a key taken by another input",
    5: "the run failed",
    6: "the run waits for a person",
    7: "a budget is spent (not in use yet)",
    8: "the run was cancelled",
    9: "another supervisor holds the file",
    10: "the file, the disk, the lock",
    130: "interrupted by Ctrl-C",
}


def errors_page() -> str:
    tree = (inspect.getdoc(errors) or "").split("\n\n")[1]
    classes = [
        value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.VblError)
    ]
    raised = places_of_raising({cls.__name__: cls.code for cls in classes})
    out = [
        NOTE,
        "",
        "# Errors",
        "",
        "Every error that vbl raises has a `code` that stays the same, a `message` that says what is, and a `hint`",
        "that says what to type next. With `--json` the terminal prints it as",
        '`{"error": {"code": …, "message": …, "hint": …}}` and exits with the code of its class. In the tables below,',
        "`…` stands for what the message names.",
        "",
        "```text",
        *(line.removeprefix("    ").rstrip() for line in tree.splitlines()),
        "```",
        "",
    ]
    for cls in classes:
        out += [
            f"## {cls.__name__}",
            "",
            one_line(inspect.getdoc(cls)),
            "",
            f"Code {ticks(cls.code)}, exit code {cls.exit_code}.",
            "",
            *table(("code", "message", "what to do"), sorted(raised.get(cls.__name__, set()))),
        ]
    out += ["## Parked", "", one_line(inspect.getdoc(errors.Parked)), ""]
    out += ["## Exit codes", "", *table(("code", "means"), [(str(code), text) for code, text in EXIT_CODES.items()])]
    return finish(out)


def places_of_raising(classes: dict[str, str]) -> dict[str, set[tuple[str, str, str]]]:
    """For each class the code, the message and the hint of every place that raises it in so many words."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    for path in sorted((ROOT / "vbl").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or len(node.args) > 2:
                continue
            name = ast.unparse(node.func).removeprefix("errors.")
            if name not in classes:
                continue
            named = {given.arg: given.value for given in node.keywords}
            message, hint = [*(escaped(words(arg)) for arg in node.args), "", ""][:2]
            code = words(named["code"]) if "code" in named else classes[name]
            if re.search(r"\w", message.replace("…", "")) and "…" not in code:
                found.setdefault(name, set()).add((ticks(code), message, hint))
    return found


def words(node: ast.expr) -> str:
    """The text of a string expression; what is filled in becomes `…`."""
    match node:
        case ast.Constant(value=str(text)):
            said = text
        case ast.JoinedStr(values=parts):
            said = "".join(words(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            said = words(left) + words(right)
        case _:
            said = "…"
    return re.sub("……+", "…", said)


def escaped(text: str) -> str:
    return re.sub(r"([<*_\[\]`])", r"\\\1", one_line(text))


# Commands


def cli_page() -> str:
    from vbl.cli import main as module

    group = next(value for value in vars(module).values() if isinstance(value, click.Group))
    out = [
        NOTE,
        "",
        "# Commands",
        "",
        "Data goes to standard output, everything else to standard error. `RUN` is a run's id, a unique prefix of one,",
        "`@last` or `@failed`; `TARGET` is `file.py:workflow` or `package.module:workflow`. The",
        "[exit codes](errors.md#exit-codes) are the same for all commands.",
        "",
        'Shell completion: put `eval "$(_VBL_COMPLETE=bash_source vbl)"` into `~/.bashrc`; `zsh_source` and',
        "`fish_source` are for those shells.",
        "",
    ]
    with click.Context(group, info_name="vbl") as context:
        shared = {option.name for option in options_of(group, context)}
        out += ["## Options of every command", "", *options_table(options_of(group, context), context)]
        for name in sorted(group.list_commands(context)):
            command = group.get_command(context, name)
            if command is not None and not command.hidden:
                out += command_section(command, name, context, shared)
    return finish(out)


def command_section(command: click.Command, name: str, above: click.Context, shared: set[str | None]) -> list[str]:
    """A command, and those that it has in turn."""
    with click.Context(command, info_name=name, parent=above) as context:
        own = [option for option in options_of(command, context) if option.name not in shared]
        path = context.command_path
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        out = [f"## {path}", "", "```text", usage, "```", "", *prose(command.help or "")]
        out += options_table(own, context) if own else []
        for inner in sorted(command.commands) if isinstance(command, click.Group) else ():
            out += command_section(command.commands[inner], inner, context, shared)
    return out


def options_of(command: click.Command, context: click.Context) -> list[click.Option]:
    return [param for param in command.get_params(context) if isinstance(param, click.Option) and not param.hidden]


def options_table(options: list[click.Option], context: click.Context) -> list[str]:
    return table(("option", "means"), [option_row(option, context) for option in options])


def option_row(option: click.Option, context: click.Context) -> tuple[str, str]:
    record = option.get_help_record(context)
    if record is None:
        raise SystemExit(f"docs/generate.py: {option.name} of {context.command_path} has no help")
    return ticks(record[0]), one_line(record[1]).replace("<", "\\<")


def prose(text: str) -> list[str]:
    """A help text as Markdown: paragraphs that click keeps as they are (after a backspace) become code blocks."""
    out: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\f")[0].split("\n\n"):
        if paragraph.startswith("\b\n"):
            out += ["```text", *(line.rstrip() for line in paragraph[2:].splitlines()), "```", ""]
        elif paragraph.strip():
            out += [one_line(paragraph), ""]
    return out


# Python


def python_page() -> str:
    out = [
        NOTE,
        "",
        "# Python",
        "",
        "All of these are names of the module `vbl`. `import vbl` loads none of them: each is loaded at its first use.",
        "The errors have [a page of their own](errors.md).",
        "",
    ]
    for name in sorted(vbl.__all__, key=str.lower):
        out += section("vbl", name, getattr(vbl, name))
    out += ["## vbl.testing", "", *doc(testing)]
    for name in testing.__all__:
        out += section("vbl.testing", name, getattr(testing, name))
    out += ["## vbl.agents", "", *doc(agents)]
    for name in agents.__all__:
        out += section("vbl.agents", name, getattr(agents, name))
    return finish(out)


def section(module: str, name: str, value: Any) -> list[str]:
    if not inspect.isclass(value):
        return function_section(f"{module}.{name}", value)
    if issubclass(value, errors.VblError):
        return []
    return class_section(module, name, value)


def function_section(title: str, function: Callable[..., Any], level: int = 2) -> list[str]:
    return [f"{'#' * level} {title}", "", *signature_block(title.removeprefix("vbl."), function), *doc(function)]


def signature_block(name: str, function: Callable[..., Any]) -> list[str]:
    forms = get_overloads(function) if inspect.isfunction(function) else []
    written = "\n".join(signature_text(name, form) for form in forms or [function])
    return ["```text", written, "```", ""]


def signature_text(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parameters = [plain_default(one) for one in signature.parameters.values() if one.name not in ("self", "/")]
    text = f"{name}{annotations(str(signature.replace(parameters=parameters)))}"
    if len(text) > 100:
        inner, _, result = text.partition("(")[2].rpartition(")")
        text = "\n".join([f"{name}(", *(f"    {part}," for part in split_outside_brackets(inner)), f"){result}"])
    return text


class Shown:
    """A default value that prints as the text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def plain_default(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter with a default that prints the same in every process."""
    if parameter.default is inspect.Parameter.empty:
        return parameter
    default = re.sub(r"<(\w+\.\w+): [^>]+>", r"\1", repr(parameter.default)).replace("'", '"')
    return parameter.replace(default=Shown("…" if default.startswith("<") else default))


def annotations(text: str) -> str:
    return re.sub(r"\b(typing|collections\.abc|pathlib|vbl(\.\w+)+)\.", "", text).replace("'", "")


def split_outside_brackets(text: str) -> list[str]:
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def class_section(module: str, name: str, cls: type) -> list[str]:
    heading = [f"## {module}.{name}", ""]
    if issubclass(cls, Enum):
        return [*heading, *doc(cls), ", ".join(ticks(str(member)) for member in cls), ""]
    own_constructor = dataclasses.is_dataclass(cls) or (module != "vbl" and "__init__" in vars(cls))
    out = [*heading, *(signature_block(name, cls) if own_constructor else []), *doc(cls)]
    for attribute, value in public_members(cls):
        if isinstance(value, property):
            out += [f"### {name}.{attribute}", "", *doc(value)]
        elif inspect.isfunction(value):
            out += function_section(f"{name}.{attribute}", value, 3)
    return out


def public_members(cls: type) -> Iterator[tuple[str, Any]]:
    for attribute, value in sorted(vars(cls).items()):
        if not attribute.startswith("_") and (isinstance(value, property) or inspect.isfunction(value)):
            yield attribute, value


def doc(what: Any) -> list[str]:
    """A docstring as Markdown; indented parts become code blocks."""
    out: list[str] = []
    for paragraph in (inspect.getdoc(what) or "").split("\n\n"):
        if paragraph.startswith("    "):
            out += ["```text", *textwrap.dedent(paragraph).splitlines(), "```", ""]
        elif paragraph.strip():
            out += [one_line(paragraph).replace("<", "\\<"), ""]
    return out


# Views


VIEWS = {
    "vbl_runs": "One row a run.",
    "vbl_events": "One row an event. `id` counts through the whole file and so serves as a cursor.",
    "vbl_steps": "One row an attempt of a step.",
    "vbl_gates": "One row a question to people; `status` is open, granted, denied, expired or closed.",
    "vbl_costs": "One row a call of a model, as the steps that made them recorded it.",
}


def views_page() -> str:
    out = [
        NOTE,
        "",
        "# Views",
        "",
        "What a program may rely on when it reads the file with `vbl sql` or `client.sql()`. Columns may be added,",
        "none goes. Instants are integers: microseconds since 1970 UTC. Payloads are JSON, readable by `json_extract`,",
        "with the field names of [the events](events.md). Tables that are not views are vbl's own and change between",
        "versions.",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vbl.db"
        with vbl.open(path), vbl.connect(path) as client:
            for view, means in VIEWS.items():
                _, rows = client.sql("select name, type from pragma_table_info(?)", (view,))
                if not rows:
                    raise SystemExit(f"docs/generate.py: there is no view {view}")
                out += [
                    f"## {view}",
                    "",
                    means,
                    "",
                    *table(("column", "type"), [(ticks(n), t.lower()) for n, t in rows]),
                ]
            _, found = client.sql("select name from sqlite_schema where type = 'view' and name like 'vbl%'")
    if {name for (name,) in found} != set(VIEWS):
        raise SystemExit(f"docs/generate.py: views without a line here: {sorted({n for (n,) in found} - set(VIEWS))}")
    return finish(out)


def finish(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "cli": cli_page,
    "python": python_page,
    "events": events_page,
    "errors": errors_page,
    "views": views_page,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the reference pages from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing, show what differs")
    parser.add_argument("page", nargs="*", help=f"only these: {', '.join(PAGES)}")
    asked = parser.parse_args()
    stale = False
    for name in asked.page or PAGES:
        path = ROOT / "docs" / "reference" / f"{name}.md"
        wanted = PAGES[name]()
        present = path.read_text("utf-8") if path.exists() else ""
        if asked.check:
            difference = difflib.unified_diff(
                present.splitlines(), wanted.splitlines(), str(path.relative_to(ROOT)), "the code", lineterm=""
            )
            shown = "\n".join(difference)
            if shown:
                stale = True
                print(shown)
        elif present != wanted:
            path.write_text(wanted, "utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    if stale:
        print("The reference is not what the code says. Run: python docs/generate.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
