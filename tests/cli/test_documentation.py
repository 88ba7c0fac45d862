"""The page about the command line says what the program does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from napari_sam_amg.cli.arguments import build_parser

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["command-line.md", "parameters.md"])
def test_the_tables_are_those_of_the_source(name: str) -> None:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    text = (DOCS / name).read_text("utf-8")
    assert text == generate.page(name), "run python docs/generate.py"


def test_every_flag_is_described_and_no_other_is_named() -> None:
    text = (DOCS / "command-line.md").read_text("utf-8")
    # Benchmarks have flags of their own.
    text = re.sub(r"`python benchmarks/[^`]*`", "", text)
    flags = {o for a in build_parser()._actions for o in a.option_strings if o[:3] != "-h"}
    described = set(re.findall(r"--[a-z][a-z0-9-]*", text))
    assert flags - {"--help"} <= described
    # The one abbreviation is named as something that does not work; the others are Dask's.
    dask = {"--nthreads", "--nworkers", "--scheduler-file"}
    assert described - flags == {"--points-per-s"} | dask
