"""How Sphinx builds the documentation: `make docs`, without a network."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

from fastlin import __version__

sys.path.insert(0, str(Path(__file__).parent))
import results_page

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "fastlin"
author = "The fastlin developers"
copyright = author
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_design",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
# A part of another page is no page.
exclude_patterns = ["_build", "_templates", "gallery", "guide/grid.rst", "guide/tables"]
templates_path = ["_templates"]
smartquotes = False  # two dashes begin an option
default_role = "code"  # what is in single backquotes is code, as in the docstrings
nitpicky = True
# Attributes that are properties are explained in the text of their class, and have no page.
nitpick_ignore = [("py:obj", "coef_"), ("py:obj", "intercept_")]

autodoc_typehints = "none"  # the docstrings say it, in words and shapes
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
autosummary_generate = True
numpydoc_show_class_members = False  # the templates list them, each with a page of its own
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = f"fastlin {release}"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["fastlin.css"]
html_js_files = ["results.js"]
html_show_sourcelink = False
html_domain_indices = False  # of one module
html_sidebars = {"install": [], "first_steps": []}
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}  # else the console of a first visit holds an error
html_math_renderer = "mathml"
copybutton_exclude = ".linenos, .gp, .go"


def figures_without_pyplot(
    block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]
) -> str:
    """Save the figures of ``history_.plot()``, which pyplot does not know."""
    known = block_vars.setdefault("known_figures", [])
    paths = []
    for value in vars(block_vars["fake_main"]).values():
        if isinstance(value, Figure) and value not in known:
            known.append(value)
            if value.canvas.manager is None:
                paths.append(next(block_vars["image_path_iterator"]))
                value.savefig(paths[-1])
    return figure_rst(paths, gallery_conf["src_dir"])


sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"\.py$",  # every script runs
    "run_stale_examples": True,  # even if only fastlin has changed
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("fastlin",),
    "image_scrapers": (figures_without_pyplot, "matplotlib"),
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}

# As in the tests: a warning in an example of the gallery is an error.
warnings.filterwarnings("error", module=r"__main__|fastlin(\.|$)")
suppress_warnings = ["config.cache"]  # Sphinx warns of functions among the settings


def visit_math(translator: Any, node: nodes.math) -> None:
    """Write a formula within a line as MathML, which browsers draw without any script."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def visit_math_block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula that stands alone."""
    translator.body.append(f"<div class='formula'>{tex2mathml(node.astext(), as_block=True)}</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Tell Sphinx how formulas are written, and what makes a page."""
    app.connect("builder-inited", results_page.write)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
