"""Pictures of runs as HTML and SVG: one set of functions for the page, the notebook and the static file. Pure."""
