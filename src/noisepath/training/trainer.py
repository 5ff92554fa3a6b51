"""The trainer: a network, its optimizer and its moving averages, and one step that is read from top to bottom.

Everything random in step n is a hash of (seed, n, sample, purpose), and the learning rate and the averages' weights are
functions of n: so a run is its configuration, and a stopped one goes on from ``done`` and its tensors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from noisepath import noise
from noisepath.asking import Vocabulary
from noisepath.asking.kept import Rows
from noisepath.conditions import Condition
from noisepath.data import Bad, Batch, Data, Steps, Stream
from noisepath.nn.dropout import sample_keys
from noisepath.training.checkpoint import AVERAGES, State
from noisepath.training.config import TrainConfig
from noisepath.training.ema import EMA
from noisepath.training.objective import Losses, Objective
from noisepath.training.optimizer import optimizer_of
from noisepath.training.precision import half
from noisepath.training.processes import Processes, share

__all__ = ["Diverged", "Step", "Trainer", "learning_rate"]

PATIENCE = 10
"""Steps in a row without a finite gradient after which a run is given up."""


class Diverged(ValueError):
    """The loss or its gradient has not been a number for :data:`PATIENCE` steps in a row."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


class Step(NamedTuple):
    """What a step gives: the batch's mean loss, and whether the weights were left as they were because it was no number."""

    loss: float
    skipped: bool


def learning_rate(config: TrainConfig, total: int, n: int) -> float:
    """The rate of step n = 0 .. total - 1: up linearly over the warm-up, constant, down linearly over the decay's share."""
    assert config.learning_rate is not None, "the plan fills it in"
    warmup = min(config.warmup, total // 10)
    up = min(1.0, (n + 1) / (warmup + 1))
    down = min(1.0, (1 - n / total) / config.decay) if config.decay else 1.0
    return config.learning_rate * up * down


class Trainer:
    """Trains ``network(x, t, label=...)`` on pictures, ``total`` steps in all; ``done`` counts those made.

    ``config`` is one that :func:`noisepath.training.plan.choose` has filled in; ``vocabulary`` is what the network is told of
    each picture: of its class, where it has one, if not given.  ``said`` is what each picture says, by name, to be looked up by
    pictures' numbers; the vocabulary's table of the data if not given.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        data: Data,
        config: TrainConfig,
        total: int,
        *,
        processes: Processes | None = None,
        flip: bool = False,
        workers: int = 0,
        vocabulary: Vocabulary | None = None,
        said: Mapping[str, Rows] | None = None,
    ) -> None:
        if total < 1:
            raise ValueError(f"a run has at least one step, but was given {total}")
        self.network, self.objective, self.data, self.config, self.total = network, objective, data, config, total
        self.processes = processes or Processes(str(next(network.parameters()).device))
        if config.batch_size % self.processes.count:
            raise ValueError(
                f"a batch of {config.batch_size} can't be shared by {self.processes.count} processes: choose a multiple"
            )
        self.done = self.skipped = self.in_a_row = 0
        self.bad = Bad(data)
        self.device = self.processes.device
        self.vocabulary = Vocabulary.of(data, ("label",) if data.classes else ()) if vocabulary is None else vocabulary
        self.null = self.vocabulary.null(self.device)
        self.said: Mapping[str, Rows] = self.vocabulary.table(data) if said is None else said
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.called = self.processes.wrap(network)
        self.optimizer = optimizer_of(network, config, self.device)
        self.averages = {name: EMA(network, length) for name, length in zip(AVERAGES, config.ema_lengths, strict=True)}
        self.flip, self._workers = flip, workers
        self._stream: Stream | None = None

    def step(self) -> Step:
        """One step of the optimizer.

        Raises:
            Diverged: this is the tenth step in a row whose gradient is not finite.
            ValueError: too many bad pictures.
        """
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.total, self.done)
        batch = self._next_batch()
        losses = [self._backward(batch, places) for places in self._parts()]
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip or torch.inf)
        share_of_loss = torch.stack([part.weighted.sum() for part in losses]).sum() / self.config.batch_size
        loss = float(self.processes.total(share_of_loss.detach()))
        finite = bool(torch.isfinite(norm)) and loss - loss == 0.0
        if finite:
            self.optimizer.step()
            self._tell_times(losses)
        self.optimizer.zero_grad()
        self.network.zero_grad()
        self.done += 1
        for average in self.averages.values():
            average.update(self.done)
        self.skipped += not finite
        self.in_a_row = 0 if finite else self.in_a_row + 1
        if self.in_a_row >= PATIENCE:
            raise self._diverged(loss, float(norm), batch)
        return Step(loss, not finite)

    def close(self) -> None:
        """End the processes that read pictures."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _next_batch(self) -> Batch:
        """This process's pictures of the step; reading ahead begins with the first call."""
        if self._stream is None:
            left = Steps(self._samples, self.done, self.total)
            self._stream = Stream(self.data, self.config.seed, left, flip=self.flip, workers=self._workers)
        batch = next(self._stream)
        self.bad.note(batch)
        return batch

    def _places(self) -> Sequence[int]:
        """This process's places in the batch 0 .. batch_size - 1."""
        return share(range(self.config.batch_size), self.processes.rank, self.processes.count)

    def _samples(self, step: int) -> list[int]:
        """The numbers, in the whole run, of the samples that this process sees at a step."""
        return [step * self.config.batch_size + place for place in self._places()]

    def _parts(self) -> Iterator[Sequence[int]]:
        """This process's places, cut into ``accumulate`` parts."""
        places = self._places()
        size = -(-len(places) // (self.config.accumulate or 1))
        for start in range(0, len(places), size):
            yield places[start : start + size]

    def _backward(self, batch: Batch, places: Sequence[int]) -> Losses:
        """Add the gradient of a part of the batch."""
        seed, total, first = self.config.seed, self.config.batch_size, self._places()[0]
        rows = slice(places[0] - first, places[-1] + 1 - first)
        x, samples = batch.x[rows], [self.done * total + place for place in places]
        told = self.condition(batch.shown[rows], x, samples)
        last = places[-1] == self._places()[-1]
        with (
            self.processes.without_sync(not last),
            _torch_seed(noise.key(seed, self.done, "network", places[0]), self.device),
            sample_keys(noise.key(seed, self.done, "network"), samples),
        ):
            losses = self.objective.losses(
                self._network(), x.to(self.device), told, null=self.null, seed=seed, step=self.done,
                samples=samples, positions=places, total=total,
            )  # fmt: skip
            # gradients are averaged over the processes, but each has its share of the batch alone
            (losses.weighted.sum() * (self.processes.count / total)).backward()  # type: ignore[no-untyped-call]
        return Losses(losses.loss.detach(), losses.weight.detach(), losses.t)

    def condition(
        self, pictures: Sequence[int], x: Tensor | None = None, samples: Sequence[int] | None = None
    ) -> Condition | None:
        """What these pictures say of themselves, on the device: as they are shown as these samples, or as they are."""
        rows = torch.as_tensor(pictures)
        parts = {name: values[rows] for name, values in self.said.items()}
        if len(parts) < len(self.vocabulary.entries):
            x = self.data.batch(pictures)[0] if x is None else x
            parts |= self.vocabulary.seen(x, self.config.seed, self.done, pictures if samples is None else samples)
        return Condition(parts).to(self.device) if parts else None

    def _network(self) -> Callable[..., Tensor]:
        """The network, in half precision if that is configured."""
        return half(self.called, self.device.type) if self.config.precision == "bfloat16" else self.called

    def _tell_times(self, losses: Sequence[Losses]) -> None:
        """A sampler of times that learns from the losses hears of the whole batch, in the order of its places."""
        if (update := getattr(self.objective.times, "update", None)) is not None:
            rows = torch.stack(
                [torch.cat([part.t for part in losses]), torch.cat([part.loss for part in losses]).cpu().double()], 1
            )
            rows = self.processes.gathered(rows).cpu()
            update(rows[:, 0], rows[:, 1])

    def _diverged(self, loss: float, norm: float, batch: Batch) -> Diverged:
        names = [self.data.names[i] for i in batch.shown]
        return Diverged(
            f"{PATIENCE} steps in a row, up to step {self.done}, had no finite gradient (loss {loss}, gradient norm {norm}): "
            f"a lower learning rate may help, or a look at the last pictures shown: {', '.join(names[:4])}"
            + (f" and {len(names) - 4} more" if len(names) > 4 else ""),
            names,
        )

    def state(self) -> State:
        """All that a run needs to go on, beside the averages."""
        times: dict[str, Any] = getattr(self.objective.times, "state_dict", dict)()
        counts = {"done": self.done, "total": self.total, "skipped": self.skipped, "in_a_row": self.in_a_row}
        return State(self.network.state_dict(), self.optimizer.tensors(), {**counts, "times": times, "bad": self.bad.state()})

    def load_state(self, averages: Mapping[str, Mapping[str, Tensor]], state: State) -> None:
        """Go on where :meth:`state` was taken: the next steps are those that the first run would have made."""
        self.close()
        self.network.load_state_dict(dict(state.network))
        for name, average in self.averages.items():
            average.load_state_dict(averages[name])
        self.optimizer.load(state.optimizer)
        values = state.values
        if values["times"]:
            self.objective.times.load_state_dict(values["times"])
        self.bad.restore(values["bad"])
        self.done, self.total = int(values["done"]), int(values["total"])
        self.skipped, self.in_a_row = int(values["skipped"]), int(values["in_a_row"])


@contextmanager
def _torch_seed(key: int, device: torch.device) -> Iterator[None]:
    """torch's own generators, which a network of another's may draw from, seeded for a while and put back after."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(key >> 1)
        yield
