"""The house keeps its order: which room may import which, what may be called what, and what is loaded when.

The table of imports here is the one that docs/contributing.md shows; a new room needs a line in both.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "vbl"

GROUND = {"ground"}
HISTORY = GROUND | {"history"}
STORE = HISTORY | {"store"}
DRAWING = HISTORY | {"drawing"}
CLIENT = STORE | {"client"} | DRAWING
ENGINE = CLIENT | {"engine"}
FRONT = ENGINE | {"front door"}
MAY_IMPORT = {
    "ground": GROUND,
    "history": HISTORY,
    "store": STORE,
    "drawing": DRAWING,
    "client": CLIENT,
    "engine": ENGINE,
    "agents": FRONT | {"agents"},
    "notifier": FRONT | {"notifier"},
    "ext": FRONT | {"agents", "ext"},
    "testing": FRONT | {"testing"},
    "demo": FRONT | {"agents", "demo"},
    "bench": FRONT | {"bench"},
    "cli": CLIENT | {"cli"},
    "web": CLIENT | {"web"},
    "front door": ENGINE,
}
COMMANDS = {
    "vbl.cli.run": {"engine"},
    "vbl.cli.up": {"engine", "notifier", "web"},
    "vbl.cli.ui": {"web"},
    "vbl.cli.demo": {"engine", "agents", "demo"},
    "vbl.cli.stage": {"demo"},
    "vbl.cli.bench": {"bench"},
}
"""What these commands may import besides: they run a supervisor, or something that does."""
ANNOTATIONS = {"client": {"engine"}}
"""What a room may name in annotations alone, under `if TYPE_CHECKING`: nothing of it is loaded."""

SAME_ROOM = dict.fromkeys(
    (
        "access", "decisions", "documents", "finding", "given", "handle", "links", "notebook", "schedules", "starting",
        "tail", "watching",
    ),
    "client",
)  # fmt: skip
GROUND_MODULES = {"errors", "clock", "ids", "config"}
BANNED_NAMES = {"utils", "helpers", "common", "misc", "base", "manager", "types"}


def modules() -> list[Path]:
    found = sorted(path for path in PACKAGE.rglob("*.py"))
    assert found, "no module found: this test would pass on an empty house"
    return found


def dotted(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def room(module: str) -> str:
    """`vbl.store.sqlite` lives in `store`; `vbl.errors` on the ground; `vbl` itself is the front door."""
    parts = module.split(".")
    if len(parts) == 1:
        return "front door"
    if parts[1] == "__main__":
        return "cli"
    return "ground" if parts[1] in GROUND_MODULES else SAME_ROOM.get(parts[1], parts[1])


@functools.cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Every module that the file imports, wherever in it the import stands, with its line."""
    return list(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    package = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                source = module or ""
                if level:
                    above = package.split(".")[: len(package.split(".")) - level + 1]
                    source = ".".join([*above, *([module] if module else [])])
                for alias in names:
                    inner = f"{source}.{alias.name}"
                    yield (inner if is_module(inner) else source), node.lineno
            case ast.Call(func=ast.Name(id="import_module" | "__import__"), args=[ast.Constant(value=str(name)), *_]):
                yield name, node.lineno
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name, node.lineno
            case _:
                pass


def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return name.startswith("vbl") and (place.with_suffix(".py").exists() or (place / "__init__.py").exists())


def test_every_room_is_in_the_table() -> None:
    assert {room(dotted(path)) for path in modules()} <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_point_one_way(path: Path) -> None:
    here = room(dotted(path))
    allowed = MAY_IMPORT[here] | COMMANDS.get(dotted(path), set())
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {here} may not import {name}"
        for name, line in imports(path)
        if name.split(".")[0] == "vbl"
        and room(name) not in allowed
        and not (room(name) in ANNOTATIONS.get(here, ()) and line in annotation_lines(path))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Wherever in them the imports stand; two may name each other in annotations."""
    left = {
        dotted(path): {name for name, line in imports(path) if is_module(name) and line not in annotation_lines(path)}
        - {dotted(path)}
        for path in modules()
    }

    def tied() -> set[str]:
        """Without those who import nobody, and those whom nobody imports."""
        imported = set[str]().union(*left.values())
        return {module for module, needed in left.items() if needed and module in imported}

    while len(within := tied()) < len(left):
        left = {module: left[module] & within for module in within}
    assert not left, "\n".join(f"{module} -> {', '.join(sorted(needed))}" for module, needed in sorted(left.items()))


@functools.cache
def annotation_lines(path: Path) -> set[int]:
    """The lines that stand under `if TYPE_CHECKING:`."""
    return {
        line
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in node.body
        for line in range(inner.lineno, (inner.end_lineno or inner.lineno) + 1)
    }


def test_the_table_names_commands_that_exist() -> None:
    assert {name for name in COMMANDS if name not in {dotted(path) for path in modules()}} == set()


LIVES_IN = {
    "apsw": r"vbl\.store\.(sqlite|workbench)|vbl\.bench\.floor",  # the last is what the others are measured against
    "psycopg": r"vbl\.store\.postgres",
    "httpx": r"vbl\.(agents|notifier)(\..+)?",
    "click": r"vbl\.cli(\..+)?",
    "cronsim": r"vbl\.history\.planning",
    "IPython": r"vbl\.notebook",
    "markdown_it": r"vbl\.drawing\.prose",
    "rich": r"vbl\.cli(\..+)?",
    "starlette": r"vbl\.web(\..+)?",
    "uvicorn": r"vbl\.web(\..+)?",
}


@pytest.mark.parametrize("library", sorted(LIVES_IN))
def test_a_library_is_imported_in_its_own_place_only(library: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules()
        for name, line in imports(path)
        if name.split(".")[0] == library and not re.fullmatch(LIVES_IN[library], dotted(path))
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_that_reads_a_file_can_run_what_it_reads() -> None:
    wrong: list[str] = []
    for path in modules():
        if room(dotted(path)) not in {"ground", "history", "store", "client"}:
            continue
        wrong += [f"{path}:{line} {name}" for name, line in imports(path) if name in {"pickle", "marshal", "shelve"}]
        wrong += [
            f"{path}:{node.lineno} {node.func.id}()"
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}
        ]
    assert not wrong, "\n".join(wrong)


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = {part for path in modules() for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert not named & BANNED_NAMES


def test_every_module_says_what_lives_in_it() -> None:
    silent = [dotted(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not silent


def test_the_front_door_holds_no_logic() -> None:
    """Only the lazy look-up of names may be a function there."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert functions <= {"__getattr__", "__dir__"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def test_every_public_name_is_there_and_documented() -> None:
    vbl = importlib.import_module("vbl")
    pages = "".join((ROOT / f"docs/reference/{page}.md").read_text("utf-8") for page in ("python", "errors"))
    assert len(vbl.__all__) > 20
    for name in vbl.__all__:
        value = getattr(vbl, name)
        assert name in dir(vbl)
        assert not callable(value) or inspect.getdoc(value), f"vbl.{name} has no docstring"
        assert re.search(rf"^## (vbl\.)?{re.escape(name)}$", pages, re.MULTILINE), f"vbl.{name} is on no reference page"


def test_public_names_that_do_not_exist_say_so() -> None:
    vbl = importlib.import_module("vbl")
    with pytest.raises(AttributeError, match="no_such_name"):
        vbl.no_such_name  # noqa: B018


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after running `code`."""
    script = f"import sys, json\n{code}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COV_", "COVERAGE"))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


HELP = """
from vbl.cli.main import main
try:
    sys.argv = ["vbl", "--help"]
    main()
except SystemExit as left:
    assert left.code in (0, None), left.code
"""


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import vbl", ("httpx", "rich", "click", "vbl.engine", "vbl.agents", "vbl.cli")),
        ("import vbl; vbl.connect", ("httpx", "rich", "click", "vbl.engine")),
        (HELP, ("httpx", "rich", "apsw", "pydantic", "vbl.engine", "vbl.agents")),
    ],
    ids=["import vbl", "vbl.connect", "vbl --help"],
)
def test_nobody_pays_for_what_he_does_not_use(code: str, unwanted: tuple[str, ...]) -> None:
    loaded = loaded_by(code)
    assert not {name for name in loaded if name in unwanted or name.startswith(tuple(f"{u}." for u in unwanted))}


def test_laziness_can_be_seen_to_fail() -> None:
    assert {"vbl.engine", "httpx"} <= loaded_by("import vbl.engine.runtime, httpx")


def test_a_client_reads_a_file_without_the_engine(tmp_path: Path) -> None:
    code = f"import vbl\nwith vbl.connect({str(tmp_path / 'a.db')!r}) as client: list(client.runs())"
    assert not {name for name in loaded_by(code) if name.startswith("vbl.engine") or name in {"httpx", "rich", "click"}}


def test_who_lists_runs_pays_for_no_page(tmp_path: Path) -> None:
    """Neither for what draws, nor for the server of the pages."""
    path = str(tmp_path / "a.db")
    made = f"import vbl\nwith vbl.connect({path!r}) as client: client.start('nothing')\n"
    listed = HELP.replace('"--help"', f'"ls", "--db", {path!r}')
    loaded = loaded_by(made + listed)
    assert "vbl.cli.ls" in loaded
    assert not {n for n in loaded if n.startswith(("vbl.drawing", "vbl.web", "vbl.engine", "starlette", "uvicorn"))}


def test_the_top_level_shows_nothing_more_than_it_should() -> None:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    shown = {name.split("/")[0] for name in done.stdout.split("\0") if name and not name.startswith(".")}
    expected = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "vbl", "tests", "examples", "docs"}
    assert shown <= expected


def test_readme_gives_both_commands() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    commands = [line for line in lines if line.startswith("python3 -m venv ")]
    assert len(commands) == 2
    assert commands[0].endswith("vbl demo")
    assert commands[1].endswith("pytest -n auto")


def test_version_is_said_once() -> None:
    vbl = importlib.import_module("vbl")
    assert vbl.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
