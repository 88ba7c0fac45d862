"""The command line's flags, derived from `AmgParameters`."""

from __future__ import annotations

import argparse
import re
from typing import Any, Literal, NoReturn, get_args

from napari_sam_amg import __version__
from napari_sam_amg.cli.link_arguments import add_link_arguments
from napari_sam_amg.cli.stack_arguments import (
    add_run_arguments,
    add_scheduler_argument,
    add_stack_arguments,
)
from napari_sam_amg.cli.streams import say
from napari_sam_amg.cli.values import choices_of, kinds_of
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.parameters import SAM2_PARAMETERS, AmgParameters

OutputFormat = Literal["png", "rle", "coco", "labels", "ome-zarr", "imagej", "geojson", "large"]
Segmentation = Literal["rle", "polygon"]

# The form of the records is what --format says.
_NO_FLAG = ("output_mode",)
_RENAMED = {"multimask_output": "--single-mask"}
_EPILOG = """\
A parameter that is not given is the model's own recommendation (for Meta's models sam2's
defaults). Flags may be written with _ instead of - inside.
Exit status: 0 all done, 1 some images failed, 2 nothing was started (wrong usage, a model
that cannot be had, no folder for the results), 130 interrupted."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ParameterError(message)

    def _print_message(self, message: str, file: object = None) -> None:
        # --help and --version go where everything else goes, with the same care.
        say(message.removesuffix("\n"))


def flag_of(name: str) -> str:
    """Return the flag of a parameter of `AmgParameters`."""
    return _RENAMED.get(name, "--" + name.replace("_", "-"))


def flagged_parameters() -> tuple[str, ...]:
    """Return the parameters of `AmgParameters` that have a flag, in its order."""
    return tuple(name for name in AmgParameters.model_fields if name not in _NO_FLAG)


def with_flags(text: str) -> str:
    """Return a text with the names of parameters replaced by their flags."""
    for name in flagged_parameters():
        # A name of one word is a word of the language too, unless a value follows.
        end = r"\b" if "_" in name else r"(?==)"
        text = re.sub(rf"\b{name}{end}", flag_of(name), text)
    return text


def build_parser() -> argparse.ArgumentParser:
    """Build the parser: amg.py's flags, and one for each parameter."""
    parser = _Parser(
        prog="napari-sam-amg",
        description="Find every object in images with SAM 2's automatic mask generation.",
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_files(parser.add_argument_group("images and results"))
    add_stack_arguments(parser.add_argument_group("stacks and channels"))
    add_link_arguments(parser.add_argument_group("objects over slices and time"))
    _add_model(parser.add_argument_group("model"))
    add_scheduler_argument(parser.add_argument_group("many machines"))
    group = parser.add_argument_group("what to find and keep")
    for name in flagged_parameters():
        _add_parameter(group, name)
    other = parser.add_argument_group("other")
    other.add_argument("--quiet", action="store_true", help="Say nothing but errors.")
    other.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}", help="Say the version."
    )
    return parser


def _add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input",
        action="extend",
        nargs="+",
        metavar="PATH",
        help="An image, a folder of images or a pattern such as 'scans/*.tif'; several too. A "
        "stack, an OME-Zarr folder or a plate of them is taken with all its planes.",
    )
    group.add_argument(
        "--output",
        metavar="FOLDER",
        help="Folder of the results, made if it is not there. A result that exists already is "
        "replaced as a whole.",
    )
    group.add_argument(
        "--format",
        choices=get_args(OutputFormat),
        help="png (the default): a folder for each image with 0.png, 1.png ... and "
        "metadata.csv. rle: one JSON file for each image with COCO run lengths. coco: one "
        "dataset, annotations.json, for all images. labels: one 16- or 32-bit label TIFF for "
        "each image, where overlapping masks hide each other by --overlap; of a stack an "
        "OME-TIFF. ome-zarr: the same labels as OME-Zarr, over a copy of the image. imagej: one "
        ".zip of ImageJ ROIs for each image. geojson: one .geojson file of outlines for each "
        "image, as QuPath opens them. large: a folder for each plane, read and written tile by "
        "tile, for planes that do not fit into memory; a run that was ended goes on. Of a stack, "
        "labels and ome-zarr hold all planes, the others have a result for each.",
    )
    group.add_argument(
        "--convert-to-rle", action="store_true", help="The same as --format rle, as in amg.py."
    )
    group.add_argument(
        "--polygons",
        action="store_true",
        help="With --format coco: outlines instead of run lengths, for programs that read "
        "nothing else. Lossy.",
    )
    group.add_argument(
        "--measure",
        action="store_true",
        help="Write a table besides, NAME.measurements.csv for each image: shape of each mask, "
        "intensities of each channel, and the scores, by scikit-image's names.",
    )
    group.add_argument(
        "--pixel-size",
        metavar="UM",
        help="Side of a pixel in micrometres, for tables and label images; by default what "
        "OME-TIFF, OME-Zarr and ImageJ's files say of themselves.",
    )
    add_run_arguments(group)
    group.add_argument(
        "--recursive", action="store_true", help="Take images in sub-folders too, mirroring them."
    )
    group.add_argument(
        "--glob",
        metavar="PATTERN",
        help="Take only files of a folder whose name matches, such as '*_dapi.tif'.",
    )
    group.add_argument(
        "--skip-existing", action="store_true", help="Leave out images that have a result."
    )
    group.add_argument(
        "--max-pixels",
        metavar="N",
        help="Refuse images with planes of more pixels than this, before they are read into "
        "memory.",
    )
    group.add_argument(
        "--contrast",
        nargs=2,
        metavar=("LO", "HI"),
        help="The values of the image that become black and white. By default 8-bit images go "
        "to the model unchanged or by its own rule, others by percentiles.",
    )


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model-type",
        metavar="NAME",
        help="Name of a model (see --list-models); nuclei-nano, which comes with the package, "
        "by default. With --checkpoint: the architecture that the file must have.",
    )
    group.add_argument(
        "--checkpoint", metavar="FILE", help="A model file of your own, .pt or .safetensors."
    )
    group.add_argument(
        "--device",
        help="auto (the default: the GPU if there is one), cpu, cuda, cuda:1, mps.",
    )
    group.add_argument(
        "--precision",
        metavar="{exact,fast}",
        help="exact (the default) computes in float32; fast in bfloat16 where the device "
        "has units for it, and masks can differ slightly.",
    )
    group.add_argument("--list-models", action="store_true", help="List the models, and end.")
    group.add_argument(
        "--download",
        metavar="MODEL",
        help="Fetch a model now, for use without a network later, and end.",
    )


def _add_parameter(group: argparse._ArgumentGroup, name: str) -> None:
    field = AmgParameters.model_fields[name]
    default = field.default
    text = with_flags(str(field.description))
    given: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS}
    if name == "point_grids":
        text += (
            " A file: JSON, a list of such lists, or .npy of shape (points, 2) or "
            "(layers, points, 2)."
        )
        group.add_argument(flag_of(name), metavar="FILE", help=_escape(text), **given)
    elif name == "multimask_output":
        text = "Ask for one mask at each point instead of three (often whole, part and sub-part)."
        given |= {"dest": "single_mask", "action": argparse.BooleanOptionalAction}
        group.add_argument(flag_of(name), help=text, **given)
    elif kinds_of(name) == {"boolean"}:
        given["action"] = argparse.BooleanOptionalAction
        group.add_argument(flag_of(name), help=_escape(text), **given)
    else:
        origin = "sam2's default" if name in SAM2_PARAMETERS else "default"
        shown = f"{default:.6g}" if isinstance(default, float) else str(default).lower()
        choices = choices_of(name)
        given["metavar"] = "{" + ",".join(choices) + "}" if choices else "N"
        group.add_argument(flag_of(name), help=_escape(f"{text} ({origin}: {shown})"), **given)


def _escape(text: str) -> str:
    return text.replace("%", "%%")
