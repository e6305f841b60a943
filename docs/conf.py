"""The site: `make docs`.  Pages of claims are written from the stored results first."""

from __future__ import annotations

import sys
from pathlib import Path

import harness

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "demodulation-harness"
author = copyright = "the demodulation-harness contributors"
release = version = harness.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Blind demodulation with generative priors"
myst_heading_anchors = 3
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
suppress_warnings = ["myst.xref_missing"]  # results/REPORT.md lies outside; tests follow all links


def escape_bars(app, what, name, obj, options, lines):
    """In docstrings |x| is an absolute value, in reStructuredText a substitution."""
    lines[:] = [line.replace("|", r"\|") for line in lines]


def setup(app):
    """Write the pages of the claims before Sphinx looks for pages."""
    app.connect("autodoc-process-docstring", escape_bars, priority=100)
    from claim_pages import write

    write(HERE.parent / "results", HERE / "claims")
