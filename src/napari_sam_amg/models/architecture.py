"""SAM 2 architectures, built in Python from sam2's own classes.

sam2 builds its models through Hydra, whose state is global to the process. Building
them here instead leaves the host's Hydra alone, cannot instantiate a class that a file
names, and lets a checkpoint be recognised by the shapes of its tensors. The tests
compare every entry below with what sam2 builds from its own YAML.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sam2.modeling.sam2_base import SAM2Base

_OBJECT_HEAD = "object_head."
"""What the names of its tensors in a checkpoint begin with."""


@dataclass(frozen=True)
class Architecture:
    """Everything that sets one SAM 2 model apart from another.

    Attributes
    ----------
    name : str
        Name of the architecture, such as ``sam2.1_hiera_tiny``.
    embed_dim, num_heads, stages, global_att_blocks, window_spec, pos_embed_size
        Arguments of sam2's ``Hiera`` trunk.
    d_model : int
        Width of the neck, the prompt encoder and the mask decoder.
    mem_dim : int
        Width of one memory, for video.
    memory_layers, memory_feedforward : int
        Depth and inner width of the memory attention.
    fpn_top_down_levels : tuple of int
        Neck levels that receive the coarser level's features.
    image_size : int
        Side of the square that the encoder sees, in pixels.
    sam21 : bool
        True for SAM 2.1, False for SAM 2: they differ in how object pointers and
        absent objects are encoded for video.
    stability_delta : float
        Logits this far on either side of 0 tell how steady a mask is, where a single one is
        asked for: with how steep a model's logits are.
    """

    name: str
    embed_dim: int
    num_heads: int
    stages: tuple[int, int, int, int]
    global_att_blocks: tuple[int, ...]
    window_spec: tuple[int, int, int, int] = (8, 4, 14, 7)
    pos_embed_size: int = 14
    d_model: int = 256
    mem_dim: int = 64
    memory_layers: int = 4
    memory_feedforward: int = 2048
    fpn_top_down_levels: tuple[int, ...] = (2, 3)
    image_size: int = 1024
    sam21: bool = True
    stability_delta: float = 0.05  # what sam2's own `build_sam2` sets


def _both_versions(architecture: Architecture) -> tuple[Architecture, Architecture]:
    return architecture, replace(
        architecture, name=architecture.name.replace("sam2.1", "sam2"), sam21=False
    )


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "nuclei-nano",
            embed_dim=32,
            num_heads=1,
            stages=(1, 2, 5, 1),
            global_att_blocks=(5, 7),
            window_spec=(8, 8, 8, 8),
            pos_embed_size=32,
            d_model=128,
            mem_dim=32,
            memory_layers=1,
            memory_feedforward=256,
            fpn_top_down_levels=(0, 1, 2, 3),
            image_size=512,
            stability_delta=0.4,  # its logits were made 8 times as steep, see its card
        ),
        *_both_versions(
            Architecture("sam2.1_hiera_tiny", 96, 1, (1, 2, 7, 2), (5, 7, 9), pos_embed_size=7)
        ),
        *_both_versions(
            Architecture("sam2.1_hiera_small", 96, 1, (1, 2, 11, 2), (7, 10, 13), pos_embed_size=7)
        ),
        *_both_versions(
            Architecture("sam2.1_hiera_base_plus", 112, 2, (2, 3, 16, 3), (12, 16, 20))
        ),
        *_both_versions(
            Architecture(
                "sam2.1_hiera_large",
                144,
                2,
                (2, 6, 36, 4),
                (23, 33, 43),
                window_spec=(8, 4, 16, 8),
                pos_embed_size=7,
            )
        ),
    )
}


def has_object_head(names: Iterable[str]) -> bool:
    """Tell from the names of a checkpoint's tensors whether it has an `ObjectHead`."""
    return any(name.startswith(_OBJECT_HEAD) for name in names)


def build(architecture: Architecture, *, object_head: bool = False) -> SAM2Base:
    """Build an untrained model, in eval mode on the CPU.

    Parameters
    ----------
    architecture : Architecture
        Which model to build; `dataclasses.replace` makes variants, such as a smaller
        ``image_size`` for tests.
    object_head : bool
        Whether the model gets an `ObjectHead`, as ``object_head``, which sam2's have not.

    Returns
    -------
    sam2.modeling.sam2_base.SAM2Base
        float32, random weights. The global random state of torch is left as found.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        model = _build(architecture)
        if object_head:
            from napari_sam_amg.models.object_head import ObjectHead

            model.object_head = ObjectHead(architecture.d_model)
        return model.eval()


def _build(a: Architecture) -> SAM2Base:
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
    from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from sam2.modeling.sam.transformer import RoPEAttention
    from sam2.modeling.sam2_base import SAM2Base

    trunk = Hiera(
        embed_dim=a.embed_dim,
        num_heads=a.num_heads,
        stages=a.stages,
        global_att_blocks=a.global_att_blocks,
        window_spec=a.window_spec,
        window_pos_embed_bkg_spatial_size=(a.pos_embed_size, a.pos_embed_size),
    )
    neck = FpnNeck(
        position_encoding=PositionEmbeddingSine(num_pos_feats=a.d_model, normalize=True),
        d_model=a.d_model,
        backbone_channel_list=trunk.channel_list,
        fpn_top_down_levels=list(a.fpn_top_down_levels),
        fpn_interp_model="nearest",
    )
    feature_size = a.image_size // 16

    def attention(**extra: object) -> RoPEAttention:
        return RoPEAttention(
            rope_theta=10000.0,
            feat_sizes=(feature_size, feature_size),
            embedding_dim=a.d_model,
            num_heads=1,
            downsample_rate=1,
            dropout=0.1,
            **extra,
        )

    memory_attention = MemoryAttention(
        d_model=a.d_model,
        pos_enc_at_input=True,
        num_layers=a.memory_layers,
        layer=MemoryAttentionLayer(
            activation="relu",
            dim_feedforward=a.memory_feedforward,
            dropout=0.1,
            pos_enc_at_attn=False,
            self_attention=attention(),
            d_model=a.d_model,
            pos_enc_at_cross_attn_keys=True,
            pos_enc_at_cross_attn_queries=False,
            cross_attention=attention(rope_k_repeat=True, kv_in_dim=a.mem_dim),
        ),
    )
    memory_encoder = MemoryEncoder(
        out_dim=a.mem_dim,
        in_dim=a.d_model,
        position_encoding=PositionEmbeddingSine(num_pos_feats=a.mem_dim, normalize=True),
        mask_downsampler=MaskDownSampler(embed_dim=a.d_model, kernel_size=3, stride=2, padding=1),
        fuser=Fuser(CXBlock(dim=a.d_model, layer_scale_init_value=1e-6), num_layers=2),
    )
    return SAM2Base(
        image_encoder=ImageEncoder(trunk=trunk, neck=neck, scalp=1),
        memory_attention=memory_attention,
        memory_encoder=memory_encoder,
        num_maskmem=7,
        image_size=a.image_size,
        sigmoid_scale_for_mem_enc=20.0,
        sigmoid_bias_for_mem_enc=-10.0,
        use_mask_input_as_output_without_sam=True,
        directly_add_no_mem_embed=True,
        no_obj_embed_spatial=a.sam21,
        use_high_res_features_in_sam=True,
        multimask_output_in_sam=True,
        iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True,
        add_tpos_enc_to_obj_ptrs=a.sam21,
        proj_tpos_enc_in_obj_ptrs=a.sam21,
        use_signed_tpos_enc_to_obj_ptrs=a.sam21,
        only_obj_ptrs_in_the_past_for_eval=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        fixed_no_obj_ptr=True,
        multimask_output_for_tracking=True,
        use_multimask_token_for_obj_ptr=True,
        multimask_min_pt_num=0,
        multimask_max_pt_num=1,
        use_mlp_for_obj_ptr_proj=True,
        # What sam2's own `build_sam2` adds by default.
        sam_mask_decoder_extra_args={
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": a.stability_delta,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    )
