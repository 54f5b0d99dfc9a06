"""The version of a workflow: a digest of its code and of the sources that it can reach in its own package.

What is reachable is read from the import statements of those sources, not from what happens to be loaded, so that
every process comes to the same version.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_FRESH_S = 5.0
"""Sources are read again after so long."""


def version_of(function: Callable[..., Any], code: types.CodeType) -> str:
    """16 hex digits: of the code object, and of the files of its own package that its module imports, however far.

    In a notebook, where the module has no file, of the code object alone.
    """
    digest = hashlib.sha256()
    _digest_code(digest, code)
    digest.update(_sources(function.__module__, time.monotonic() // _FRESH_S))
    return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=256)
def _sources(module: str, _moment: float) -> bytes:
    """The digest of the sources that a module reaches. Read once for all workflows that are asked about together."""
    digest = hashlib.sha256()
    for name, file in sorted(_reachable(module).items()):
        digest.update(name.encode() + b"\0" + _content(file))
    return digest.digest()


def _digest_code(digest: Any, code: types.CodeType) -> None:
    digest.update(repr((code.co_name, code.co_names, code.co_varnames[: code.co_argcount])).encode() + code.co_code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _digest_code(digest, constant)
        else:
            digest.update(repr(constant).encode())


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        # a file that is gone: the code object alone has to tell
        return b""


def _reachable(module: str) -> dict[str, Path]:
    """The files of the package that `module` belongs to which it reaches by its imports, itself included."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return {}
    seen = {module: Path(file)}
    top = module.partition(".")[0]
    if module in ("__main__", "__mp_main__", top) or top == "vbl":
        # a script, a single module; and our own shipped workflows, whose engine is not their code
        return {"": Path(file)}
    root = (
        Path(file).parents[module.count(".")]
        if not file.endswith("__init__.py")
        else Path(file).parents[module.count(".") + 1]
    )
    todo = [module]
    while todo:
        current = todo.pop()
        for name in _imports(seen[current], current, top):
            found = _file_of(root, name)
            if found is not None and name not in seen:
                seen[name] = found
                todo.append(name)
    return seen


def _file_of(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imports(file: Path, module: str, top: str) -> Iterator[str]:
    """The modules of package `top` that a file imports, wherever in it; names imported from one may be modules too."""
    for name, level in _statements(str(file), _content(file)):
        if level:
            parts = module.split(".")
            package = parts if file.name == "__init__.py" else parts[:-1]
            name = ".".join([*package[: len(package) - level + 1], *([name] if name else [])])
        if name.partition(".")[0] == top:
            yield name


@functools.lru_cache(maxsize=512)
def _statements(file: str, content: bytes) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    try:
        tree = ast.parse(content)
    except SyntaxError:
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            found.append((base, node.level))
            found += [(f"{base}.{alias.name}" if base else alias.name, node.level) for alias in node.names]
    return found
