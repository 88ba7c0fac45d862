"""From arguments to options: amg.py's flags, ours, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_sam_amg.cli.arguments import build_parser, flag_of, flagged_parameters
from napari_sam_amg.cli.grids import read_point_grids
from napari_sam_amg.cli.options import parse
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.parameters import AmgParameters

PLACES = ["--input", "in.png", "--output", "out"]

# The flags of segment-anything's scripts/amg.py, with values that it takes (and, for the
# crop overlap ratio, one that it should take).
AMG_PY = {
    "--points-per-side": ("16", "points_per_side", 16),
    "--points-per-batch": ("32", "points_per_batch", 32),
    "--pred-iou-thresh": ("0.7", "pred_iou_thresh", 0.7),
    "--stability-score-thresh": ("0.9", "stability_score_thresh", 0.9),
    "--stability-score-offset": ("0.5", "stability_score_offset", 0.5),
    "--box-nms-thresh": ("0.6", "box_nms_thresh", 0.6),
    "--crop-n-layers": ("1", "crop_n_layers", 1),
    "--crop-nms-thresh": ("0.5", "crop_nms_thresh", 0.5),
    "--crop-overlap-ratio": ("0.34", "crop_overlap_ratio", 0.34),
    "--crop-n-points-downscale-factor": ("2", "crop_n_points_downscale_factor", 2),
    "--min-mask-region-area": ("100", "min_mask_region_area", 100),
}
OURS = {
    "--mask-threshold": ("-1e-1", "mask_threshold", -0.1),
    "--min-area": ("30", "min_area", 30),
    "--max-area": ("none", "max_area", None),
    "--overlap": ("largest_on_top", "overlap", "largest_on_top"),
}


@pytest.mark.parametrize("flag", AMG_PY | OURS)
@pytest.mark.parametrize("form", ["{flag} {value}", "{flag}={value}", "{under}={value}"])
def test_parameter_flags(flag: str, form: str) -> None:
    value, name, expected = (AMG_PY | OURS)[flag]
    under = "--" + flag[2:].replace("-", "_")
    words = form.format(flag=flag, under=under, value=value).split()
    assert parse(PLACES + words).parameters == {name: expected}


def test_a_whole_command_line_of_amg_py() -> None:
    words = ["--input", "images", "--output", "masks", "--model-type", "sam2.1_hiera_large"]
    words += ["--checkpoint", "large.pt", "--device", "cuda", "--convert-to-rle"]
    for flag, (value, _, _) in AMG_PY.items():
        words += [flag, value]
    options = parse(words)
    assert options.inputs == ("images",)
    assert options.output == Path("masks")
    assert (options.model, options.checkpoint) == ("sam2.1_hiera_large", Path("large.pt"))
    assert (options.device, options.output_format) == ("cuda", "rle")
    assert options.parameters == {name: expected for _, name, expected in AMG_PY.values()}
    AmgParameters(**options.parameters)


def test_nothing_given_leaves_everything_to_the_model() -> None:
    options = parse(PLACES)
    assert options.parameters == {}
    assert (options.model, options.checkpoint, options.contrast) == (None, None, None)
    assert (options.device, options.precision) == ("auto", "exact")
    assert (options.output_format, options.segmentation) == ("png", "rle")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--use-m2m"], {"use_m2m": True}),
        (["--no-use-m2m"], {"use_m2m": False}),
        (["--single-mask"], {"multimask_output": False}),
        (["--no-single-mask"], {"multimask_output": True}),
        (["--exclude-border"], {"exclude_border": True}),
        (["--no-exclude-border"], {"exclude_border": False}),
    ],
)
def test_switches(words: list[str], expected: dict[str, bool]) -> None:
    assert parse(PLACES + words).parameters == expected


def test_every_parameter_has_one_flag() -> None:
    options = {o for action in build_parser()._actions for o in action.option_strings}
    assert {flag_of(name) for name in flagged_parameters()} <= options
    assert set(flagged_parameters()) == set(AmgParameters.model_fields) - {"output_mode"}


@pytest.mark.parametrize("words", [["--contrast", "-100", "1e3"], ["--contrast", "-1e2", "1000"]])
def test_contrast(words: list[str]) -> None:
    assert parse(PLACES + words).contrast == (-100.0, 1000.0)


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        ([], "--input and --output missing"),
        (["--input", "x"], "--output missing"),
        ([*PLACES, "more"], "expected|unexpected argument 'more'"),
        ([*PLACES, "--points-per-sid", "3"], "did you mean --points-per-side"),
        ([*PLACES, "--points", "3"], "unknown flag --points"),
        ([*PLACES, "--zzzzzzzzzzzz"], "see --help"),
        ([*PLACES, "--format", "jpg"], "png.*rle.*coco.*labels"),
        ([*PLACES, "--format", "png", "--convert-to-rle"], "leave one out"),
        ([*PLACES, "--polygons"], "--polygons needs --format coco"),
        ([*PLACES, "--contrast", "5", "5"], "contrast"),
        ([*PLACES, "--contrast", "5"], "--contrast"),
        ([*PLACES, "--max-pixels", "0"], "--max-pixels 0"),
        ([*PLACES, "--max-pixels", "many"], "--max-pixels many"),
        ([*PLACES, "--points-per-side", "0"], "--points-per-side=0.*allowed: 1 to 1024"),
        ([*PLACES, "--crop-n-layers", "2.5"], "--crop-n-layers='2.5'.*integer"),
        ([*PLACES, "--pred-iou-thresh", "nan"], "--pred-iou-thresh=nan"),
        ([*PLACES, "--overlap", "smallest"], "--overlap='smallest'"),
        ([*PLACES, "--min-area", "9", "--max-area", "8"], "no mask could be kept"),
        ([*PLACES, "--point-grids", "nowhere.json"], "--point-grids nowhere.json.*cannot be read"),
    ],
)
def test_refusals(words: list[str], finding: str) -> None:
    with pytest.raises(ParameterError, match=finding):
        parse(words)


@pytest.mark.parametrize("equals", [False, True])
@pytest.mark.parametrize(
    "flag",
    [
        "--input",
        "--output",
        "--glob",
        "--model-type",
        "--checkpoint",
        "--download",
        "--device",
        "--precision",
        "--max-pixels",
        "--overlap",
        "--point-grids",
        "--points-per-side",
        "--min-area",
    ],
)
def test_empty_values_are_refused(flag: str, equals: bool) -> None:
    """A variable of a script that was not set must not mean a default."""
    words = [f"{flag}="] if equals else [flag, ""]
    with pytest.raises(ParameterError, match=f"^{flag} is empty: give a value or leave it out"):
        parse([*PLACES, *words])


@pytest.mark.parametrize(("flag", "words"), [("input", ["a", ""]), ("contrast", ["0", ""])])
def test_one_empty_value_of_several_is_refused(flag: str, words: list[str]) -> None:
    with pytest.raises(ParameterError, match=f"--{flag} is empty"):
        parse([*PLACES, f"--{flag}", *words])


@pytest.mark.parametrize(
    "words", [["--input", "a", "--input", "b", "c"], ["--input", "a", "b", "c"]]
)
def test_every_input_is_taken(words: list[str]) -> None:
    assert parse([*words, "--output", "out"]).inputs == ("a", "b", "c")


POINTS = [[0.25, 0.5], [0.75, 0.5]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(POINTS, [POINTS]), ([POINTS, POINTS[:1]], [POINTS, POINTS[:1]])],
)
def test_point_grids_from_json(tmp_path: Path, content: object, expected: object) -> None:
    path = tmp_path / "grid.json"
    path.write_text(json.dumps(content))
    assert read_point_grids(path) == expected
    grids = parse([*PLACES, "--point-grids", str(path)]).parameters["point_grids"]
    assert AmgParameters(point_grids=grids).point_grids[0] == tuple(map(tuple, POINTS))


@pytest.mark.parametrize("array", [np.array(POINTS), np.array([POINTS])])
def test_point_grids_from_npy(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "grid.npy", array)
    assert read_point_grids(tmp_path / "grid.npy") == [POINTS]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"5", b"[]", b"[[]]", b'[["a", 1]]', b"[[1, 2, 3]]", b"[[true, 1]]", b"\xff\xfe"],
)
def test_point_grids_that_are_none(tmp_path: Path, content: bytes) -> None:
    for name in ("grid.json", "grid.npy"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ParameterError, match=name):
            read_point_grids(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero here")
def test_point_grids_that_do_not_end() -> None:
    with pytest.raises(ParameterError, match="/dev/zero is not a file; give a JSON or"):
        read_point_grids("/dev/zero")


def test_point_grids_that_are_too_large(tmp_path: Path) -> None:
    with (tmp_path / "grid.json").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises(ParameterError, match=r"grid\.json has 67,108,865 bytes; at most"):
        read_point_grids(tmp_path / "grid.json")


def test_point_grids_that_claim_more_than_there_is(tmp_path: Path) -> None:
    np.save(tmp_path / "grid.npy", np.zeros((1, 2)))
    data = (tmp_path / "grid.npy").read_bytes()
    before = b"(1, 2), }" + b" " * 10
    assert before in data
    (tmp_path / "grid.npy").write_bytes(data.replace(before, b"(99999999999, 2), }"))
    with pytest.raises(ParameterError, match=r"no valid \.npy"):
        read_point_grids(tmp_path / "grid.npy")


def test_point_grids_hold_no_code(tmp_path: Path) -> None:
    np.save(tmp_path / "grid.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ParameterError, match=r"no valid \.npy"):
        read_point_grids(tmp_path / "grid.npy")


def test_points_outside_are_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text("[[12, 40]]")
    with pytest.raises(ParameterError, match="divide pixel positions by the image size"):
        parse([*PLACES, "--point-grids", str(tmp_path / "grid.json")])
