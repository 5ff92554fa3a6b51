"""The discrete-time DDPM process on tensors: noising, its posterior, one reverse step, and the training targets.

    x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise,      t = 0 .. T-1     (Ho et al. 2006.11239, eq. 4)

x has any shape (B, *).  t is one whole number for all samples, or one for each (a tensor of shape (B,)); what is out of
range, fractional, NaN or a bool is a ValueError, nothing wraps around.  Results keep the dtype and the device of x: the
tables are exact (:mod:`noisepath.tables`), rounded once to float32 (float64 for a float64 x), and half precision is
computed in float32 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import index
from typing import TYPE_CHECKING

from ._lazy import torch
from .errors import lookup
from .tables import DiffusionConfig, Tables

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from .schedules import Discrete

__all__ = ["DiffusionConfig", "NoiseScheduler"]

Column = tuple[float, ...]


def _add_noise(k: Tables) -> list[Column]:
    return [k.sqrt_alphas_cumprod, k.sqrt_one_minus_alphas_cumprod]


def _v_target(k: Tables) -> list[Column]:
    return [tuple(-s for s in k.sqrt_one_minus_alphas_cumprod), k.sqrt_alphas_cumprod]


def _predict_x0(k: Tables) -> list[Column]:
    pairs = zip(k.sqrt_alphas_cumprod, k.sqrt_one_minus_alphas_cumprod, strict=True)
    return _columns([(1.0 / a, -s / a) if a > 0.0 else (math.nan, math.nan) for a, s in pairs])


def _posterior_mean(k: Tables) -> list[Column]:
    return [k.posterior_mean_x0, k.posterior_mean_xt]


def _step_small(k: Tables) -> list[Column]:
    return [*_step_mean(k), tuple(math.sqrt(v) for v in k.posterior_variance)]


def _step_large(k: Tables) -> list[Column]:
    return [*_step_mean(k), (0.0, *(math.sqrt(b) for b in k.betas[1:]))]  # the last step, to data, adds no noise


def _step_mean(k: Tables) -> list[Column]:
    """Ho et al. eq. 11: (x_t - beta / sqrt(1 - alpha_bar) noise) / sqrt(alpha)."""
    rows = zip(k.alphas, k.betas, k.sqrt_one_minus_alphas_cumprod, k.alphas_cumprod, strict=True)
    return _columns([(a**-0.5, -b / (s * a**0.5)) if abar > 0.0 else (math.nan, math.nan) for a, b, s, abar in rows])


def _columns(rows: list[tuple[float, float]]) -> list[Column]:
    return [tuple(column) for column in zip(*rows, strict=True)]


_STEPS: dict[str, Callable[[Tables], list[Column]]] = {"small": _step_small, "large": _step_large}
_VARIANCES: dict[str, Callable[[Tables], list[Column]]] = {
    "small": lambda k: [k.posterior_variance],
    "large": lambda k: [k.betas],
}


class NoiseScheduler:
    """The noise process of a :class:`DiffusionConfig` (default: DDPM's linear betas, 1000 steps) on tensors."""

    def __init__(self, config: DiffusionConfig | None = None) -> None:
        self.config = DiffusionConfig() if config is None else config
        self.tables = self.config.tables()
        self.num_timesteps = self.config.num_timesteps
        self._dark = 0.0 in self.tables.alphas_cumprod
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def __repr__(self) -> str:
        return f"NoiseScheduler({self.config})"

    @property
    def schedule(self) -> Discrete:
        """The same process as a schedule, for a :class:`~noisepath.denoiser.Denoiser` and the solvers."""
        from .schedules import Discrete

        return Discrete(config=self.config)

    # ------------------------------------------------------------------------------------------------ data to noise

    def add_noise(self, x0: Tensor, t: Tensor | int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """``(x_t, noise)`` with fresh noise from ``generator`` (torch's global one if there is none).

        The noise is drawn in float32 on the generator's device, in contiguous memory, and has x0's dtype and device: one
        seed gives the same noise in every dtype and memory format.
        """
        weights = self._weights(_add_noise, t, x0)
        noise = _draw(x0, generator)
        return _mix(x0, noise, weights[0], weights[1]), noise

    def add_noise_with(self, x0: Tensor, noise: Tensor, t: Tensor | int, out: Tensor | None = None) -> Tensor:
        """``sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) noise`` for given noise (Ho et al. eq. 4).

        ``out``, of x0's shape and dtype, takes the result without new memory; it may be ``x0`` or ``noise`` itself.
        Differentiable in both where ``out`` is not given.
        """
        if x0.shape != noise.shape:
            raise _mismatch("noise", noise, "x0", x0)
        if out is not None and (out.shape != x0.shape or out.dtype != x0.dtype):
            raise ValueError(f"out has shape {tuple(out.shape)} and {out.dtype}, but x0 has {tuple(x0.shape)} and {x0.dtype}")
        weights = self._weights(_add_noise, t, x0)
        return _mix(x0, noise, weights[0], weights[1], out)

    def sample_timesteps(
        self, batch_size: int, generator: Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """``batch_size`` timesteps, each of 0 .. T-1 equally likely: int64 of shape (batch_size,).

        They are drawn on the generator's device, or on ``device`` without one, and moved to ``device``.
        """
        size = _whole(batch_size)
        if size is None or size < 1:
            raise ValueError(f"batch_size must be a whole number of at least 1, but is {batch_size!r}")
        where = device if generator is None else generator.device
        return torch.randint(self.num_timesteps, (size,), generator=generator, device=where).to(device)

    def v_target(self, x0: Tensor, noise: Tensor, t: Tensor | int) -> Tensor:
        """``v = sqrt(alpha_bar_t) noise - sqrt(1 - alpha_bar_t) x0`` (Salimans & Ho 2202.00512, appendix D)."""
        return self._combine(_v_target, t, x0=x0, noise=noise)

    def snr(self, t: Tensor | int) -> Tensor:
        """``alpha_bar_t / (1 - alpha_bar_t)``, float64 of t's shape."""
        return self._look(lambda k: [k.snr], t)

    def log_snr(self, t: Tensor | int) -> Tensor:
        """``log snr``, float64 of t's shape; ``-inf`` where alpha_bar is 0."""
        return self._look(lambda k: [k.log_snr], t)

    # ------------------------------------------------------------------------------------------------ noise to data

    def predict_x0(self, x_t: Tensor, predicted_noise: Tensor, t: Tensor | int) -> Tensor:
        """``x_0 = (x_t - sqrt(1 - alpha_bar_t) noise) / sqrt(alpha_bar_t)`` (Ho et al. eq. 4 turned round).

        ValueError where alpha_bar is 0: there x_t is nothing but noise and says nothing about x_0.
        """
        self._refuse_dark(t, x_t)
        return self._combine(_predict_x0, t, x_t=x_t, predicted_noise=predicted_noise)

    def posterior_mean(self, x0: Tensor, x_t: Tensor, t: Tensor | int) -> Tensor:
        """The mean of ``x_{t-1}`` given ``x_t`` and ``x_0`` (Ho et al. eq. 7); x0 itself at t = 0."""
        return self._combine(_posterior_mean, t, x0=x0, x_t=x_t)

    def posterior_variance(self, t: Tensor | int, kind: str = "small") -> Tensor:
        """Variance of the reverse step, float64 of t's shape (Ho et al. section 3.2).

        "small": that of ``x_{t-1}`` given ``x_t`` and ``x_0`` (eq. 7), right if the data are one point; 0 at t = 0.
        "large": beta_t, right if the data are unit normal.
        """
        return self._look(lookup(_VARIANCES, kind, "variance"), t)

    def step(
        self,
        x_t: Tensor,
        predicted_noise: Tensor,
        t: Tensor | int,
        generator: Generator | None = None,
        variance: str = "small",
        noise: Tensor | None = None,
    ) -> Tensor:
        """One reverse step of DDPM, ``x_t -> x_{t-1}`` (Ho et al. algorithm 2); at t = 0 the mean, without noise.

        ``variance`` is "small" or "large" (:meth:`posterior_variance`).  The noise comes from ``generator`` or is given.
        ValueError where alpha_bar is 0 (zero terminal SNR): a noise prediction says nothing about x_0 there.
        """
        columns = lookup(_STEPS, variance, "variance")
        self._refuse_dark(t, x_t)
        for name, other in (("predicted_noise", predicted_noise), ("noise", noise)):
            if other is not None and other.shape != x_t.shape:
                raise _mismatch(name, other, "x_t", x_t)
        keep, push, spread = self._weights(columns, t, x_t)
        fresh = _draw(x_t, generator) if noise is None else noise
        work = spread.dtype
        mean = torch.addcmul(x_t.to(work) * keep, predicted_noise.to(work), push)
        # where the spread is 0 the mean stays as it is, whatever the draw
        return torch.where(spread > 0, torch.addcmul(mean, fresh.to(work), spread), mean).to(x_t.dtype)

    # ------------------------------------------------------------------------------------------------------- tables

    def _combine(self, columns: Callable[[Tables], list[Column]], t: Tensor | int, **pair: Tensor) -> Tensor:
        """The sum of two tensors of one shape, each weighted by its column."""
        (one, x), (two, y) = pair.items()
        if x.shape != y.shape:
            raise _mismatch(two, y, one, x)
        weights = self._weights(columns, t, x)
        return _mix(x, y, weights[0], weights[1])

    def _weights(self, columns: Callable[[Tables], list[Column]], t: Tensor | int, x: Tensor) -> tuple[Tensor, ...]:
        """Columns at t, shaped to be multiplied with x, on its device, in float32 (float64 if x is)."""
        if not x.dtype.is_floating_point or x.ndim == 0:
            raise ValueError(f"x must be a floating-point tensor of shape (B, *), but is {x.dtype} of {tuple(x.shape)}")
        at = self._index(t, x.shape[0])
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        rows = self._select(self._table(columns, at.device, dtype, x.ndim), at)
        if rows.device != x.device:
            rows = rows.to(x.device, non_blocking=True)
        return rows.unbind(0)

    def _look(self, columns: Callable[[Tables], list[Column]], t: Tensor | int) -> Tensor:
        """One column at t, in t's shape; float64 where the device has it."""
        at = self._index(t, None)
        dtype = torch.float32 if at.device.type == "mps" else torch.float64
        table = torch.tensor(columns(self.tables), dtype=dtype, device=at.device)
        shape = t.shape if isinstance(t, torch.Tensor) else ()
        return self._select(table, at)[0].view(shape)

    def _table(self, columns: Callable[[Tables], list[Column]], device: torch.device, dtype: torch.dtype, ndim: int) -> Tensor:
        """The columns (K, T, 1, ..) for an x of ndim axes, kept: one small tensor for each use, device, dtype and ndim."""
        key = (columns, device, dtype, ndim)
        table = self._kept.get(key)
        if table is None:
            table = torch.tensor(columns(self.tables), dtype=torch.float64).to(dtype).to(device)
            table = self._kept[key] = table.view(*table.shape, *(1,) * (ndim - 1))
        return table

    def _select(self, table: Tensor, at: Tensor) -> Tensor:
        """``table[:, at]``.  On the CPU index_select itself refuses what is out of range (and does not wrap)."""
        if at.device.type != "cpu":
            self._refuse_outside(at)  # there an index out of range would end the process, or be read as anything
        try:
            return table.index_select(1, at)
        except (IndexError, RuntimeError):
            self._refuse_outside(at)
            raise

    def _index(self, t: Tensor | int, batch: int | None) -> Tensor:
        """t as int64 of shape (1,) or (batch,), its range not yet checked; any number of times where batch is None."""
        if not isinstance(t, torch.Tensor):
            return torch.tensor([self._number(t)])
        if t.dtype != torch.int64:
            t = self._whole_times(t)
        if batch is None:
            return t.reshape(-1)
        if t.numel() != 1 and t.shape != (batch,) or t.ndim > 1:
            raise ValueError(
                f"t has shape {tuple(t.shape)}, but x has {batch} samples: one t for all or shape ({batch},) expected"
            )
        return t if t.ndim == 1 else t.reshape(1)

    def _number(self, t: object) -> int:
        number = _whole(t)
        if number is None or not 0 <= number < self.num_timesteps:
            raise self._bad_time(t)
        return number

    def _whole_times(self, t: Tensor) -> Tensor:
        """A tensor of any dtype as int64 where it holds whole numbers."""
        if t.dtype == torch.bool or t.is_complex():
            raise ValueError(f"t is a tensor of {t.dtype}, but times are whole numbers, {self._range()}")
        whole = t.to(torch.int64)
        if t.is_floating_point():
            bad = whole.to(t.dtype) != t
            if bool(bad.any()):
                raise self._bad_time(float(t[bad].reshape(-1)[0]))
        return whole

    def _refuse_outside(self, at: Tensor) -> None:
        bad = (at < 0) | (at >= self.num_timesteps)
        if bool(bad.any()):
            raise self._bad_time(int(at[bad][0]))

    def _refuse_dark(self, t: Tensor | int, x: Tensor) -> None:
        """A noise prediction where there is no signal is an error that names what works."""
        if not self._dark:
            return
        at = self._index(t, x.shape[0])
        self._refuse_outside(at)
        dark = (torch.tensor(self.tables.alphas_cumprod, device=at.device)[at] == 0.0).nonzero()
        if len(dark):
            raise ValueError(
                f"alpha_bar is 0 at t = {int(at[dark[0, 0]])}: x_t is nothing but noise and a noise prediction says "
                "nothing about x_0; v and x0 predictions work there (with posterior_mean and posterior_variance)"
            )

    def _bad_time(self, value: object) -> ValueError:
        between = isinstance(value, float) and 0 < value < self.num_timesteps - 1
        hint = f"; for a level between two timesteps use schedule.level({value})" if between else ""
        return ValueError(f"t = {value!r} is no timestep: whole numbers {self._range()} expected{hint}")

    def _range(self) -> str:
        return f"0..{self.num_timesteps - 1}"


def _mix(x: Tensor, y: Tensor, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """``a x + b y`` in the dtype of x: two passes over memory, no more."""
    if a.dtype != x.dtype:  # half precision
        mixed = torch.addcmul(x.to(a.dtype) * a, y.to(a.dtype), b).to(x.dtype)
        return mixed if out is None else out.copy_(mixed)
    if out is None:
        return (x * a).addcmul_(y, b)
    if out is y:
        return torch.mul(y, b, out=out).addcmul_(x, a)
    return torch.mul(x, a, out=out).addcmul_(y, b)


def _draw(x: Tensor, generator: Generator | None) -> Tensor:
    """Unit normals like x."""
    where = x.device if generator is None else generator.device
    return torch.randn(x.shape, generator=generator, device=where, dtype=torch.float32).to(x.device, x.dtype)


def _whole(value: object) -> int | None:
    """A whole number as int, also a float like 3.0; None for anything else, bools among them."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _mismatch(name: str, one: Tensor, other_name: str, other: Tensor) -> ValueError:
    return ValueError(f"{name} has shape {tuple(one.shape)}, but {other_name} has {tuple(other.shape)}: they must agree")
