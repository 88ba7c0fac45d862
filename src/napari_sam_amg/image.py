"""From any array or layer plane to what a model sees: 8-bit RGB.

uint8 passes unchanged, as in sam2; everything else is mapped linearly, by a rule that is
recorded with the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam_amg.errors import ImageError
from napari_sam_amg.intensity import (
    check_contrast,
    check_gamma,
    check_percentiles,
    map_to_grey,
    measure_contrast,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rule = Literal["unchanged", "bool", "linear"]


@dataclass(frozen=True)
class ModelInput:
    """An image as a model sees it, and how it came about.

    Attributes
    ----------
    rgb : ndarray of uint8, shape (H, W, 3)
        C-contiguous and independent of the array it came from.
    mapping : dict
        JSON record of the mapping: ``shape`` and ``dtype`` of the original, ``rule``
        (``"unchanged"``, ``"bool"`` or ``"linear"``), ``contrast`` ([lo, hi] in the
        original's units, or None), ``percentiles`` ([low, high] in percent if the contrast
        was measured by them, else None), ``alpha_dropped``, ``nan_count``,
        ``posinf_count``, ``neginf_count`` (values, not pixels) and ``notes`` (sentences
        for the user); ``gamma`` if it is not 1.
    """

    rgb: NDArray[np.uint8]
    mapping: dict[str, Any]


def prepare_image(
    image: Any,
    *,
    contrast: tuple[float, float] | None = None,
    gamma: float = 1.0,
    percentiles: tuple[float, float] = (0.1, 99.9),
    map_uint8: bool = False,
    name: str = "image",
) -> ModelInput:
    """Turn an image into a model's input.

    Parameters
    ----------
    image : array-like, shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
        Any bool, integer or float dtype, in any memory layout, lazy or not. The alpha
        channel of four is dropped.
    contrast : (float, float), optional
        The values that become black and white, in the image's units.
    gamma : float
        Exponent of the share between them; uint8 whose contrast is not given or measured
        is taken from 0 to 255.
    percentiles : (float, float)
        Where there is no `contrast`: the percentiles, over the finite values of all
        colour channels together, that become black and white.
    map_uint8 : bool
        Map uint8 by its percentiles as well instead of passing it on unchanged.
    name : str
        What errors call the image: its layer or file.

    Returns
    -------
    ModelInput
        NaN and negative infinity become black, positive infinity white; an image of one
        value whose contrast is not given becomes black.

    Raises
    ------
    ImageError
        If the array is not an image that a model can be given.
    ParameterError
        If `contrast`, `gamma` or `percentiles` make no sense.
    """
    gamma = check_gamma(gamma)
    if contrast is not None:
        contrast = check_contrast(contrast)
    low, high = check_percentiles(percentiles)
    array = _as_array(image, name)
    notes: list[str] = []
    mapping: dict[str, Any] = {
        "shape": [int(n) for n in array.shape],
        "dtype": str(array.dtype),
        "rule": "linear",
        "contrast": None,
        "percentiles": None,
        "alpha_dropped": _has_alpha(array),
        "nan_count": 0,
        "posinf_count": 0,
        "neginf_count": 0,
        "notes": notes,
    }
    if isinstance(image, np.ma.MaskedArray) and image.mask is not np.ma.nomask:
        notes.append("The mask of the masked array was ignored.")
    if mapping["alpha_dropped"]:
        notes.append("The fourth channel was taken for transparency (alpha) and dropped.")
        array = without_alpha(array)
    if array.dtype.kind == "b":
        mapping["rule"] = "bool"
        return ModelInput(to_rgb(array.astype(np.uint8) * np.uint8(255)), mapping)
    if array.dtype == np.uint8 and contrast is None and not map_uint8:
        if gamma == 1.0:
            mapping["rule"] = "unchanged"
            return ModelInput(to_rgb(array), mapping)
        contrast = (0.0, 255.0)

    finite = _count_non_finite(array, mapping, name)
    if contrast is None:
        mapping["percentiles"] = [low, high]
        contrast = measure_contrast(finite, low, high, notes)
    mapping["contrast"] = [contrast[0], contrast[1]]
    if gamma != 1.0:
        mapping["gamma"] = gamma
    return ModelInput(to_rgb(map_to_grey(array, contrast, gamma)), mapping)


def without_alpha(array: NDArray[Any]) -> NDArray[Any]:
    """Return an image (HxW or HxWxC) without the fourth channel, which is taken for alpha."""
    return array[..., :3] if _has_alpha(array) else array


def _has_alpha(array: NDArray[Any]) -> bool:
    return array.ndim == 3 and array.shape[2] == 4


def _as_array(image: Any, name: str) -> NDArray[Any]:
    if isinstance(image, str | bytes | PurePath):
        raise ImageError(
            f"{name}: a {type(image).__name__} was given where pixels are needed; read the "
            "file first and pass the array"
        )
    if isinstance(image, Sequence):
        shapes = [getattr(item, "shape", None) for item in image]
        if any(isinstance(shape, tuple) and len(shape) >= 2 for shape in shapes):
            raise ImageError(
                f"{name}: found a sequence of {len(shapes)} arrays with shapes "
                f"{_shorten(shapes)}; if these are the levels of a multiscale image, pass one "
                "of them (the first has the full resolution), else one image at a time"
            )
    # A lazy array is refused by its shape before anything is read.
    check_form(getattr(image, "shape", None), getattr(image, "dtype", None), name)
    try:
        array = np.asarray(image)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        why = f": {_shorten(error)}" if isinstance(error, OSError) else ""
        raise ImageError(
            f"{name}: found a {type(image).__name__} that could not be read as an array of "
            f"pixels ({type(error).__name__}{why}); pass a NumPy array of shape (height, width) "
            "or (height, width, 3)"
        ) from error
    check_form(array.shape, array.dtype, name)
    return array


def _shorten(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 120 else text[:117] + "..."


def check_form(shape: Any, dtype: Any, name: str) -> None:
    """Refuse what is no image; an unknown shape or a foreign dtype is looked at later."""
    found = f"{name}: found shape {shape}, dtype {dtype}"
    if isinstance(dtype, np.dtype) and dtype.kind not in "buif":
        advice = {
            "c": "take its magnitude or its real part",
            "O": "convert it to numbers (uint8, uint16 or float32)",
            "M": "convert it to numbers (float32)",
            "m": "convert it to numbers (float32)",
        }.get(dtype.kind, "pass numbers (uint8, uint16 or float32)")
        raise ImageError(f"{found}; pixels must be real numbers: {advice}")
    if not isinstance(shape, tuple) or not all(isinstance(n, int | np.integer) for n in shape):
        return
    if 0 in shape:
        raise ImageError(f"{found}; the image is empty: check how it was cropped or indexed")
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)):
        return
    if len(shape) < 2:
        advice = "an image has two axes: pass (height, width)"
    elif len(shape) == 3 and shape[2] == 2:
        advice = "two channels are no colour image: pass one of them, image[..., 0]"
    elif len(shape) == 3 and shape[0] in (3, 4):
        advice = (
            "if the first axis is colour, move it to the end (numpy.moveaxis(image, 0, -1)); "
            "if it is a stack, pass one plane, image[0]"
        )
    else:
        advice = (
            "pass one plane of shape (height, width) or one colour image of shape "
            "(height, width, 3), for example image" + "[0]" * max(1, len(shape) - 2)
        )
    raise ImageError(f"{found}; {advice}")


def _count_non_finite(array: NDArray[Any], mapping: dict[str, Any], name: str) -> NDArray[Any]:
    """Return the finite values, and write down how many others there are."""
    if array.dtype.kind != "f":
        return array
    if array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            array = array.astype(np.float64)
    finite = np.isfinite(array)
    if finite.all():
        return array
    mapping["nan_count"] = int(np.isnan(array).sum())
    mapping["posinf_count"] = int(np.isposinf(array).sum())
    mapping["neginf_count"] = int(np.isneginf(array).sum())
    counts = (
        f"{mapping['nan_count']} NaN, {mapping['posinf_count']} +infinity, "
        f"{mapping['neginf_count']} -infinity"
    )
    values: NDArray[Any] = array[finite]
    if not values.size:
        raise ImageError(
            f"{name}: found shape {tuple(mapping['shape'])}, dtype {mapping['dtype']} without "
            f"one finite value ({counts}); check how it was computed or read"
        )
    mapping["notes"].append(
        f"Values that are no finite numbers ({counts}) became black, +infinity white."
    )
    return values


def to_rgb(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return grey (HxW, HxWx1) or colour (HxWx3) levels as HxWx3, copied."""
    if array.ndim == 2:
        array = array[..., np.newaxis]
    rgb = np.empty((*array.shape[:2], 3), np.uint8)
    rgb[...] = array
    return rgb
