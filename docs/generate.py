"""Write the tables of the docs: flags from the parser, parameters from their model.

Run ``python docs/generate.py`` after a change of flags or parameters; a test compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.cli.arguments import build_parser
from napari_sam_amg.parameters import AmgParameters, group_of, limits

if TYPE_CHECKING:
    import argparse

FOLDER = Path(__file__).parent
START = "<!-- tables: written by docs/generate.py -->"
END = "<!-- end of tables -->"


def flags() -> str:
    """Return the tables of all flags as Markdown, one for each group of ``--help``."""
    parts = []
    for group in build_parser()._action_groups:
        actions = [a for a in group._group_actions if a.option_strings]
        if actions and group.title not in (None, "options"):
            rows = "\n".join(_row(action) for action in actions)
            title = str(group.title).capitalize()
            parts.append(f"### {title}\n\n| flag | meaning |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def _row(action: argparse.Action) -> str:
    metavar = action.metavar
    if isinstance(metavar, tuple):
        metavar = " ".join(metavar)
    if metavar is None and action.choices is not None:
        metavar = "{" + ",".join(map(str, action.choices)) + "}"
    if metavar is None and action.nargs != 0:
        metavar = action.dest.upper()
    value = f" {metavar}" if metavar else ""
    forms = "<br>".join(f"`{flag}{value}`" for flag in action.option_strings)
    text = str(action.help).replace("%%", "%").replace("%(prog)s", "napari-sam-amg")
    return f"| {forms} | {text.replace('|', chr(92) + '|')} |"


def parameters() -> str:
    """Return the tables of all parameters as Markdown, one for each group."""
    groups: dict[str, list[str]] = {}
    for name, field in AmgParameters.model_fields.items():
        low, high, exclusive = limits(name)
        span = ""
        if low is not None:
            bound = "or more" if high is None else f"to {'below ' if exclusive else ''}{high:g}"
            span = f"{low:g} {bound}"
        default = f"{field.default:.4g}" if isinstance(field.default, float) else field.default
        row = f"| `{name}` | {default} | {span} | {field.description} |"
        groups.setdefault(group_of(name), []).append(row)
    head = "| parameter | default | range | what changes |\n|---|---|---|---|\n"
    return "\n".join(
        f"## {group.capitalize()}\n\n{head}" + "\n".join(rows) + "\n"
        for group, rows in groups.items()
    )


PAGES = {"command-line.md": flags, "parameters.md": parameters}


def page(name: str) -> str:
    """Return the text of a page in `PAGES` with its tables made anew."""
    before, _, rest = (FOLDER / name).read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{PAGES[name]()}\n{END}{after}"


if __name__ == "__main__":
    for page_name in PAGES:
        (FOLDER / page_name).write_text(page(page_name), "utf-8")
