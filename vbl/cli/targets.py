"""TARGET: `file.py:workflow`, `package.module:workflow`, or without a name all workflows of the file.

Imports the user's code as Python would, and tells apart: a target that is not there, one that fails to import (with
its own traceback, none of ours), and a workflow that it does not have. Knows nothing of the engine: whoever calls
says what a workflow is.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TypeVar

from vbl.errors import NotFound, UsageError, VblError

W = TypeVar("W")


def workflows(target: str, as_workflow: Callable[[object], W | None]) -> list[W]:
    """Import the target and return the workflow that it names, or all that its module has.

    Raises UsageError for a malformed target, NotFound for a file, module or workflow that is not there, VblError
    (`target_failed`) with the traceback where the import raises.
    """
    place, name = split(target)
    module = _file(Path(place).expanduser()) if _is_file(place) else _dotted(place)
    found = {key: w for key, value in vars(module).items() if (w := as_workflow(value)) is not None}
    if name is None:
        unique = {id(workflow): workflow for workflow in found.values()}
        if not unique:
            raise NotFound(f"{place} has no workflow", "Put @vbl.workflow over a function of it")
        return list(unique.values())
    if name not in found:
        has = ", ".join(found) or "none"
        other = " (it is no workflow: put @vbl.workflow over it)" if hasattr(module, name) else ""
        raise NotFound(f"{place} has no workflow {name!r}{other}; it has: {has}", _first(place, list(found)))
    return [found[name]]


def split(target: str) -> tuple[str, str | None]:
    """The place and the name of a target."""
    place, colon, name = target.rpartition(":")
    if not colon or not re.fullmatch(r"[^\W\d]\w*", name):
        place, name = target, ""
    if not place or (":" in place and not _is_file(place)) or target.endswith(":"):
        raise UsageError(f"{target!r} is no target", "Write file.py:workflow or package.module:workflow")
    return place, name or None


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or "\\" in place


def _first(place: str, names: list[str]) -> str:
    return f"For example {place}:{names[0]}" if names else ""


def _file(path: Path) -> ModuleType:
    """Import a file: as part of its package if it lies in one, else by its own name, its folder on the path."""
    if not path.is_file():
        near = sorted(file.name for file in path.parent.glob("*.py"))[:5] if path.parent.is_dir() else []
        raise NotFound(f"there is no file {path}", f"In that folder: {', '.join(near)}" if near else "Check the path")
    path = path.resolve()
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    name = ".".join(parts if path.name != "__init__.py" else parts[:-1])
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if len(parts) > 1:
        return _import(lambda: importlib.import_module(name), str(path))
    if loaded is not None or name in sys.stdlib_module_names or not name.isidentifier():
        name = f"vbl_target_{re.sub(r'[^0-9a-zA-Z_]', '_', name)}"
    return _import(lambda: _execute(name, path), str(path))


def _execute(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported as a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _dotted(name: str) -> ModuleType:
    """Import a module by name, with the current folder on the path as `python -m` has it."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(
            f"{name!r} is neither a file nor a module", "Write file.py:workflow or package.module:workflow"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return _import(lambda: importlib.import_module(name), name)
    except VblError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and missing.name and f"{name}.".startswith(f"{missing.name}."):
            hint = "Name the file instead (path/file.py:workflow), or go to the folder that holds the package"
            raise NotFound(f"there is no module {missing.name!r}", hint) from None
        raise


def _import(load: Callable[[], ModuleType], place: str) -> ModuleType:
    try:
        return load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may raise anything, SystemExit included
        text = "".join(traceback.format_exception(type(error), error, _theirs(error.__traceback__))).rstrip()
        raise VblError(
            f"{place} failed to import\n{text}", "Mend it, then type the same again", code="target_failed"
        ) from error


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is the user's on."""
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_ours(filename: str) -> bool:
    return filename == __file__ or filename.startswith("<frozen importlib") or filename == importlib.__file__
