"""Sphinx settings: ``make docs``."""

from importlib.metadata import version as installed_version

project = "edgepart"
author = "the edgepart developers"
copyright = author  # noqa: A001 (Sphinx's own name)
release = version = installed_version("edgepart")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "edgepart"
html_show_copyright = False
html_show_sourcelink = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# Pydantic's own members say nothing about ours.
autodoc_default_options = {"members": True, "exclude-members": "model_config, model_post_init"}
