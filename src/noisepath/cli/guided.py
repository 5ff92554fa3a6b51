"""How ``noisepath sample`` guides: the method that its options name, around the run's model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch

from noisepath.errors import lookup
from noisepath.guidance import apg, autoguidance, cfg_plus_plus, cfg_zero_star, classifier_free
from noisepath.guidance.conditional import undropped
from noisepath.training.earlier import load_earlier

if TYPE_CHECKING:
    from noisepath.cli.options import Sample
    from noisepath.conditions import Condition
    from noisepath.denoiser import Denoise, Denoiser

__all__ = ["METHODS", "guided", "how_guided"]

METHODS: dict[str, Callable[..., Denoise]] = {
    "classifier_free": classifier_free,
    "cfg_plus_plus": cfg_plus_plus,
    "cfg_zero_star": cfg_zero_star,
    "apg": apg,
    "autoguidance": autoguidance,
}
"""Those that need nothing but a scale, and what a run has."""


def guided(denoiser: Denoiser, command: Sample, negative: Condition | None = None) -> Denoise:
    """The run's model, guided as the command says, away from what is ``negative``.

    ValueError for an unknown method, an option that the method does not have, and a model that it can't guide.
    """
    make, extra = lookup(METHODS, command.method, "guidance method"), _extra(command)
    if negative is not None:
        if command.method == "autoguidance" or command.guidance == 1.0:
            raise ValueError("--negative is what guidance leads away from: say --guidance above 1, and not autoguidance")
        extra["negative"] = negative
    if command.method == "autoguidance":
        if command.guidance == 1.0:
            return denoiser
        return autoguidance(denoiser, _weaker(denoiser, command), command.guidance, **extra)
    none = command.guidance == 1.0 and command.method != "cfg_plus_plus"
    if not none and negative is None and (reason := undropped(denoiser)):
        raise ValueError(f"{reason}: sample with --guidance 1, or with --method autoguidance")
    return make(denoiser, command.guidance, **extra)


def how_guided(command: Sample) -> dict[str, object]:
    """What of it a picture's file is told, beside the scale."""
    told = {"method": command.method} if command.method != "classifier_free" else {}
    return {**told, **{f"guidance {name}": value for name, value in _extra(command).items()}}


def _extra(command: Sample) -> dict[str, Any]:
    """The options that are said, if the method has them."""
    for name, said in (("guidance-interval", command.guidance_interval is not None), ("rescale", bool(command.rescale))):
        if said and command.guidance == 1.0 and command.method != "cfg_plus_plus":
            raise ValueError(f"--{name} does nothing at --guidance 1, which is none: say another scale, or leave it out")
    extra: dict[str, Any] = {}
    if command.guidance_interval is not None:
        if command.method == "cfg_plus_plus":
            raise ValueError("--guidance-interval is not for cfg_plus_plus, which has no scale that means none")
        extra["interval"] = command.guidance_interval
    if command.rescale:
        if command.method != "classifier_free":
            raise ValueError(f"--rescale is for classifier_free guidance alone, but the method is {command.method}")
        extra["rescale"] = command.rescale
    return extra


def _weaker(denoiser: Denoiser, command: Sample) -> Denoiser:
    """An earlier state of the run, computing as the model does."""
    parameter = next(denoiser.network.parameters())  # type: ignore[attr-defined]
    limit: Literal["stored"] | None = "stored" if command.limit else None
    weaker, _ = load_earlier(command.run, denoiser.info["steps"], str(parameter.device), limit=limit)
    assert isinstance(weaker.network, torch.nn.Module)
    weaker.network.to(parameter.dtype)
    return weaker
