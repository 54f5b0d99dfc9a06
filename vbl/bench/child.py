"""One measurement in a process of its own: `python -m vbl.bench.child NAME JSON`, whose answer is one JSON line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import vbl
from vbl.errors import VblError

TIMEOUT_S = 900.0


def command(name: str, **given: Any) -> list[str]:
    """The command line of a measurement."""
    return [sys.executable, "-m", "vbl.bench.child", name, json.dumps(given)]


LEFT_OUT = ("VBL_", "COV_CORE", "COVERAGE", "PYTHONDONTWRITEBYTECODE", "PYTHONDEVMODE", "PYTHONPROFILEIMPORTTIME")
"""What would change the figures: settings of vbl, and a Python that compiles vbl anew at every start."""


def environment() -> dict[str, str]:
    """The environment of a measurement: this very vbl, from any folder, without its user's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(vbl.__file__).parent.parent), kept.get("PYTHONPATH"))))
    return kept


def measure(name: str, **given: Any) -> dict[str, Any]:
    """Run a measurement, `module.function` of this package, and return its answer. Raises VblError if it failed."""
    try:
        done = subprocess.run(
            command(name, **given), capture_output=True, text=True, env=environment(), timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise VblError(f"measuring {name} took longer than {TIMEOUT_S:g} s", code="bench_failed") from error
    if done.returncode:
        words = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise VblError(f"measuring {name} failed with exit code {done.returncode}:\n{words}", code="bench_failed")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run the measurement that the command line names."""
    module, _, function = sys.argv[1].partition(".")
    found = getattr(import_module(f"vbl.bench.{module}"), function)(**json.loads(sys.argv[2]))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
