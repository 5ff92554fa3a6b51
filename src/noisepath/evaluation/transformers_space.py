"""Features of a Hugging Face vision model that lies in a folder: ViT, DINOv2, CLIP, SigLIP, ConvNeXt, ResNet, ...

Nothing is fetched: the folder holds config.json, weights as safetensors and, where the model has one,
preprocessor_config.json with the mean and spread of its pictures.  The features are the mean of the last hidden states
(tokens or places): no head, which a folder may lack.  Needs the extra ``transformers``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from noisepath.evaluation.space import Space, hash_of
from noisepath.model_folders import read_json, refuse_code

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["transformers_space"]

_HALF = (0.5, 0.5, 0.5)


def transformers_space(folder: Path, device: str = "cpu") -> Space:
    """The space of a model folder, named after it; ValueError where it can't be used, or transformers is missing."""
    config = read_json(folder / "config.json")
    refuse_code(folder / "config.json", config)
    prepared = read_json(folder / "preprocessor_config.json") if (folder / "preprocessor_config.json").is_file() else {}
    mean, spread = _three(prepared, "image_mean"), _three(prepared, "image_std")
    side = _side(folder, config, prepared)
    model, weights = _loaded(folder)
    network: torch.nn.Module = getattr(model, "vision_model", model)  # of one with words and pictures the pictures' part
    network = network.to(device).eval().requires_grad_(False)

    def embed(pictures: Tensor) -> Tensor:
        colour = pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures
        large = torch.nn.functional.interpolate(colour, (side, side), mode="bicubic", antialias=True, align_corners=False)
        unit = (large.clamp(-1, 1) + 1) / 2
        told = (unit - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(spread).view(1, 3, 1, 1)
        hidden: Tensor = network(pixel_values=told.to(device)).last_hidden_state
        return hidden.mean(1) if hidden.ndim == 3 else hidden.mean((2, 3))

    identity = hash_of([*weights.items(), ("mean", torch.tensor(mean)), ("spread", torch.tensor(spread))])
    return Space(folder.resolve().name, identity, f"bicubic to {side} x {side}", embed)


def _loaded(folder: Path) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    """The model, from this folder and safetensors alone; and the weights that were there.

    A head that is not there is made up by the library, at random: it is neither used nor part of the identity.
    """
    try:
        from transformers import AutoModel  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ValueError(
            f"features of the model in {str(folder)!r} need transformers, which is not installed: "
            "pip install 'noisepath[transformers]'"
        ) from error
    try:
        model, told = AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True,
            attn_implementation="eager", dtype=torch.float32,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"can't load the model in {str(folder)!r}: {str(error).splitlines()[0]}") from error
    missing = [name for name in told["missing_keys"] if "pool" not in name and "text" not in name]
    if missing:
        raise ValueError(f"the weights in {str(folder)!r} are not whole: {len(missing)} missing ({sorted(missing)[0]} ...)")
    return model, {name: value for name, value in model.state_dict().items() if name not in told["missing_keys"]}


def _side(folder: Path, config: dict[str, Any], prepared: dict[str, Any]) -> int:
    """Height and width that the model was made for."""
    told = [prepared.get("crop_size"), prepared.get("size"), config.get("image_size")]
    told += [part.get("image_size") for part in config.values() if isinstance(part, dict)]
    for value in told:
        if isinstance(value, dict):
            value = value.get("height", value.get("shortest_edge"))
        if isinstance(value, int) and not isinstance(value, bool) and 8 <= value <= 1024:
            return value
    raise ValueError(f"neither config.json nor preprocessor_config.json in {str(folder)!r} says how large pictures must be")


def _three(prepared: dict[str, Any], name: str) -> tuple[float, float, float]:
    value = prepared.get(name, _HALF)
    if not (isinstance(value, list | tuple) and len(value) == 3 and all(_number(v) for v in value)):
        raise ValueError(f"preprocessor_config.json: {name} must be three numbers, but is {value!r}")
    if name == "image_std" and min(value) <= 0:
        raise ValueError(f"preprocessor_config.json: {name} must be above 0, but is {value!r}")
    return float(value[0]), float(value[1]), float(value[2])


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
