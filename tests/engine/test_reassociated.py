"""The re-ordered decoder against sam2's own modules in float64, stage by stage."""

from __future__ import annotations

import copy
import itertools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from torch.utils.flop_counter import FlopCounterMode

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.engine import prompts_on_image
from napari_sam_amg.engine.ahead import Ahead
from napari_sam_amg.engine.cross_attention import from_tokens_is_cheaper
from napari_sam_amg.engine.decoder import Decoder
from napari_sam_amg.engine.encoder import Features
from napari_sam_amg.engine.fitting import misfit
from napari_sam_amg.engine.low_rank import LowRankKeys, multiplications
from napari_sam_amg.engine.low_rank_attention import LowRankImageToTokens
from napari_sam_amg.engine.mask_head import MaskHead
from napari_sam_amg.engine.prompts_on_image import PromptsOnImage
from napari_sam_amg.engine.reassociated import Transformer, low_rank_is_faster
from napari_sam_amg.errors import DeviceError
from napari_sam_amg.models.architecture import ARCHITECTURES, build
from napari_sam_amg.parameters import AmgParameters

if TYPE_CHECKING:
    from napari_sam_amg.engine.decoded import Decoded
    from napari_sam_amg.engine.low_rank import Form

SIDE = 12  # positions along a side of the image


def _model(
    width: int,
    seed: int = 0,
    *,
    depth: int = 2,
    high_res: bool = True,
    loud: float = 1.0,
    **extra,
):
    """sam2's decoder and prompt encoder with random weights, norms and biases too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = MaskDecoder(
            transformer_dim=width,
            transformer=TwoWayTransformer(depth, width, 8, mlp_dim=256),
            use_high_res_features=high_res,
            iou_prediction_use_sigmoid=True,
            **extra,
        )
        prompts = PromptEncoder(width, (SIDE, SIDE), (16 * SIDE, 16 * SIDE), 16)
        for parameter in itertools.chain(decoder.parameters(), prompts.parameters()):
            if parameter.ndim == 1:
                parameter.data.add_(0.3 * torch.randn_like(parameter))
            elif parameter.ndim == 2:
                parameter.data.mul_(1.5)  # attention that is not the same everywhere
        for layer in decoder.transformer.layers:
            layer.cross_attn_image_to_token.out_proj.weight.data.mul_(loud)
    return SimpleNamespace(
        sam_mask_decoder=decoder.eval(), sam_prompt_encoder=prompts.eval(), image_size=16 * SIDE
    )


def _features(width: int, *, high_res: bool = True) -> Features:
    generator = torch.Generator().manual_seed(3)

    def random(channels: int, stride: int) -> torch.Tensor:
        side = 16 // stride * SIDE
        return torch.randn(1, channels, side, side, generator=generator)

    levels = [random(width // 8, 4), random(width // 4, 8)] if high_res else []
    return Features(random(width, 16), levels, (16 * SIDE, 16 * SIDE))


SCORED = {"pred_obj_scores": True, "pred_obj_scores_mlp": True}
VARIANTS = {
    "SAM 2": (256, SCORED),
    "nuclei-nano": (128, SCORED),
    "narrow, sam2's order": (64, SCORED),
    "no object score": (256, {}),
    "no features of high resolution": (128, {"high_res": False}),
    "one layer": (128, {"depth": 1}),
    "three layers": (128, {"depth": 3}),
    "three layers, narrow": (64, {"depth": 3}),
    "tokens that say much": (256, SCORED | {"loud": 30.0}),
}


def _stages(model, features: Features, tokens: torch.Tensor, pe: torch.Tensor) -> dict:
    """What sam2's modules say, in the type of their weights."""
    decoder, prompts = model.sam_mask_decoder, model.sam_prompt_encoder
    dtype = decoder.iou_token.weight.dtype
    count = len(tokens)
    image = features.embedding + prompts.no_mask_embed.weight[..., None, None]
    image = image.to(dtype).expand(count, -1, -1, -1)
    queries, keys = decoder.transformer(
        image, pe.to(dtype).expand(count, -1, -1, -1), tokens.to(dtype)
    )
    own = len(decoder.mask_tokens.weight) + decoder.pred_obj_scores + 1
    logits, scores, _, _ = decoder(
        image_embeddings=features.embedding.to(dtype),
        image_pe=pe.to(dtype),
        sparse_prompt_embeddings=tokens[:, own:].to(dtype),
        dense_prompt_embeddings=(image - features.embedding).to(dtype),
        multimask_output=True,
        repeat_image=True,
        high_res_features=[level.to(dtype) for level in features.high_res],
    )
    return {"tokens": queries, "keys": keys, "scores": scores, "logits": logits.flatten(0, 1)}


def _error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).square().mean().sqrt() / exact.std())


@pytest.fixture(params=[False, True], ids=["keys are formed", "low rank"])
def low_rank(request, monkeypatch):
    """Whichever would be faster."""
    monkeypatch.setattr(prompts_on_image, "low_rank_is_faster", lambda *_: request.param)
    return request.param


@pytest.fixture(params=["keys are formed", "low rank", "of some prompts"])
def any_keys(request, monkeypatch):
    """Whichever would be faster; of some prompts as if too little of the squares were left."""
    faster = request.param != "keys are formed"
    monkeypatch.setattr(prompts_on_image, "low_rank_is_faster", lambda *_: faster)
    worked_out, norm = [], LowRankImageToTokens._norm

    def drawn(*arguments):
        found, _ = norm(*arguments)
        left = (1e6 * found.double().sum()).long() % 2  # of a prompt always the same
        worked_out.append(not left)
        return found, left.float()

    if request.param == "of some prompts":
        monkeypatch.setattr(LowRankImageToTokens, "_norm", drawn)
    yield
    assert not worked_out or 0 < sum(worked_out) < len(worked_out)


def _formed(keys: torch.Tensor | LowRankKeys, form: Form | None) -> torch.Tensor:
    if form is None:
        return keys
    return keys.share[..., None] * form.image + keys.rows.mT @ keys.weights + form.shift


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_each_stage_errs_no_more_than_sam2(variant, at_once, low_rank):
    width, options = VARIANTS[variant]
    model = _model(width, **options)
    assert misfit(model) is None
    decoder, prompts = model.sam_mask_decoder, model.sam_prompt_encoder
    features = _features(width, high_res=decoder.use_high_res_features)
    points = 16 * SIDE * torch.rand(6, 2, generator=torch.Generator().manual_seed(4))
    sparse, _ = prompts((points[:, None], torch.ones(6, 1, dtype=torch.int)), None, None)
    own = [decoder.obj_score_token.weight] if decoder.pred_obj_scores else []
    own = torch.cat([*own, decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(6, -1, -1), sparse], dim=1)
    pe = prompts.get_dense_pe()

    theirs = _stages(model, features, tokens, pe)
    exact_model = SimpleNamespace(
        sam_mask_decoder=copy.deepcopy(decoder).double(),
        sam_prompt_encoder=copy.deepcopy(prompts).double(),
    )
    exact = _stages(exact_model, features, tokens, pe)

    image = features.embedding[0].flatten(1).T + prompts.no_mask_embed.weight
    transformer = Transformer(
        decoder.transformer,
        image,
        pe[0].flatten(1).T,
        dtype=torch.float32,
        at_once=at_once,
        low_rank=low_rank,
    )
    keys = transformer.room(*tokens.shape[:2])
    ours = {"tokens": transformer(tokens, keys), "keys": _formed(keys, transformer.form)}
    answer = PromptsOnImage(model, features, fast=False, floor=0.0, multimask_output=True).ask(
        points, 6
    )
    ours |= {"scores": answer.predicted_iou, "logits": answer.logits}
    for stage, values in exact.items():
        assert ours[stage].shape == values.shape
        assert _error(ours[stage], values) <= 1.5 * _error(theirs[stage], values) + 1e-7, stage


@torch.no_grad()
def test_several_prompts_are_upscaled_at_once_as_one_by_one():
    model, features = _model(128, **SCORED), _features(128)
    head = MaskHead(model.sam_mask_decoder, features.high_res, (SIDE, SIDE), dtype=torch.float32)
    keys, hyper = torch.randn(5, SIDE * SIDE, 128), torch.randn(5, 3, 16)
    together, alone = torch.empty(2, 5, 3, 4 * SIDE, 4 * SIDE)
    head(keys, hyper, together)
    for i in range(5):
        head(keys[i : i + 1], hyper[i : i + 1], alone[i : i + 1])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("high_res", [True, False])
@torch.no_grad()
def test_a_mean_taken_off_the_weights_errs_no_more_than_layer_norm(high_res, dtype):
    """What accelerators do, against sam2's modules in float64."""
    model = _model(128, high_res=high_res, **SCORED)
    decoder, features = model.sam_mask_decoder, _features(128, high_res=high_res)
    generator = torch.Generator().manual_seed(1)
    keys = 3 * torch.randn(5, SIDE * SIDE, 128, generator=generator) + 1
    hyper = torch.randn(5, 3, 16, generator=generator)
    exact = copy.deepcopy(decoder).double()
    first, norm, act, second, last = exact.output_upscaling
    s0, s1 = (level.double() for level in features.high_res) if high_res else (0, 0)
    x = first(keys.double().mT.unflatten(2, (SIDE, SIDE))) + s1
    x = last(second(act(norm(x))) + s0)
    expected = (hyper.double() @ x.flatten(2)).view(5, 3, 4 * SIDE, 4 * SIDE)
    errors = []
    for centred in (False, True):
        head = MaskHead(decoder, features.high_res, (SIDE, SIDE), dtype=dtype, centred=centred)
        found = torch.empty(5, 3, 4 * SIDE, 4 * SIDE)
        head(keys.to(dtype), hyper, found)
        errors.append(_error(found, expected))
    assert errors[0] < (1e-5 if dtype == torch.float32 else 0.03)
    assert errors[1] <= 1.5 * errors[0]
    assert errors[1] != errors[0]  # or it was not done


@pytest.mark.parametrize("width", [32, 64, 128, 192, 256])
@pytest.mark.parametrize("tokens", [7, 8, 12, 40])
def test_the_order_with_fewer_multiplications_is_taken(width, tokens):
    attention = _model(256).sam_mask_decoder.transformer.final_attn_token_to_image
    attention = SimpleNamespace(embedding_dim=width, internal_dim=width // 2, num_heads=8)
    n, c, d, rows = 4096, width, width // 2, 8 * tokens
    # Tokens to image: scores and values, each by a projection first, or with the keys directly
    # and the positions apart.
    theirs = 2 * n * c * d + 2 * n * tokens * d
    ours = 2 * rows * n * c + n * tokens * d
    assert from_tokens_is_cheaper(attention, tokens) == (ours <= theirs)


@pytest.mark.parametrize(
    ("width", "tokens", "faster"),
    [(256, 7, True), (256, 8, True), (128, 7, False), (128, 8, False)],
)
@torch.no_grad()
def test_keys_are_not_formed_where_that_is_faster(width, tokens, faster):
    model, features = _model(width, **(SCORED if tokens == 8 else {})), _features(width)
    assert low_rank_is_faster(model.sam_mask_decoder.transformer, tokens) == faster
    for fast in (False, True):
        prompts = PromptsOnImage(model, features, fast=fast, floor=0.0, multimask_output=True)
        assert (prompts._transformer.form is not None) == (faster and not fast)


def _products(_, a, b, **__) -> int:
    return 2 * math.prod(a) * b[-1]


@pytest.mark.parametrize("low_rank", [False, True])
@pytest.mark.parametrize(("width", "depth"), [(256, 1), (256, 2), (256, 3), (128, 2)])
@torch.no_grad()
def test_multiplications_are_counted(width, depth, low_rank):
    transformer = _model(width, depth=depth).sam_mask_decoder.transformer
    in_place = {torch.ops.aten.addmm_: _products, torch.ops.aten.baddbmm_: _products}

    def counted(positions: int) -> float:
        image, pe = torch.randn(2, positions, width)
        ours = Transformer(
            transformer, image, pe, dtype=torch.float32, at_once=1, low_rank=low_rank
        )
        room = ours.room(1, 8)
        with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
            ours(torch.randn(1, 8, width), room)
        return counter.get_total_flops() / 2

    # What is done to tokens alone does not grow with the image.
    slope = (counted(300) - counted(100)) / 200
    # The attention to what all prompts share is one operation that may not be counted.
    shared = 2 * 8 * width // 2
    expected = multiplications(transformer, 8, low_rank=low_rank)
    assert slope in (expected, expected - shared)


@torch.no_grad()
def test_what_cancels_is_worked_out_with_keys():
    model, features = _model(256, **SCORED), _features(256)
    tell = model.sam_mask_decoder.transformer.layers[0].cross_attn_image_to_token
    tell.v_proj.weight.zero_()
    tell.v_proj.bias.zero_()
    constant = torch.randn(256, generator=torch.Generator().manual_seed(5))
    noise = 1e-3 * features.embedding
    tell.out_proj.bias.copy_(-constant)
    model.sam_prompt_encoder.no_mask_embed.weight.copy_(constant[None])
    features = Features(noise, features.high_res, features.frame)
    points = 16 * SIDE * torch.rand(6, 2, generator=torch.Generator().manual_seed(4))
    found = {
        low_rank: PromptsOnImage(
            model, features, fast=False, floor=0.0, multimask_output=True, low_rank=low_rank
        ).ask(points, 6)
        for low_rank in (False, True)
    }
    assert found[True].logits.isfinite().all()
    assert torch.equal(found[True].logits, found[False].logits)
    assert torch.equal(found[True].predicted_iou, found[False].predicted_iou)


@torch.no_grad()
def test_only_prompts_that_need_it_are_worked_out_with_keys(monkeypatch):
    model, features = _model(256, **SCORED), _features(256)
    points = 16 * SIDE * torch.rand(6, 2, generator=torch.Generator().manual_seed(4))
    options = {"fast": False, "multimask_output": True}

    def asked(low_rank: bool, floor: float = 0.0) -> Decoded:
        prompts = PromptsOnImage(model, features, floor=floor, low_rank=low_rank, **options)
        return prompts.ask(points, 5)

    formed, low = asked(False), asked(True)
    assert not torch.equal(formed.logits, low.logits)
    least = []
    original = LowRankKeys.__getitem__

    def noted(self, at):
        least.append(original(self, at))
        return least[-1]

    monkeypatch.setattr(LowRankKeys, "__getitem__", noted)
    asked(True)
    values = least[0].least
    assert (values > prompts_on_image.ENOUGH).all()
    few = values[:5] < values[:5].median()
    monkeypatch.setattr(prompts_on_image, "ENOUGH", float(values[:5].median()))
    for floor in (0.0, float(formed.predicted_iou.median())):
        mixed = asked(True, floor)
        assert torch.equal(
            mixed.predicted_iou, torch.where(few[:, None], formed.predicted_iou, low.predicted_iou)
        )
        passing = mixed.predicted_iou > floor
        assert torch.equal(torch.stack([mixed.prompt, mixed.mask]), passing.nonzero().T)
        logits = torch.where(
            few[:, None, None, None],
            formed.logits.unflatten(0, (5, 3)),
            low.logits.unflatten(0, (5, 3)),
        )
        assert torch.equal(mixed.logits, logits[passing])


class _Other(torch.nn.Linear):
    pass


def _sub_class(decoder) -> None:
    decoder.__class__ = type("MaskDecoder", (MaskDecoder,), {})


def _adapter(decoder) -> None:
    attention = decoder.transformer.layers[1].self_attn
    attention.q_proj = _Other(attention.q_proj.in_features, attention.q_proj.out_features)


CHANGES = {
    "a sub-class": _sub_class,
    "an adapter": _adapter,
    "a hook": lambda d: d.transformer.layers[0].mlp.register_forward_hook(lambda *_: None),
    "a method set on it": lambda d: setattr(d, "predict_masks", d.predict_masks),
    "compiled": lambda d: d.transformer.compile(),
    "training": lambda d: d.train(),
    "another type": lambda d: d.double(),
    "positions in the first layer": lambda d: setattr(
        d.transformer.layers[0], "skip_first_layer_pe", False
    ),
    "another activation": lambda d: d.output_upscaling.__setitem__(2, torch.nn.Softmax(dim=1)),
    "convolutions that overlap": lambda d: d.output_upscaling.__setitem__(
        0, torch.nn.ConvTranspose2d(128, 32, 4, stride=2, padding=1)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_may_compute_something_else_goes_through_sam2(change):
    model = _model(128, **SCORED)
    assert misfit(model) is None
    CHANGES[change](model.sam_mask_decoder)
    assert misfit(model)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_fits(name):
    assert misfit(build(ARCHITECTURES[name])) is None


def test_a_model_that_does_not_fit_is_run_by_its_own_modules(small, sample_images, caplog):
    parameters = {"points_per_side": 6, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    image = sample_images[0][40:200, 250:400]
    model = copy.deepcopy(small)
    expected = AutomaticMaskGenerator(model, **parameters).generate(image)
    assert not caplog.records
    called = []
    model.sam_mask_decoder.register_forward_hook(lambda *_: called.append(1))
    with caplog.at_level("INFO", "napari_sam_amg"):
        found = AutomaticMaskGenerator(model, **parameters).generate(image)
    assert [record for record in caplog.messages if "hooks" in record]
    assert called
    assert len(expected) == len(found) > 3
    for a, b in zip(expected, found, strict=True):
        assert (a["segmentation"] != b["segmentation"]).mean() < 1e-3
        assert a["predicted_iou"] == pytest.approx(b["predicted_iou"], abs=1e-5)


def _decode(model, features, points, *, at_a_time: int, floor: float = 0.0, **parameters):
    decoder = Decoder(model, features, AmgParameters(**parameters), floor=floor)
    starts = range(0, len(points), at_a_time)
    return [decoder.decode(points[start : start + at_a_time]) for start in starts]


WAYS = {
    "three masks": (SCORED, {}),
    "one mask": (SCORED, {"multimask_output": False}),
    "one mask, the steadiest": (
        SCORED | {"dynamic_multimask_via_stability": True},
        {"multimask_output": False},
    ),
    "mask to mask": (SCORED, {"use_m2m": True}),
}


@pytest.mark.parametrize("way", WAYS)
@torch.no_grad()
@pytest.mark.usefixtures("any_keys")
def test_a_floor_leaves_out_and_changes_nothing(way):
    options, parameters = WAYS[way]
    model, features = _model(128, **options), _features(128)
    # Steady masks for some prompts and unsteady ones for others.
    model.sam_mask_decoder.output_hypernetworks_mlps[0].layers[-1].weight.mul_(0.02)
    points = np.random.default_rng(1).uniform(0, 16 * SIDE, (21, 2)).astype(np.float32)
    (everything,) = _decode(model, features, points, at_a_time=21, **parameters)
    scores = everything.predicted_iou
    assert len(everything.logits) == scores.numel()
    ordered = scores.flatten().sort().values
    for rank in (0, len(ordered) // 2, len(ordered) - 1):
        floor = float(ordered[rank])
        (found,) = _decode(model, features, points, at_a_time=21, floor=floor, **parameters)
        passing = scores > floor
        assert torch.equal(torch.stack([found.prompt, found.mask]), passing.nonzero().T)
        assert torch.equal(found.logits, everything.logits[passing.flatten()])
        assert torch.equal(found.predicted_iou[passing], scores[passing])
        assert not (found.predicted_iou > floor)[~passing].any()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("width", [64, 128, 256])
@torch.no_grad()
@pytest.mark.usefixtures("any_keys")
def test_how_many_come_together_does_not_change_a_bit(way, width):
    options, parameters = WAYS[way]
    model, features = _model(width, **options), _features(width)
    points = np.random.default_rng(2).uniform(0, 16 * SIDE, (21, 2)).astype(np.float32)
    (together,) = _decode(model, features, points, at_a_time=21, floor=0.4, **parameters)
    parts = _decode(model, features, points, at_a_time=5, floor=0.4, **parameters)
    assert len(together.logits) > 3
    assert torch.equal(together.logits, torch.cat([part.logits for part in parts]))
    found = torch.cat([part.predicted_iou for part in parts])
    assert torch.equal(together.predicted_iou, found)


@pytest.mark.parametrize("way", ["three masks", "one mask", "one mask, the steadiest"])
@torch.no_grad()
@pytest.mark.usefixtures("any_keys")
def test_an_accelerator_has_the_next_prompts_before_these_are_waited_for(way, monkeypatch):
    """What comes out is what does on a CPU; the order is that of an accelerator."""
    options, parameters = WAYS[way]
    model, features = _model(128, **options), _features(128)
    points = np.random.default_rng(2).uniform(0, 16 * SIDE, (29, 2)).astype(np.float32)
    expected = _decode(model, features, points, at_a_time=8, floor=0.4, **parameters)
    decoder = Decoder(model, features, AmgParameters(**parameters), floor=0.4)
    decoder._most = 8  # as large as groups on a CPU
    order, count, arriving = [], itertools.count(), prompts_on_image.arriving

    def begin(points):
        number = next(count)
        order.append(f"begin {number}")
        finish = decoder._begin(points)
        order.append(f"begun {number}")
        return lambda: order.append(f"finish {number}") or finish()

    def watched(values):
        return lambda: order.append("wait") or arriving(values)()

    decoder._ahead = Ahead(begin)
    monkeypatch.setattr(prompts_on_image, "arriving", watched)
    chunks = [points[start : start + 8] for start in range(0, 29, 8)]
    found = [decoder.decode(*pair) for pair in itertools.zip_longest(chunks, chunks[1:])]
    expected_order = ["begin 0", "begun 0"]
    for number in (1, 2, 3):
        expected_order += [f"begin {number}", f"begun {number}", f"finish {number - 1}", "wait"]
    # A group of which some prompts are worked out again, with their keys, waits twice.
    assert [what for what, _ in itertools.groupby(order)] == [*expected_order, "finish 3", "wait"]
    assert sum(len(one.logits) for one in expected) > 3
    for one, other in zip(found, expected, strict=True):
        for name in ("logits", "prompt", "mask", "predicted_iou"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
    # Nothing is taken for what it is not: other prompts than were named begin now.
    again = [decoder.decode(chunks[0], chunks[1]), decoder.decode(chunks[2])]
    for one, other in zip(again, [expected[0], expected[2]], strict=True):
        assert torch.equal(one.logits, other.logits)


@torch.no_grad()
def test_too_little_memory_to_begin_ahead(monkeypatch, caplog):
    model, features = _model(128, **SCORED), _features(128)
    points = np.random.default_rng(2).uniform(0, 16 * SIDE, (16, 2)).astype(np.float32)
    expected = _decode(model, features, points, at_a_time=8)
    decoder = Decoder(model, features, AmgParameters())
    decoder._most = 8
    decoder._ahead = Ahead(decoder._begin)
    calls, original = itertools.count(), Transformer.__call__

    def second_fails(self, tokens, room):
        if next(calls) == 1:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, tokens, room)

    monkeypatch.setattr(Transformer, "__call__", second_fails)
    found = [decoder.decode(points[:8], points[8:]), decoder.decode(points[8:])]
    assert decoder.short
    assert "one chunk of prompts at a time" in caplog.text
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.logits, other.logits)
    decoder = Decoder(model, features, AmgParameters())
    decoder._ahead = Ahead(_raise)
    with pytest.raises(ValueError, match="of another kind"):
        decoder.decode(points)


def _raise(_points):
    raise ValueError("of another kind")


@torch.no_grad()
def test_too_little_memory_takes_smaller_groups(monkeypatch, low_rank):
    model, features = _model(128, **SCORED), _features(128)
    points = np.random.default_rng(2).uniform(0, 16 * SIDE, (21, 2)).astype(np.float32)
    (expected,) = _decode(model, features, points, at_a_time=21)
    original, sizes = Transformer.__call__, []

    def limited(self, tokens, room):
        sizes.append(len(tokens))
        if len(tokens) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, tokens, room)

    monkeypatch.setattr(Transformer, "__call__", limited)
    (found,) = _decode(model, features, points, at_a_time=21)
    assert max(sizes) > 2
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.prompt, expected.prompt)

    def never(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Transformer, "__call__", never)
    with pytest.raises(DeviceError, match="too little memory"):
        _decode(model, features, points, at_a_time=21)


@torch.no_grad()
def test_low_precision_is_nearer_than_sam2_in_it():
    model, features = _model(256, **SCORED), _features(256)
    points = 16 * SIDE * torch.rand(8, 2, generator=torch.Generator().manual_seed(4))
    answers = {
        fast: PromptsOnImage(model, features, fast=fast, floor=0.0, multimask_output=True).ask(
            points, 8
        )
        for fast in (False, True)
    }
    other = Decoder(model, features, AmgParameters(), fast=True)
    model.sam_mask_decoder.register_forward_hook(lambda *_: None)
    theirs = Decoder(model, features, AmgParameters(), fast=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = other.decode(points.numpy())
        theirs = theirs.decode(points.numpy())
    assert found.logits.dtype == found.predicted_iou.dtype == torch.float32
    exact = answers[False]
    torch.testing.assert_close(found.logits, answers[True].logits)
    for name in ("logits", "predicted_iou"):
        goal = getattr(exact, name).double()
        assert _error(getattr(found, name), goal) <= _error(getattr(theirs, name), goal)
