"""The version of a workflow: a digest of its code and of the sources that it can reach in its own package.

What is reachable is read from the import statements of those sources, not from what happens to be loaded, so that
every process comes to the same version.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast


def version_of(function: Callable[..., Any], code: types.CodeType) -> str:
    """16 hex digits: of the code object, and of the files of its own package that its module imports, however far.

    In a notebook, where the module has no file, of the code object alone.
    """
    digest = hashlib.sha256()
    _digest_code(digest, code)
    for name, file in sorted(_reachable(function.__module__).items()):
        digest.update(name.encode() + b"\0" + _source(file)[0])
    return digest.hexdigest()[:16]


def _digest_code(digest: Any, code: types.CodeType) -> None:
    digest.update(repr((code.co_name, code.co_names, code.co_varnames[: code.co_argcount])).encode() + code.co_code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _digest_code(digest, constant)
        elif isinstance(constant, frozenset):
            # its order differs between processes
            digest.update(repr(sorted(map(repr, cast("frozenset[object]", constant)))).encode())
        else:
            digest.update(repr(constant).encode())


_Imports = list[tuple[str, int]]


def _source(file: Path) -> tuple[bytes, _Imports]:
    """The digest of a file, and what it imports."""
    try:
        found = file.stat()
        return _read(str(file), found.st_mtime_ns, found.st_size)
    except OSError:
        # a file that is gone: the code object alone has to tell
        return b"", []


@functools.lru_cache(maxsize=4_096)
def _read(file: str, _changed_at: int, _size: int) -> tuple[bytes, _Imports]:
    """Read a file once for each state that it was in."""
    content = Path(file).read_bytes()
    return hashlib.sha256(content).digest(), _statements(content)


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


@functools.lru_cache(maxsize=4_096)
def _file_of(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imports(file: Path, module: str, top: str) -> Iterator[str]:
    """The modules of package `top` that a file imports, wherever in it; names imported from one may be modules too."""
    for name, level in _source(file)[1]:
        if level:
            parts = module.split(".")
            package = parts if file.name == "__init__.py" else parts[:-1]
            name = ".".join([*package[: len(package) - level + 1], *([name] if name else [])])
        if name.partition(".")[0] == top:
            yield name


def _statements(content: bytes) -> _Imports:
    found: _Imports = []
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
