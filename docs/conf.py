"""The documentation site: make docs. Nothing is fetched, and every warning is an error."""

import re
from typing import Any

from bids_lfenhance import __version__ as release

project = "bids_lfenhance"
copyright = "the authors of bids_lfenhance, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"{project} {release}"
html_show_sourcelink = html_copy_source = False
myst_heading_anchors = 3
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
suppress_warnings = ["myst.header"]  # methods pages begin their sections at the third level


def parameters_as_definitions(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Our ``name : what it is`` below "Parameters" as a list of definitions, in place."""
    inside, text = False, list(lines)
    lines.clear()
    for number, line in enumerate(text):
        found = re.match(r"([\w, ]+) : (.*)", line) if inside else None
        if text[number : number + 2] == ["Parameters", "----------"]:
            lines += ["**Parameters**", ""]
        elif line == "----------":
            inside = True
        elif found:
            lines += [f"``{found[1]}``", f"    {found[2]}"]
        else:
            inside = inside and bool(line)
            lines.append(line)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", parameters_as_definitions)
