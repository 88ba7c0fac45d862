"""The walls between the parts, seen from fresh interpreters."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

HEAVY = ["torch", "torchvision", "sam2", "hydra", "napari", "qtpy", "magicgui", "pandas"]


def _loaded(code: str) -> dict:
    script = (
        "import sys, time, json; start = time.perf_counter()\n"
        f"{code}\n"
        "print(json.dumps({'seconds': time.perf_counter() - start, 'modules': list(sys.modules)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "code",
    [
        "import napari_sam_amg",
        "import napari_sam_amg.parameters, napari_sam_amg.errors, napari_sam_amg.image",
        "from napari_sam_amg import Masks, Proposals, AmgParameters, list_models; list_models()",
        "from napari_sam_amg import read_coco, read_png_folder",
        "import napari_sam_amg.cli, napari_sam_amg.plugin.samples",
        "from napari_sam_amg.sources import open_source; open_source",
    ],
)
def test_light_parts_stay_light(code):
    assert not set(HEAVY) & set(_loaded(code)["modules"])


def test_readers_of_files_wait_for_a_file():
    code = "import napari_sam_amg.cli; from napari_sam_amg.sources import open_source; open_source"
    assert not {"tifffile", "zarr", "dask", "PIL"} & set(_loaded(code)["modules"])


def test_the_engine_knows_no_napari():
    modules = set(_loaded("from napari_sam_amg import AutomaticMaskGenerator")["modules"])
    assert "torch" in modules
    assert not {"napari", "qtpy", "magicgui"} & modules


def test_a_run_does_without_the_slow_imports_that_it_does_not_need():
    run = (
        "import numpy as np\n"
        "from napari_sam_amg import AutomaticMaskGenerator\n"
        "generator = AutomaticMaskGenerator('nuclei-nano', device='cpu', points_per_side=2)\n"
        "generator.segment(np.zeros((20, 30), np.uint8)).to_labels()"
    )
    modules = set(_loaded(run)["modules"])
    assert "sam2" in modules
    # Together they take longer to import than all the rest of a run on a small image.
    assert not {"torchvision", "torch._dynamo", "triton", "pandas"} & modules


def test_import_takes_less_than_a_tenth_of_a_second():
    times = [_loaded("import napari_sam_amg")["seconds"] for _ in range(5)]
    assert statistics.median(times) < 0.1


def test_every_public_name_is_there():
    import napari_sam_amg

    for name in napari_sam_amg.__all__:
        assert getattr(napari_sam_amg, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = napari_sam_amg.nothing_like_it
