"""What was measured on: versions, processors, load, and the file system of the temporary folder."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import vbl
from vbl.bench import floor
from vbl.store.location import mount_type


def about() -> dict[str, Any]:
    """The machine as the report names it."""
    folder = Path(tempfile.gettempdir()).resolve()
    return {
        "vbl": vbl.__version__,
        "python": platform.python_version(),
        **floor.versions(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count() or 1,
        "load": os.getloadavg()[0],
        "folder": str(folder),
        "file_system": mount_type(folder) or "unknown",
    }
