"""What loading and running a model leave behind in the host process: nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SNAPSHOT = """
import json, random, ssl, sys, threading, warnings
import numpy as np
import torch

def snapshot():
    from hydra.core.global_hydra import GlobalHydra
    hydra = GlobalHydra.instance().hydra
    paths = hydra and [str(p) for p in hydra.config_loader.get_search_path().get_path()]
    return {
        "hydra": [id(GlobalHydra.instance()), id(hydra), paths],
        "torch rng": hash(torch.random.get_rng_state().numpy().tobytes()),
        "numpy rng": hash(str(np.random.get_state())),
        "python rng": hash(random.getstate()),
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "tf32": [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32,
                 torch.get_float32_matmul_precision()],
        "precision": [k.fp32_precision for k in (
            torch.backends.cudnn.conv, torch.backends.cuda.matmul,
            torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul)],
        "autocast": torch.is_autocast_enabled("cpu"),
        "cudnn": [torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic],
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "filters": [str(f) for f in warnings.filters],
        "showwarning": id(warnings.showwarning),
        "unpickler": [str(c) for c in torch.serialization.get_safe_globals()],
        "torch.load": id(torch.load),
        "ssl": [id(ssl._create_default_https_context), id(ssl.create_default_context)],
        "hooks": [id(sys.excepthook), id(threading.excepthook)],
    }
"""
USE = """
from napari_sam_amg.models import load_model
path = sys.argv[1]
model = load_model("nuclei-nano", device="cpu")
torch.save(model.state_dict(), path)
checkpoint = load_model(path, device="cpu")
from napari_sam_amg import AutomaticMaskGenerator
image = np.random.default_rng(0).integers(0, 255, (64, 80), dtype=np.uint8)
from napari_sam_amg.engine import arguments
arguments.multiplies_bfloat16 = lambda device: True  # fast is to be fast on any machine
few = {"points_per_side": 2, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
counts = [
    len(AutomaticMaskGenerator(model, precision=precision, crop_n_layers=1, **few).segment(image))
    for precision in ("exact", "fast")
]
assert min(counts) > 0
after = snapshot()
kinds = sorted({str(t.dtype) for m in (model, checkpoint) for t in m.state_dict().values()})
devices = sorted({str(t.device) for t in model.state_dict().values()})
rope = str(model.memory_attention.layers[0].self_attn.freqs_cis.dtype)
print(json.dumps([before, after, kinds, devices, rope]))
"""
# What these do to the process on being imported is theirs.
IMPORTS = (
    "import sam2.build_sam, sam2.modeling.sam2_base, safetensors.torch, pandas, scipy.ndimage\n"
    "import torchvision.ops, torchvision.transforms.functional\n"
)
SETUPS = {
    "as it comes": IMPORTS,
    "host's Hydra first": (
        "import hydra\nhydra.initialize_config_module('sys', version_base='1.3')\n" + IMPORTS
    ),
    "host's Hydra after sam2": (
        IMPORTS
        + "import hydra\nfrom hydra.core.global_hydra import GlobalHydra\n"
        + "GlobalHydra.instance().clear()\n"
        + "hydra.initialize_config_module('sys', version_base='1.3')\n"
    ),
    "host's own settings": (
        IMPORTS
        + "torch.set_default_dtype(torch.float64)\ntorch.set_num_threads(1)\n"
        + "torch.set_float32_matmul_precision('high')\ntorch.manual_seed(7)\n"
        + "warnings.simplefilter('error')\ntorch.serialization.add_safe_globals([set])\n"
        + "torch.set_default_device('meta')\n"
    ),
}


def _run(code: str, *arguments: str) -> list:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", SETUPS)
def test_nothing_changes(name, tmp_path):
    code = SNAPSHOT + SETUPS[name] + "before = snapshot()\n" + USE
    before, after, kinds, devices, rope = _run(code, str(tmp_path / "x.pt"))
    changed = [key for key in before if before[key] != after[key]]
    assert {key: (before[key], after[key]) for key in changed} == {}
    assert (kinds, devices, rope) == (["torch.float32"], ["cpu"], "torch.complex64")
    if "Hydra" in name:
        assert any("pkg://sys" in path for path in before["hydra"][2])


def test_hydra_is_left_as_sam2_leaves_it():
    show = "print(json.dumps(snapshot()['hydra'][2]))"
    by_sam2 = _run(SNAPSHOT + "import sam2\n" + show)
    by_us = _run(
        SNAPSHOT + "import napari_sam_amg.models as m; m.load_model('nuclei-nano')\n" + show
    )
    assert by_us == by_sam2
    assert any("pkg://sam2" in path for path in by_sam2)


def test_importing_opens_no_connection_and_initialises_nothing():
    code = (
        "import json, socket, sys\n"
        "def forbidden(*a, **k): raise AssertionError\n"
        "socket.socket = socket.create_connection = socket.getaddrinfo = forbidden\n"
        "import napari_sam_amg.models as m\n"
        "m.list_models()\n"
        "print(json.dumps([n in sys.modules for n in ('torch', 'hydra', 'sam2', 'pooch')]))"
    )
    assert _run(code) == [False] * 4
