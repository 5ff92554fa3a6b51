"""The processes that make one run together: one alone, or those that ``accelerate launch`` (or torchrun) has started.

Each process computes its part of every batch, and the gradients are averaged.  Since every draw belongs to a sample's
number in the whole run, the parts are those of the batch that a single process would have seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Launched", "Processes", "processes", "share"]


class Processes:
    """A single process; and what several have to answer too."""

    rank, count = 0, 1

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> Callable[..., Tensor]:
        """The network as it is to be called in a training step."""
        return network

    def release(self) -> None:
        """Let go of the networks that were wrapped so far: they are called no more."""

    @contextmanager
    def without_sync(self, wanted: bool) -> Iterator[None]:
        """While ``wanted``, gradients are only added up here and not averaged over the processes."""
        yield

    def total(self, values: Tensor) -> Tensor:
        """The sum of a small tensor over all processes."""
        return values

    def gathered(self, values: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks."""
        return values

    def from_main(self, value: Any) -> Any:
        """The main process's plain value."""
        return value

    def wait(self) -> None:
        """Until all processes have come here."""


class Launched(Processes):
    """One of several processes, through Hugging Face accelerate: it places the network and averages the gradients."""

    def __init__(self, device: str) -> None:
        accelerator = _accelerate().Accelerator(cpu=device == "cpu")
        super().__init__(str(accelerator.device))
        self._accelerator = accelerator
        self.rank, self.count = accelerator.process_index, accelerator.num_processes
        self._wrapped: Any = None

    def wrap(self, network: nn.Module) -> Callable[..., Tensor]:
        self._wrapped = self._accelerator.prepare(network)
        called: Callable[..., Tensor] = self._wrapped
        return called

    def release(self) -> None:
        self._accelerator.free_memory()
        self._wrapped = None

    @contextmanager
    def without_sync(self, wanted: bool) -> Iterator[None]:
        if not wanted:
            yield
            return
        with self._accelerator.no_sync(self._wrapped):
            yield

    def total(self, values: Tensor) -> Tensor:
        summed: Tensor = self._accelerator.reduce(values.to(self.device), reduction="sum")
        return summed

    def gathered(self, values: Tensor) -> Tensor:
        rows: Tensor = self._accelerator.gather(values.to(self.device))
        return rows

    def from_main(self, value: Any) -> Any:
        told = [value]
        _accelerate().utils.broadcast_object_list(told)
        return told[0]

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()


def processes(device: str) -> Processes:
    """The processes of this run: several if a launcher says so in ``WORLD_SIZE``."""
    return Launched(device) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Processes(device)


def share(places: Sequence[int], rank: int, count: int) -> Sequence[int]:
    """This process's part of a batch, whose size is a multiple of ``count``."""
    size = len(places) // count
    return places[rank * size : (rank + 1) * size]


def _accelerate() -> Any:
    try:
        import accelerate
    except ImportError as error:
        raise ValueError("several processes need accelerate: pip install 'noisepath[accelerate]'") from error
    return accelerate
