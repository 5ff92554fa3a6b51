"""The optimizer of a run: AdamW for all weights, or Muon for the matrices and AdamW for the rest.

Muon (Jordan 2024; with Adam's step length, Liu et al. 2502.16982, eq. 4) replaces a matrix' averaged gradient by the nearest
matrix with orthogonal rows or columns, so that rare directions are learnt as fast as common ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noisepath.training.config import TrainConfig

__all__ = ["Optimizer", "matrices", "optimizer_of"]

SMALLEST = 16
"""Rows and columns that a weight needs to be a matrix; of fewer, as of an output of three channels, no direction is rare."""


class Optimizer:
    """One or two of torch's optimizers as one.  ``tensors`` are all of its state: "number of the parameter.name"."""

    def __init__(self, parts: Iterable[torch.optim.Optimizer], prepare: Callable[[], None] = lambda: None) -> None:
        self.parts, self._prepare = tuple(parts), prepare

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts, in which the learning rate is set."""
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        """Move the weights."""
        self._prepare()
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        """Let go of the gradients, also where the network's own are seen as matrices."""
        for part in self.parts:
            part.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """The state, to be saved."""
        found: dict[str, Tensor] = {}
        for first, part in self._counted():
            for index, slots in part.state_dict()["state"].items():
                found |= {f"{first + index}.{slot}": value for slot, value in slots.items()}
        return found

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from where :meth:`tensors` was taken."""
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, slot = name.split(".")
            slots.setdefault(int(index), {})[slot] = value
        for first, part in self._counted():
            own = {index - first: slots[index] for index in range(first, first + _count(part)) if index in slots}
            part.load_state_dict({"state": own, "param_groups": part.state_dict()["param_groups"]})

    def _counted(self) -> Iterable[tuple[int, torch.optim.Optimizer]]:
        """Each part with the number of its first parameter."""
        first = 0
        for part in self.parts:
            yield first, part
            first += _count(part)


def _count(part: torch.optim.Optimizer) -> int:
    return sum(len(group["params"]) for group in part.param_groups)


def optimizer_of(network: nn.Module, config: TrainConfig, device: torch.device) -> Optimizer:
    """The optimizer that ``config`` names, for the weights of a network that are trained."""
    trained = [p for p in network.parameters() if p.requires_grad]
    if config.optimizer != "muon":
        return Optimizer([_adamw(trained, config, device)])
    chosen = matrices(network)
    flat = [nn.Parameter(p.detach().view(len(p), -1)) for p in chosen]  # the same memory, as the matrices that torch's takes

    def give_gradients() -> None:
        for view, p in zip(flat, chosen, strict=True):
            view.grad = None if p.grad is None else p.grad.reshape(view.shape)

    muon = torch.optim.Muon(
        flat, lr=config.learning_rate or 0.0, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    there = {id(p) for p in chosen}
    return Optimizer([_adamw([p for p in trained if id(p) not in there], config, device), muon], give_gradients)


def matrices(network: nn.Module) -> list[nn.Parameter]:
    """The weights of linear and convolution layers that are trained, but for small ones."""
    layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    weights = [layer.weight for layer in layers if isinstance(layer.weight, nn.Parameter)]
    return [w for w in weights if w.requires_grad and min(len(w), w[0].numel()) >= SMALLEST]


def _adamw(parameters: list[nn.Parameter], config: TrainConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW, whose weight decay leaves biases and norms alone."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate or 0.0, betas=config.betas, fused=device.type in ("cpu", "cuda"))
