"""The guide's example runs, and its tables are true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from napari_sam_amg import LinkParameters, TrackParameters
from napari_sam_amg.parameters import group_of, limits

TEXT = (Path(__file__).parents[2] / "docs" / "linking.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_example_runs():
    (code,) = EXAMPLES
    assert code.count("assert ") > 4
    exec(compile(code, "linking.md", "exec"), {})  # noqa: S102 - our own text


@pytest.mark.parametrize("model", [LinkParameters, TrackParameters])
def test_every_parameter_is_told_with_its_default(model):
    for name, field in model.model_fields.items():
        default = {None: "median diameter"}.get(field.default, field.default)
        default = (
            f'`"{default}"`'
            if name == "fill_gaps"
            else f"{default:g}"
            if isinstance(default, float)
            else str(default)
        )
        assert f"| `{name}` | {default} |" in TEXT


@pytest.mark.parametrize("model", [LinkParameters, TrackParameters])
def test_a_form_can_be_made_of_parameters(model):
    for name, field in model.model_fields.items():
        assert field.title
        assert field.description.endswith(".")
        assert group_of(name, model) in ("slices", "tracks")
        low, high, _ = limits(name, model)
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert low <= field.default <= high
