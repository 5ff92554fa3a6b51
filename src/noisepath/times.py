"""Which time t each training sample gets, and the weight that its loss then has.

A sampler turns one uniform number u per sample, a hash of (key, sample index), into t through the inverse of its
distribution function.  So t depends on the key, the sample's index and (stratified) its place in the batch alone.

    draw(schedule, key, indices, positions, total) -> t (B,), weight (B,)      float64, on the CPU

``indices`` are the samples' global numbers, ``positions`` their places 0 .. total-1 in the global batch, whichever
process holds them.  The weight makes a loss averaged over the draws unbiased where the sampler promises that
(importance), or levels the losses (balanced); elsewhere it is 1, and the density itself is the choice.  On a table t is
whole, 0 .. T-1, except for ``log_normal`` and ``balanced``, which live on the log-SNR axis and give fractional t.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ._lazy import torch
from .noise import inverse_normal, uniform

if TYPE_CHECKING:
    from torch import Tensor

    from .schedules import Schedule

__all__ = ["TIMES", "Balanced", "Importance", "LogNormal", "LogitNormal", "Stratified", "TimestepSampler", "Uniform"]


class TimestepSampler(Protocol):
    """What the trainer asks of a sampler."""

    def draw(
        self, schedule: Schedule, key: int, indices: Sequence[int], positions: Sequence[int], total: int
    ) -> tuple[Tensor, Tensor]:
        """Times and loss weights, both float64 of shape (B,), for the samples ``indices`` at ``positions``."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Every time of a run alike: whole t of a table, or even between ``t_min`` and ``t_max``."""

    def draw(
        self, schedule: Schedule, key: int, indices: Sequence[int], positions: Sequence[int], total: int
    ) -> tuple[Tensor, Tensor]:
        _check_batch(indices, positions, total)
        return _with_weight_1(_place(schedule, uniform(key, indices)))


@dataclass(frozen=True)
class Stratified:
    """One draw from each of ``total`` equal slices of the time axis: uniform over the batch, with less scatter.

    The sample at position p gets ``(p + u) / total`` of the axis.
    """

    def draw(
        self, schedule: Schedule, key: int, indices: Sequence[int], positions: Sequence[int], total: int
    ) -> tuple[Tensor, Tensor]:
        _check_batch(indices, positions, total)
        return _with_weight_1(_place(schedule, _sliced(uniform(key, indices), positions, total)))


@dataclass(frozen=True)
class LogitNormal:
    """The place on the time axis is ``sigmoid(mean + std * normal)``: the middle most often (SD3, 2403.03206, eq. 19)."""

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        _check_normal(self.mean, self.std)

    def draw(
        self, schedule: Schedule, key: int, indices: Sequence[int], positions: Sequence[int], total: int
    ) -> tuple[Tensor, Tensor]:
        _check_batch(indices, positions, total)
        normal = inverse_normal(uniform(key, indices))
        return _with_weight_1(_place(schedule, torch.sigmoid(self.mean + self.std * normal)))


@dataclass(frozen=True)
class LogNormal:
    """``log(sigma / alpha)`` is normal (EDM, Karras et al. 2206.00364, Table 1), cut exactly to the schedule's range.

    The defaults are EDM's for pictures in [-1, 1].  The level is the same on every path: t is where this schedule has
    that log-SNR.  On a table whose end is exactly clean or exactly noisy, the range is that of its finite entries.
    """

    mean: float = -1.2
    std: float = 1.2
    stratified: bool = False
    """Whether each sample of a batch of B has one of B equally likely slices of the distribution for itself."""

    def __post_init__(self) -> None:
        _check_normal(self.mean, self.std)

    def draw(
        self, schedule: Schedule, key: int, indices: Sequence[int], positions: Sequence[int], total: int
    ) -> tuple[Tensor, Tensor]:
        _check_batch(indices, positions, total)
        share = uniform(key, indices)
        if self.stratified:
            share = _sliced(share, positions, total)
        ends = torch.tensor(_finite_ends(schedule), dtype=torch.float64)
        low, high = ((-0.5 * schedule.log_snr(ends) - self.mean) / self.std).tolist()
        # The lower tail of the normal keeps its digits, the upper does not: turn an upper interval round.
        sign = -1.0 if low > 0.0 else 1.0
        bottom, top = (0.5 * math.erfc(-x / math.sqrt(2.0)) for x in sorted((sign * low, sign * high)))
        if not top > bottom:
            raise ValueError(
                f"log_normal with mean {self.mean} and std {self.std} has no mass within the schedule's noise levels, "
                f"log(sigma / alpha) from {self.mean + self.std * low:.4g} to {self.mean + self.std * high:.4g}"
            )
        normal = sign * inverse_normal(bottom + (top - bottom) * share)
        t = schedule.t(-2.0 * (self.mean + self.std * normal))
        return _with_weight_1(t.clamp(*ends.tolist()))  # an inverse rounds; it never moves t by more than that


class Balanced:
    """Log-normal noise levels, stratified, each weighted by the inverse of its usual loss, so that none drowns the others.

    The loss of a good network at much noise may be thirty times that at little, and so is what it adds to the gradient; yet
    what a picture looks like is settled at all of them.  Weights of ``1 / u(level)`` are those at which tasks whose answers
    are uncertain by u are learnt together (Kendall et al. 1705.07115; Karras et al. 2312.02696, who learn u).  Here
    u is the mean of about the last ``memory`` losses in each of ``bands`` equally likely bands of log(sigma / alpha), linear
    between their middles.  Weights are scaled so that the mean of the weighted loss is that of the loss itself.

    The means are state: feed them with :meth:`update`, in one order in all processes, and keep :meth:`state_dict` in the
    checkpoint.
    """

    def __init__(self, mean: float = -1.2, std: float = 1.2, bands: int = 16, memory: int = 400) -> None:
        _check_whole("bands", bands)
        _check_whole("memory", memory)
        self.levels = LogNormal(mean, std, stratified=True)
        self.bands, self.memory = bands, memory
        self._sums, self._counts = [0.0] * bands, [0.0] * bands
        self._schedule: Schedule | None = None

    def draw(
        self, schedule: Schedule, key: int, indices: Sequence[int], positions: Sequence[int], total: int
    ) -> tuple[Tensor, Tensor]:
        """Times, log-normal, and their weights."""
        self._schedule = schedule
        t, _ = self.levels.draw(schedule, key, indices, positions, total)
        usual = torch.tensor(self.usual(), dtype=torch.float64)
        at = (self._share(t) * self.bands - 0.5).clamp(0, self.bands - 1)
        low = at.floor().long().clamp(max=max(0, self.bands - 2))
        high = (low + 1).clamp(max=self.bands - 1)
        return t, usual.mean() / torch.lerp(usual[low], usual[high], at - low)

    def usual(self) -> list[float]:
        """The usual loss of each band, from little noise to much; where few losses are known, nearer to the mean of all."""
        known = math.fsum(self._counts)
        overall = math.fsum(self._sums) / known if known else 1.0
        if overall <= 0.0:
            return [1.0] * self.bands
        few = 4.0
        return [(total + few * overall) / (count + few) for total, count in zip(self._sums, self._counts, strict=True)]

    def update(self, t: Tensor | Sequence[float], loss: Tensor | Sequence[float]) -> None:
        """Take in the losses (B,), without their weights, that were seen at times t (B,)."""
        times, losses = _checked_losses(t, loss)
        if self._schedule is None:
            raise ValueError("no time was drawn yet: draw from a schedule first")
        keep = 1.0 - 1.0 / self.memory
        for share, value in zip(self._share(torch.tensor(times, dtype=torch.float64)).tolist(), losses, strict=True):
            band = min(int(share * self.bands), self.bands - 1)
            self._sums[band] = keep * self._sums[band] + value
            self._counts[band] = keep * self._counts[band] + 1.0

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts of the losses of each band, as plain lists."""
        return {"bands": self.bands, "memory": self.memory, "sums": list(self._sums), "counts": list(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; ValueError if it was made with other settings."""
        _check_same(self, state, ("bands", "memory"))
        self._sums = [float(value) for value in state["sums"]]
        self._counts = [float(value) for value in state["counts"]]

    def _share(self, t: Tensor) -> Tensor:
        """Which share of the normal distribution lies at less noise than t."""
        assert self._schedule is not None
        share: Tensor = torch.special.ndtr((-0.5 * self._schedule.log_snr(t) - self.levels.mean) / self.levels.std)
        return share


class Importance:
    """Times with large losses more often, weighted so that the mean loss stays what it was (Improved DDPM, 2102.09672).

    ``p_t`` is proportional to ``sqrt(E[L_t^2])`` over the ``history`` last losses at t (eq. 18), mixed with ``mixing``
    parts of a uniform draw, which also holds until every t has its full history.  The weight is ``1 / (T p_t)``.  Needs a
    schedule of discrete timesteps.  The history is state: feed it with :meth:`update`, in one order in all
    processes, and keep :meth:`state_dict` in the checkpoint.
    """

    def __init__(self, history: int = 10, mixing: float = 0.001) -> None:
        _check_whole("history", history)
        if not 0.0 <= mixing <= 1.0:
            raise ValueError(f"mixing must lie in [0, 1], but is {mixing}")
        self.history = history
        self.mixing = mixing
        self._squares: list[list[float]] = []
        self._entry: dict[float, int] = {}
        """Of the schedule that was drawn from last, each time's place among the histories."""

    def probabilities(self, num_timesteps: int) -> list[float]:
        """``p_t`` for t = 0 .. T-1, as the next draw uses it."""
        even = 1.0 / num_timesteps
        if len(self._squares) < num_timesteps or any(len(squares) < self.history for squares in self._squares):
            return [even] * num_timesteps
        roots = [math.sqrt(math.fsum(squares) / self.history) for squares in self._squares]
        total = math.fsum(roots)
        if total == 0.0:
            return [even] * num_timesteps
        return [(1.0 - self.mixing) * root / total + self.mixing * even for root in roots]

    def draw(
        self, schedule: Schedule, key: int, indices: Sequence[int], positions: Sequence[int], total: int
    ) -> tuple[Tensor, Tensor]:
        """Times by their past losses, and weights ``1 / (T p_t)``."""
        _check_batch(indices, positions, total)
        count = schedule.num_timesteps
        if count is None:
            raise ValueError(
                "importance sampling counts losses per timestep and needs a table: use cut(schedule, 1000), "
                "or the uniform, stratified, logit_normal or log_normal times"
            )
        self._fit(count)
        self._entry = {t: entry for entry, t in enumerate(schedule.entries(torch.arange(count)).tolist())}
        p = self.probabilities(count)
        edges = torch.tensor(list(itertools.accumulate(p)), dtype=torch.float64)
        # the sum rounds: scaled to end at 1 exactly, 0 < u < 1 always falls into a slice, and never into an empty one
        entry = torch.searchsorted(edges / edges[-1], uniform(key, indices))
        return schedule.entries(entry), 1.0 / (count * torch.tensor(p, dtype=torch.float64)[entry])

    def update(self, t: Tensor | Sequence[float], loss: Tensor | Sequence[float]) -> None:
        """Remember the losses (B,), without their weights, that were seen at times t (B,)."""
        times, losses = _checked_losses(t, loss)
        entry = self._entry or {float(n): n for n in range(len(self._squares))}  # a state that was loaded, of a whole table
        for at in times:
            if at not in entry:
                known = f"{min(entry):g}..{max(entry):g}" if entry else "none yet: draw from a schedule first"
                raise ValueError(f"t = {at} is none of the timesteps that are kept ({known})")
        for at, value in zip(times, losses, strict=True):
            squares = self._squares[entry[at]]
            squares.append(float(value) ** 2)
            del squares[: -self.history]

    def state_dict(self) -> dict[str, Any]:
        """The squared losses kept for each t, oldest first, as plain lists."""
        return {"history": self.history, "mixing": self.mixing, "squares": [list(squares) for squares in self._squares]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; ValueError if it was made with other settings."""
        _check_same(self, state, ("history", "mixing"))
        self._squares = [[float(v) for v in squares] for squares in state["squares"]]

    def _fit(self, num_timesteps: int) -> None:
        if not self._squares:
            self._squares = [[] for _ in range(num_timesteps)]
        if len(self._squares) != num_timesteps:
            raise ValueError(f"losses were kept for {len(self._squares)} timesteps; the schedule has {num_timesteps}")


TIMES: dict[str, Callable[..., TimestepSampler]] = {
    "uniform": Uniform,
    "stratified": Stratified,
    "importance": Importance,
    "logit_normal": LogitNormal,
    "log_normal": LogNormal,
    "balanced": Balanced,
}
"""Name -> sampler; called with the sampler's options."""


def _place(schedule: Schedule, share: Tensor) -> Tensor:
    """The time at a share in (0, 1) of the run's axis: of T equal slices on a table, else between t_min and t_max."""
    if schedule.num_timesteps is not None:
        return schedule.entries((share * schedule.num_timesteps).floor().clamp(max=schedule.num_timesteps - 1))
    return schedule.t_min + (schedule.t_max - schedule.t_min) * share


def _sliced(share: Tensor, positions: Sequence[int], total: int) -> Tensor:
    """Uniform numbers, each brought into the slice of its place among ``total`` equal ones."""
    return (torch.tensor(list(positions), dtype=torch.float64) + share) / total


def _with_weight_1(t: Tensor) -> tuple[Tensor, Tensor]:
    return t, torch.ones_like(t)


def _finite_ends(schedule: Schedule) -> tuple[float, float]:
    """First and last time of a run; on a table the first and last whose log-SNR is finite."""
    first, last = schedule.t_min, schedule.t_max
    if schedule.num_timesteps is not None:
        clean, noisy = torch.isfinite(schedule.log_snr(torch.tensor([first, last], dtype=torch.float64))).tolist()
        first, last = first + (not clean), last - (not noisy)
    return first, last


def _checked_losses(t: Tensor | Sequence[float], loss: Tensor | Sequence[float]) -> tuple[list[float], list[float]]:
    """Times and their losses as plain numbers; ValueError unless there is a finite loss for each."""
    times, losses = torch.as_tensor(t).tolist(), torch.as_tensor(loss).tolist()
    if len(times) != len(losses):
        raise ValueError(f"a loss for each time expected, but there are {len(times)} times and {len(losses)} losses")
    for at, value in zip(times, losses, strict=True):
        if not math.isfinite(value):
            raise ValueError(f"the loss at t = {at:g} is {value}; times that learn from losses need finite ones")
    return times, losses


def _check_same(sampler: object, state: dict[str, Any], names: Sequence[str]) -> None:
    for name in names:
        if state[name] != getattr(sampler, name):
            raise ValueError(f"the stored losses were kept with {name} = {state[name]}, not {getattr(sampler, name)}")


def _check_whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, but is {value!r}")


def _check_normal(mean: float, std: float) -> None:
    if not (math.isfinite(mean) and 0.0 < std < math.inf):
        raise ValueError(f"mean must be finite and std positive and finite, but they are {mean} and {std}")


def _check_batch(indices: Sequence[int], positions: Sequence[int], total: int) -> None:
    if len(indices) != len(positions):
        raise ValueError(f"{len(indices)} indices but {len(positions)} positions: one of each per sample expected")
    if len(positions) and not (min(positions) >= 0 and max(positions) < total):
        raise ValueError(f"positions must lie in 0..{total - 1}, but reach from {min(positions)} to {max(positions)}")
