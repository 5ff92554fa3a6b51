"""Networks of diffusers, tiny and with random weights: one step here is one step of their own pipeline's loop.

How each is called stands here as in its pipeline: what it is given as time, by which names, and the sign of its answer.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from noisepath import Condition, Denoiser, sample
from noisepath.levels import Level
from noisepath.tableau import START

diffusers = pytest.importorskip("diffusers")
logging.getLogger("diffusers").setLevel(logging.ERROR)

ROWS, TOKENS, WIDTH = 2, 3, 8


def draw(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


TEXT = draw(ROWS, TOKENS, WIDTH)
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])
POOLED = draw(ROWS, WIDTH, seed=6)
LABELS = torch.tensor([1, 3])
IMG_IDS = torch.stack([torch.zeros(4), torch.arange(4) // 2, torch.arange(4) % 2], -1)
TXT_IDS = torch.zeros(TOKENS, 3)
SIZES = torch.tensor([[8.0, 8.0], [8.0, 8.0]])

Theirs = Callable[[Any, Tensor, Tensor], Any]
"""(network, state, the scheduler's t (B,)) -> what its pipeline hands to the scheduler's step."""


@dataclass(frozen=True)
class Case:
    """One class: how it is made, called by its pipeline, and called here."""

    make: Callable[[], Any]
    shape: tuple[int, ...]
    scheduler: Callable[[], Any]
    theirs: Theirs
    condition: Mapping[str, Tensor] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


def ddim() -> Any:
    return diffusers.DDIMScheduler(clip_sample=False)


def flow() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)


def unet2d(**options: Any) -> Any:
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=2, out_channels=2, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), **options,
    )  # fmt: skip


def unet2d_condition(**options: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4,
        cross_attention_dim=WIDTH, attention_head_dim=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **options,
    )  # fmt: skip


def sdxl() -> Any:
    return unet2d_condition(
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=WIDTH + 24
    )


def svd() -> Any:
    return diffusers.EulerDiscreteScheduler(
        prediction_type="v_prediction", timestep_type="continuous", use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0,
        beta_schedule="scaled_linear",
    )  # fmt: skip


TIME_IDS = torch.tensor([[8.0, 8.0, 0.0, 0.0, 8.0, 8.0]] * 2)
ADDED = {"text_embeds": POOLED, "time_ids": TIME_IDS}
TEXTS = {"text": TEXT}

CASES: dict[str, Case] = {
    "UNet2DModel": Case(
        lambda: unet2d(num_class_embeds=5),
        (2, 8, 8),
        ddim,
        lambda net, x, t: net(x, t, class_labels=LABELS).sample,
        {"label": LABELS},
    ),
    "UNet2DConditionModel": Case(
        unet2d_condition, (4, 8, 8), ddim, lambda net, x, t: net(x, t, encoder_hidden_states=TEXT).sample, TEXTS
    ),
    "UNet2DConditionModel SDXL": Case(
        sdxl,
        (4, 8, 8),
        lambda: diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading"),
        lambda net, x, t: net(x, t, encoder_hidden_states=TEXT, added_cond_kwargs=ADDED).sample,
        {**TEXTS, **ADDED},
    ),
    "UNet3DConditionModel": Case(
        lambda: diffusers.UNet3DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(8, 8),
            norm_num_groups=4,
            cross_attention_dim=WIDTH,
            attention_head_dim=4,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        ),
        (4, 2, 8, 8),
        ddim,
        lambda net, x, t: net(x, t, encoder_hidden_states=TEXT).sample,
        TEXTS,
    ),
    "UNetSpatioTemporalConditionModel": Case(
        lambda: diffusers.UNetSpatioTemporalConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(64, 64),
            cross_attention_dim=WIDTH,
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=12,
            num_attention_heads=(2, 2),
            num_frames=2,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        ),
        (2, 4, 8, 8),
        svd,
        lambda net, x, t: net(x, t, encoder_hidden_states=TEXT[:, :1], added_time_ids=TIME_IDS[:, :3]).sample,
        {"text": TEXT[:, :1], "added_time_ids": TIME_IDS[:, :3]},
    ),
    "UNet1DModel": Case(
        lambda: diffusers.UNet1DModel(
            sample_size=32,
            in_channels=2,
            out_channels=2,
            block_out_channels=(16, 16, 32),
            extra_in_channels=32,
            down_block_types=("DownBlock1DNoSkip", "DownBlock1D", "DownBlock1D"),
            up_block_types=("UpBlock1D", "UpBlock1D", "UpBlock1DNoSkip"),
        ),
        (2, 32),
        diffusers.IPNDMScheduler,
        lambda net, x, t: net(x, t).sample,
    ),
    "DiTTransformer2DModel": Case(
        lambda: diffusers.DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=4,
            in_channels=4,
            out_channels=8,
            num_layers=1,
            sample_size=8,
            num_embeds_ada_norm=4,
            norm_num_groups=4,
        ),
        (4, 8, 8),
        ddim,
        lambda net, x, t: net(x, t, class_labels=LABELS).sample.chunk(2, 1)[0],
        {"label": LABELS},
    ),
    "PixArtTransformer2DModel": Case(
        lambda: diffusers.PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=4,
            in_channels=4,
            out_channels=8,
            num_layers=1,
            sample_size=8,
            cross_attention_dim=8,
            caption_channels=WIDTH,
            use_additional_conditions=False,
            norm_num_groups=4,
        ),
        (4, 8, 8),
        ddim,
        lambda net, x, t: net(x, encoder_hidden_states=TEXT, encoder_attention_mask=MASK, timestep=t).sample.chunk(2, 1)[0],
        {**TEXTS, "encoder_attention_mask": MASK},
    ),
    "PixArtTransformer2DModel of 1024": Case(
        lambda: diffusers.PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=8,
            num_layers=1,
            sample_size=8,
            cross_attention_dim=24,
            caption_channels=WIDTH,
            use_additional_conditions=True,
            norm_num_groups=4,
        ),
        (4, 8, 8),
        ddim,
        lambda net, x, t: net(
            x, encoder_hidden_states=TEXT, timestep=t, added_cond_kwargs={"resolution": SIZES, "aspect_ratio": SIZES[:, :1]}
        ).sample.chunk(2, 1)[0],
        {**TEXTS, "added_cond_kwargs.resolution": SIZES, "aspect_ratio": SIZES[:, :1]},
    ),
    "HunyuanDiT2DModel": Case(
        lambda: diffusers.HunyuanDiT2DModel(
            num_attention_heads=2,
            attention_head_dim=4,
            in_channels=4,
            patch_size=2,
            sample_size=8,
            hidden_size=8,
            num_layers=2,
            cross_attention_dim=WIDTH,
            cross_attention_dim_t5=WIDTH,
            pooled_projection_dim=4,
            text_len=TOKENS,
            text_len_t5=TOKENS,
            use_style_cond_and_image_meta_size=False,
        ),
        (4, 8, 8),
        ddim,
        lambda net, x, t: net(
            x,
            t.float(),
            encoder_hidden_states=TEXT,
            text_embedding_mask=MASK,
            encoder_hidden_states_t5=TEXT,
            text_embedding_mask_t5=MASK,
        ).sample.chunk(2, 1)[0],
        {**TEXTS, "text_embedding_mask": MASK, "encoder_hidden_states_t5": TEXT, "text_embedding_mask_t5": MASK},
    ),
    "CogVideoXTransformer3DModel": Case(
        lambda: diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            time_embed_dim=4,
            text_embed_dim=WIDTH,
            num_layers=1,
            sample_width=4,
            sample_height=4,
            sample_frames=5,
            max_text_seq_length=TOKENS,
        ),
        (2, 4, 4, 4),
        lambda: diffusers.CogVideoXDDIMScheduler(prediction_type="v_prediction"),
        lambda net, x, t: net(x, encoder_hidden_states=TEXT, timestep=t).sample,
        TEXTS,
    ),
    "SD3Transformer2DModel": Case(
        lambda: diffusers.SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=4,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            caption_projection_dim=8,
            pooled_projection_dim=WIDTH,
            out_channels=4,
            pos_embed_max_size=8,
        ),
        (4, 8, 8),
        flow,
        lambda net, x, t: net(x, encoder_hidden_states=TEXT, pooled_projections=POOLED, timestep=t).sample,
        {**TEXTS, "pooled_projections": POOLED},
    ),
    "FluxTransformer2DModel": Case(
        lambda: diffusers.FluxTransformer2DModel(
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=(2, 2, 4),
        ),
        (4, 4),
        flow,
        lambda net, x, t: (
            net(
                x,
                timestep=t / 1000,
                pooled_projections=POOLED,
                encoder_hidden_states=TEXT,
                txt_ids=TXT_IDS,
                img_ids=IMG_IDS,
            ).sample
        ),
        {**TEXTS, "pooled_projections": POOLED},
        {"txt_ids": TXT_IDS, "img_ids": IMG_IDS},
    ),
    "ChromaTransformer2DModel": Case(
        lambda: diffusers.ChromaTransformer2DModel(
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(2, 2, 4),
            approximator_num_channels=8,
            approximator_hidden_dim=8,
            approximator_layers=1,
        ),
        (4, 4),
        flow,
        lambda net, x, t: net(x, timestep=t / 1000, encoder_hidden_states=TEXT, txt_ids=TXT_IDS, img_ids=IMG_IDS).sample,
        TEXTS,
        {"txt_ids": TXT_IDS, "img_ids": IMG_IDS},
    ),
    "QwenImageTransformer2DModel": Case(
        lambda: diffusers.QwenImageTransformer2DModel(
            in_channels=4,
            out_channels=1,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(2, 2, 4),
        ),
        (4, 4),
        flow,
        lambda net, x, t: (
            net(
                x,
                timestep=t / 1000,
                encoder_hidden_states=TEXT,
                encoder_hidden_states_mask=MASK,
                img_shapes=[[(1, 2, 2)]] * ROWS,
            ).sample
        ),
        {**TEXTS, "encoder_hidden_states_mask": MASK},
        {"img_shapes": [[(1, 2, 2)]] * ROWS},
    ),
    "AuraFlowTransformer2DModel": Case(
        lambda: diffusers.AuraFlowTransformer2DModel(
            sample_size=8,
            in_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=4,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            caption_projection_dim=8,
            out_channels=4,
            pos_embed_max_size=16,
        ),
        (4, 8, 8),
        flow,
        lambda net, x, t: net(x, encoder_hidden_states=TEXT, timestep=t / 1000).sample,
        TEXTS,
    ),
    "Lumina2Transformer2DModel": Case(
        lambda: diffusers.Lumina2Transformer2DModel(
            sample_size=8,
            in_channels=4,
            hidden_size=16,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=2,
            multiple_of=4,
            axes_dim_rope=(4, 2, 2),
            axes_lens=(16, 8, 8),
            cap_feat_dim=WIDTH,
        ),
        (4, 8, 8),
        flow,
        lambda net, x, t: -net(x, timestep=1 - t / 1000, encoder_hidden_states=TEXT, encoder_attention_mask=MASK.bool()).sample,
        {**TEXTS, "encoder_attention_mask": MASK.bool()},
    ),
    "SanaTransformer2DModel": Case(
        lambda: diffusers.SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=4,
            num_attention_heads=2,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=WIDTH,
            sample_size=8,
            timestep_scale=0.5,
        ),
        (4, 8, 8),
        flow,
        lambda net, x, t: net(x, encoder_hidden_states=TEXT, timestep=t * 0.5).sample,
        TEXTS,
    ),
    "LTXVideoTransformer3DModel": Case(
        lambda: diffusers.LTXVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            num_layers=1,
            caption_channels=WIDTH,
        ),
        (8, 4),
        flow,
        lambda net, x, t: (
            net(
                x,
                encoder_hidden_states=TEXT,
                timestep=t,
                encoder_attention_mask=MASK,
                num_frames=2,
                height=2,
                width=2,
            ).sample
        ),
        {**TEXTS, "encoder_attention_mask": MASK},
        {"num_frames": 2, "height": 2, "width": 2},
    ),
    "WanTransformer3DModel": Case(
        lambda: diffusers.WanTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            text_dim=WIDTH,
            freq_dim=8,
            ffn_dim=16,
            num_layers=1,
            rope_max_seq_len=16,
        ),
        (4, 1, 4, 4),
        flow,
        lambda net, x, t: net(x, timestep=t, encoder_hidden_states=TEXT).sample,
        TEXTS,
    ),
    "MochiTransformer3DModel": Case(
        lambda: diffusers.MochiTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=2,
            pooled_projection_dim=8,
            in_channels=4,
            text_embed_dim=WIDTH,
            time_embed_dim=4,
            max_sequence_length=TOKENS,
        ),
        (4, 1, 4, 4),
        lambda: diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        lambda net, x, t: net(x, encoder_hidden_states=TEXT, timestep=t, encoder_attention_mask=MASK.bool()).sample,
        {**TEXTS, "encoder_attention_mask": MASK.bool()},
    ),
    "HunyuanVideoTransformer3DModel": Case(
        lambda: diffusers.HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            text_embed_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            rope_axes_dim=(2, 2, 4),
        ),
        (4, 1, 4, 4),
        flow,
        lambda net, x, t: (
            net(
                x,
                timestep=t,
                encoder_hidden_states=TEXT,
                encoder_attention_mask=MASK,
                pooled_projections=POOLED,
                guidance=torch.full((ROWS,), 6000.0),
            ).sample
        ),
        {**TEXTS, "encoder_attention_mask": MASK, "pooled_projections": POOLED, "guidance": torch.full((ROWS,), 6000.0)},
    ),
    "CogView4Transformer2DModel": Case(
        lambda: diffusers.CogView4Transformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            text_embed_dim=WIDTH,
            time_embed_dim=8,
            condition_dim=4,
            pos_embed_max_size=8,
            sample_size=8,
            rope_axes_dim=(8, 8),
        ),
        (4, 8, 8),
        flow,
        lambda net, x, t: (
            net(
                x,
                encoder_hidden_states=TEXT,
                timestep=t,
                original_size=SIZES,
                target_size=SIZES,
                crop_coords=0 * SIZES,
            ).sample
        ),
        {**TEXTS, "original_size": SIZES, "target_size": SIZES, "crop_coords": 0 * SIZES},
    ),
}


def built(case: Case) -> Any:
    """The network with weights that leave nothing without effect: as they come many parts are zero."""
    torch.manual_seed(3)
    net = case.make().eval().requires_grad_(False)
    for name, weight in net.named_parameters():
        noise = torch.randn_like(weight) * (0.6 / max(1, weight[0].numel()) ** 0.5 if weight.ndim > 1 else 0.2)
        weight.copy_(noise + (1.0 if weight.ndim == 1 and name.endswith("weight") else 0.0))
    return net


def level_of(scheduler: Any, place: int) -> Level:
    """The level of a scheduler's own run, in the frame of its own states."""
    kind = type(scheduler).__name__
    if kind == "IPNDMScheduler":
        return Level(float(scheduler.alphas[place]), float(scheduler.betas[place]))
    if kind == "FlowMatchEulerDiscreteScheduler":
        sigma = float(scheduler.sigmas[place])
        return Level(sigma, 1 - sigma) if scheduler.config.get("invert_sigmas") else Level(1 - sigma, sigma)
    if kind == "EulerDiscreteScheduler":
        return Level(1.0, float(scheduler.sigmas[place]))
    bar = scheduler.alphas_cumprod[scheduler.timesteps[place]]
    return Level(float(bar.sqrt()), float((1 - bar).sqrt()))


def one_step(case: Case, net: Any, scheduler: Any, x: Tensor, place: int) -> Tensor:
    """As the pipeline does it."""
    t = scheduler.timesteps[place]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(place)
    scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
    out = case.theirs(net, scaled, t.expand(len(x)))
    after: Tensor = scheduler.step(out, t, x).prev_sample
    return after


@pytest.mark.parametrize("name", CASES)
def test_one_step_is_that_of_its_own_pipeline(name: str) -> None:
    case, place = CASES[name], 3
    net, scheduler = built(case), case.scheduler()
    scheduler.set_timesteps(10)
    x = draw(ROWS, *case.shape, seed=9)
    levels = [level_of(scheduler, place), level_of(scheduler, place + 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Denoiser.from_diffusers(net, scheduler, arguments=case.arguments)
        condition = Condition(case.condition) if case.condition else None
        got = sample(
            model,
            tuple(x.shape),
            solver="ddim",
            levels=levels,
            noise={START: x / levels[0].sigma}.__getitem__,
            condition=condition,
        )
        expected = one_step(case, net, copy.deepcopy(scheduler), x, place)
        assert float((got - expected).abs().max() / expected.abs().max()) < 1e-5
        # what is compared depends on the time and on every part of the condition
        t = scheduler.timesteps[place].expand(ROWS).float()
        out = case.theirs(net, x, t)
        parts = [name for name in case.condition if not name.endswith("mask")]
        without = {
            name: model(x, levels[0], Condition({**case.condition, name: case.condition[name].flip(0)}))
            for name in parts
            if not torch.equal(case.condition[name], case.condition[name].flip(0))
        }
        whole = model(x, levels[0], condition)
    for part, other in without.items():
        assert not torch.equal(other, whole), part
    assert float((case.theirs(net, x, t * 0.9) - out).abs().max() / out.abs().max()) > 1e-3
