"""How Sphinx builds the pages: `python -m sphinx -W -n -b html docs site`; a warning is an error."""

import tomllib
from pathlib import Path

project = "vbl"
author = "The vbl authors"
copyright = "The vbl authors"
release = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]["version"]
version = release

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"vbl {release}"
html_show_sphinx = False
