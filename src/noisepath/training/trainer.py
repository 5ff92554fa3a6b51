"""The trainer: a network, its optimizer and its moving average, and one step that is read from top to bottom.

Everything random in step n is a hash of (seed, n, sample, purpose), and the learning rate and the average's weight are
functions of n: so a run is its configuration, and a stopped one goes on from ``done`` and its tensors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from noisepath import noise
from noisepath.conditions import Condition
from noisepath.data.dataset import Dataset
from noisepath.training.config import TrainConfig
from noisepath.training.ema import EMA
from noisepath.training.objective import Objective

__all__ = ["Trainer", "learning_rate"]


def learning_rate(config: TrainConfig, total: int, n: int) -> float:
    """The rate of step n = 0 .. total - 1: up linearly over the warm-up, constant, down linearly over the decay's share."""
    warmup = min(config.warmup, total // 10)
    up = min(1.0, (n + 1) / (warmup + 1))
    down = min(1.0, (1 - n / total) / config.decay) if config.decay else 1.0
    return config.learning_rate * up * down


class Trainer:
    """Trains ``network(x, t, label=...)`` on a data set, ``total`` steps in all; ``done`` counts those made."""

    def __init__(self, network: nn.Module, objective: Objective, dataset: Dataset, config: TrainConfig, total: int) -> None:
        if total < 1:
            raise ValueError(f"a run has at least one step, but was given {total}")
        self.network, self.objective, self.dataset, self.config, self.total = network, objective, dataset, config, total
        self.done = 0
        self.device = next(network.parameters()).device
        self.null = Condition(label=torch.tensor([dataset.classes], device=self.device)) if dataset.classes else None
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = _adamw(self.parameters, config, self.device)
        self.ema = EMA(network, config.ema_length)

    def step(self) -> Tensor:
        """One step of the optimizer; gives the batch's mean loss, on the device."""
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.total, self.done)
        loss = torch.stack([self._backward(part) for part in self._parts()]).sum()
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.done += 1
        self.ema.update(self.done)
        return loss

    def _parts(self) -> Iterator[range]:
        """Places in the batch, 0 .. batch_size - 1, cut into ``accumulate`` parts."""
        size = -(-self.config.batch_size // self.config.accumulate)
        for start in range(0, self.config.batch_size, size):
            yield range(start, min(start + size, self.config.batch_size))

    def _backward(self, places: range) -> Tensor:
        """Add the gradient of a part of the batch; gives its share of the mean loss."""
        seed, total = self.config.seed, self.config.batch_size
        samples = [self.done * total + place for place in places]
        x0, labels = self.dataset.batch(self.dataset.shown(seed, samples))
        told = None if labels is None else Condition(label=labels.to(self.device))
        with _torch_seed(noise.key(seed, self.done, "network", places.start), self.device):
            losses = self.objective.losses(
                self._network(), x0.to(self.device), told, null=self.null,
                seed=seed, step=self.done, samples=samples, positions=places, total=total,
            )  # fmt: skip
            share = losses.weighted.sum() / total
            share.backward()  # type: ignore[no-untyped-call]
        if (update := getattr(self.objective.times, "update", None)) is not None:
            update(losses.t, losses.loss.detach().cpu())
        return share.detach()

    def _network(self) -> Callable[..., Tensor]:
        """The network, in half precision if that is configured."""
        if self.config.precision == "float32":
            return self.network

        def half(*args: Tensor, **condition: Tensor) -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16):
                output: Tensor = self.network(*args, **condition)
            return output.float()

        return half

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that a run needs to go on: tensors, and plain values."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"ema.{name}": value for name, value in self.ema.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items()}
        times: dict[str, Any] = getattr(self.objective.times, "state_dict", dict)()
        return tensors, {"done": self.done, "total": self.total, "times": times, "config": self.config.to_dict()}

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on where :meth:`state` was taken: the next steps are those that the first run would have made."""
        self.network.load_state_dict(_under("network.", tensors))
        self.ema.load_state_dict(_under("ema.", tensors))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            index, slot = name.split(".")
            slots.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict({"state": slots, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if values["times"]:
            self.objective.times.load_state_dict(values["times"])
        self.done, self.total = int(values["done"]), int(values["total"])


def _adamw(parameters: list[nn.Parameter], config: TrainConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW, whose weight decay leaves biases and norms alone."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=device.type in ("cpu", "cuda"))


@contextmanager
def _torch_seed(key: int, device: torch.device) -> Iterator[None]:
    """torch's own generators, which dropout draws from, seeded for a while and put back after."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(key >> 1)
        yield


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
