"""The form says what the parameter model says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from napari_sam_amg import AmgParameters
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.parameters import limits
from napari_sam_amg.plugin.form import make_field, make_fields

VALUES = {
    "points_per_side": (1, 16, 1024),
    "points_per_batch": (1, 65536),
    "pred_iou_thresh": (0.0, 0.35, 2.0),
    "stability_score_thresh": (0.0, 1.0),
    "stability_score_offset": (0.0, 1.5),
    "mask_threshold": (-5.0, 0.0, 7.5),
    "box_nms_thresh": (0.0, 0.55, 1.0),
    "crop_n_layers": (0, 6),
    "crop_nms_thresh": (0.0, 1.0),
    "crop_overlap_ratio": (0.0, 0.34),
    "crop_n_points_downscale_factor": (1, 4),
    "point_grids": (None, (((0.25, 0.5), (0.5, 1.0)),)),
    "min_mask_region_area": (0, 250),
    "output_mode": ("binary_mask", "coco_rle"),
    "use_m2m": (False, True),
    "multimask_output": (False, True),
    "min_area": (None, 0, 30),
    "max_area": (None, 0, 100_000),
    "exclude_border": (False, True),
    "overlap": ("smallest_on_top", "discard_overlaps"),
    "object_diameter": (None, 12.5, 40.0),
    "scale": (None, 0.5, 2.0),
    "tile_size": (None, 256),
    "tile_halo": (None, 0, 60),
    "prompts": ("grid", "objects"),
    "object_score_thresh": (0.25, 0.0, 0.9),
}


def test_every_parameter_has_a_field(qapp):
    fields = make_fields(dict(AmgParameters()))
    assert list(fields) == list(AmgParameters.model_fields) == list(VALUES)
    assert AmgParameters(**{name: field.value for name, field in fields.items()}) == (
        AmgParameters()
    )


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in VALUES.items() for value in values]
)
def test_a_value_goes_in_and_comes_out(qapp, name, value):
    field = make_field(name, AmgParameters.model_fields[name].default)
    heard = []
    field.changed.connect(heard.append)
    before = field.value
    field.value = value
    default = {"points_per_side": None} if name == "point_grids" and value is not None else {}
    other = {"points_per_side": 64} if name == "crop_n_layers" else {}
    got = AmgParameters(**{name: field.value} | default | other)
    assert getattr(got, name) == pytest.approx(value) if isinstance(value, float) else True
    if not isinstance(value, float):
        assert getattr(got, name) == value
    assert bool(heard) == (before != value)


@pytest.mark.parametrize("name", list(VALUES))
def test_help_and_range_are_those_of_the_model(qapp, name):
    field = make_field(name, AmgParameters.model_fields[name].default)
    model = AmgParameters.model_fields[name]
    assert field.label == model.title
    assert model.description in field.tooltip
    low, high, exclusive = limits(name)
    if hasattr(field, "min") and low is not None:
        assert field.min == low
    if hasattr(field, "max") and high is not None and not exclusive:
        assert field.max == high


@pytest.mark.parametrize("text", ["x", "[[0.1, 0.2]", "{1}"])
def test_grids_that_cannot_be_read_say_so(qapp, text):
    field = make_field("point_grids", None)
    field.value = text
    with pytest.raises(ParameterError, match="point_grids"):
        _ = field.value


def test_an_area_below_0_is_refused(qapp):
    field = make_field("min_area", None)
    with pytest.raises(ParameterError, match="min_area=-3"):
        field.value = -3


def test_the_widget_brings_no_torch():
    code = (
        "import sys, napari_sam_amg.plugin.widget, napari_sam_amg.plugin.writers\n"
        "print([n for n in ('torch', 'sam2', 'torchvision', 'hydra') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
