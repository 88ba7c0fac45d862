"""Every architecture is what sam2 itself builds from its own YAML."""

from __future__ import annotations

import pytest
import torch

from napari_sam_amg.models.architecture import ARCHITECTURES, build

YAMLS = {
    f"{version}_hiera_{size}": f"configs/{version}/{version}_hiera_{letter}.yaml"
    for version in ("sam2", "sam2.1")
    for size, letter in {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}.items()
}
PLAIN = (bool, int, float, str, type(None))


def _plain(value: object) -> object:
    """What can be compared of an attribute; tensors by content, the rest by its type."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, torch.Tensor):
        return (
            tuple(value.shape),
            value.dtype,
            torch.view_as_real(value).sum().item() if (value.is_complex()) else value.sum().item(),
        )
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(k): _plain(v) for k, v in value.items()}
    if hasattr(value, "__iter__"):
        return [_plain(v) for v in value]
    return getattr(value, "__name__", type(value).__name__)


def _behaviour(model: torch.nn.Module) -> dict[str, object]:
    """Class and every attribute of each module, the weights aside."""
    out = {}
    for name, module in model.named_modules():
        out[name] = type(module).__qualname__
        for key, value in vars(module).items():
            if key not in {"_parameters", "_modules", "_buffers", "cache"}:
                out[f"{name}:{key}"] = _plain(value)
    return out


@pytest.fixture(scope="module")
def compose():
    """sam2's own way from a YAML to a model, with the overrides of its `build_sam2`."""
    import sam2  # noqa: F401 - initialises Hydra
    from hydra import compose as hydra_compose
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    extra = "++model.sam_mask_decoder_extra_args.dynamic_multimask"
    overrides = [
        f"{extra}_via_stability=true",
        f"{extra}_stability_delta=0.05",
        f"{extra}_stability_thresh=0.98",
    ]

    def make(yaml: str) -> torch.nn.Module:
        config = hydra_compose(config_name=yaml, overrides=overrides)
        OmegaConf.resolve(config)
        with torch.random.fork_rng(devices=[]):
            return instantiate(config.model, _recursive_=True).eval()

    return make


def test_every_yaml_has_an_architecture():
    assert set(YAMLS) | {"nuclei-nano"} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", YAMLS)
def test_same_as_sam2(name, compose):
    ours, theirs = build(ARCHITECTURES[name]), compose(YAMLS[name])
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    a, b = _behaviour(ours), _behaviour(theirs)
    assert len(a) > 1000
    assert {k: (a.get(k), b.get(k)) for k in a.keys() | b.keys() if a.get(k) != b.get(k)} == {}


def test_the_comparison_sees_differences(compose):
    from dataclasses import replace

    base = ARCHITECTURES["sam2.1_hiera_tiny"]
    reference = _behaviour(compose(YAMLS[base.name]))
    for change in (
        {"image_size": 512},
        {"global_att_blocks": (5, 7)},
        {"window_spec": (8, 4, 7, 7)},
        {"fpn_top_down_levels": (3,)},
    ):
        assert _behaviour(build(replace(base, **change))) != reference


def test_image_encoder_gives_the_same_features(compose):
    ours = build(ARCHITECTURES["sam2.1_hiera_tiny"])
    theirs = compose(YAMLS["sam2.1_hiera_tiny"])
    theirs.load_state_dict(ours.state_dict())
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        a, b = ours.image_encoder(image), theirs.image_encoder(image)
    for x, y in zip(a["backbone_fpn"], b["backbone_fpn"], strict=True):
        assert torch.equal(x, y)
