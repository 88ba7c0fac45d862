"""Write the tables of flags into ``docs/command-line.md``, from the parser itself.

Run ``python docs/generate.py`` after a change of flags; a test compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.cli.arguments import build_parser

if TYPE_CHECKING:
    import argparse

PAGE = Path(__file__).parent / "command-line.md"
START = "<!-- flags: written by docs/generate.py -->"
END = "<!-- end of flags -->"


def tables() -> str:
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
    flags = "<br>".join(f"`{flag}{value}`" for flag in action.option_strings)
    text = str(action.help).replace("%%", "%").replace("%(prog)s", "napari-sam-amg")
    return f"| {flags} | {text.replace('|', chr(92) + '|')} |"


def page(text: str) -> str:
    """Return the text of the page with its tables made anew."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
