"""How Sphinx builds these pages: MyST for the text, autodoc for the API reference."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Polystow"
author = "The Polystow authors"
release = version_of("polystow")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "reference",
]
exclude_patterns = ["_build", "examples"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

# Types are shown by their short names, which two modules may share.
suppress_warnings = ["ref.python"]
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [
    ("Fixtures to override", "params_style"),
    ("Fixtures to use in tests of your own", "params_style"),
]

html_theme = "furo"
html_title = "Polystow"
html_static_path = ["_static"]
html_show_sourcelink = False
html_copy_source = False
