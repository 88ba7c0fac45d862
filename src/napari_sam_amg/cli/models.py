"""The command line's view of the models: list, download, and load the right one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from napari_sam_amg.cli.progress import download_progress
from napari_sam_amg.cli.streams import say, warn
from napari_sam_amg.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.engine import AutomaticMaskGenerator
    from napari_sam_amg.models import ModelInfo


def list_models(options: Options) -> int:
    """Write a table of the models to standard output."""
    from napari_sam_amg import models

    for info in models.list_models():
        default = ", default" if info.name == default_name() else ""
        say(f"{info.name} ({_origin(info)}{default})\n    {info.description}")
        if not options.quiet and info.notes:
            say(f"    {info.notes}")
    return 0


def _origin(info: ModelInfo) -> str:
    size = f", {info.size_bytes / 1e6:.0f} MB" if info.size_bytes else ""
    return f"{'embedded' if info.url is None else 'downloaded when first used'}{size}"


def default_name() -> str:
    """Return the name of the model that is used if none is given."""
    from napari_sam_amg.models.registry import EMBEDDED

    return EMBEDDED


def download_model(options: Options) -> int:
    """Fetch a model into the cache, and say where it is."""
    from napari_sam_amg import models

    info = models.model_info(str(options.model))
    tell = (lambda line: None) if options.quiet else say
    if info.url is None:
        tell(f"{info.name} comes with the package: there is nothing to download")
    else:
        tell(f"{info.name}: fetching {info.url}")
        tell(f"{info.name}: {_fetch(info, options)}")
    return 0


def _fetch(info: ModelInfo, options: Options) -> Path:
    from napari_sam_amg import models

    with download_progress(info.name, quiet=options.quiet) as progress:
        return models.fetch(info, progress=progress)


def _fetch_ahead(options: Options) -> None:
    """Fetch the model where the user can see it; loading would do it without a word."""
    from napari_sam_amg import models
    from napari_sam_amg.engine.arguments import check_precision
    from napari_sam_amg.models.download import file_name, model_folder

    info = models.model_info(options.model or default_name())
    if info.url is None or (model_folder() / file_name(info)).is_file():
        return
    # What else would be refused after it, is refused before a long download.
    models.choose_device(options.device)
    check_precision(options.precision)
    _fetch(info, options)


def check_model(options: Options) -> None:
    """Refuse an unknown model name or a missing file before anything is loaded.

    Raises
    ------
    ModelError
        Saying which models there are.
    """
    from napari_sam_amg import models

    if options.checkpoint is not None and not os.path.isfile(options.checkpoint):
        raise ModelError(f"--checkpoint {options.checkpoint}: there is no such file")
    if options.model is None:
        return
    if options.checkpoint is None or options.model not in _architectures():
        models.model_info(options.model)


def _architectures() -> frozenset[str]:
    from napari_sam_amg.models.architecture import ARCHITECTURES

    return frozenset(ARCHITECTURES)


def load_generator(options: Options) -> AutomaticMaskGenerator:
    """Load the model that was asked for.

    Parameters
    ----------
    options : Options

    Returns
    -------
    AutomaticMaskGenerator

    Raises
    ------
    SamAmgError
        If the model cannot be had, does not fit its name, or the device is not there.
    """
    from napari_sam_amg.engine import AutomaticMaskGenerator

    settings: dict[str, Any] = {
        "device": options.device,
        "precision": options.precision,
        "contrast": options.contrast,
        **options.parameters,
    }
    if options.checkpoint is None:
        say_default(options)
        _fetch_ahead(options)
        return AutomaticMaskGenerator(options.model or default_name(), **settings)
    generator = AutomaticMaskGenerator(options.checkpoint, **settings)
    check_agreement(options, generator.info.architecture)
    return generator


def say_default(options: Options) -> None:
    """Say which model is used if none was named."""
    if options.model is None and options.checkpoint is None and not options.quiet:
        warn(
            f"Using {default_name()}, the small model for cell nuclei that comes with "
            "napari-sam-amg; name another with --model-type (see --list-models)."
        )


def check_agreement(options: Options, found: str) -> None:
    """Refuse a checkpoint of another architecture than was named; ModelError then."""
    from napari_sam_amg import models

    if options.model is None or options.checkpoint is None:
        return
    named = (
        options.model
        if options.model in _architectures()
        else models.model_info(options.model).architecture
    )
    if named != found:
        raise ModelError(
            f"--checkpoint {options.checkpoint} is a {found} model, but --model-type says "
            f"{options.model}: leave --model-type out, or give {found}"
        )
