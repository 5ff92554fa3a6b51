"""The discrete-time DDPM process on tensors: noising, its posterior, one reverse step, and the training targets.

    x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise,      t = 0 .. T-1     (Ho et al. 2006.11239, eq. 4)

x has any shape (B, *).  t is one whole number for all samples (a number of Python or numpy, a tensor of shape () or (1,)),
or one for each (a tensor, array or list of shape (B,)).  What is out of range, fractional, NaN or a bool is a ValueError;
nothing wraps around.  Results keep the dtype and the device of x: the tables are exact (:mod:`noisepath.tables`), rounded
once to float32 (float64 for a float64 x), and half precision is computed in float32 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from operator import index
from typing import TYPE_CHECKING, Any, Self, TypeAlias, overload

from ._lazy import torch
from .errors import lookup, shown, whole
from .tables import BETAS, DiffusionConfig, Tables

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Generator, Tensor

    from .schedules import Discrete, Schedule

    Timesteps: TypeAlias = Tensor | int | Sequence[int] | NDArray[Any]

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


_STEPS: dict[str, Callable[[Tables], list[Column]]] = {"large": _step_large, "small": _step_small}
_VARIANCES: dict[str, Callable[[Tables], list[Column]]] = {
    "large": lambda k: [k.betas],
    "small": lambda k: [k.posterior_variance],
}
_VARIANCE_ALIASES = {"beta": "large", "fixed_large": "large", "posterior": "small", "fixed_small": "small"}

_ELSEWHERE = {
    "T": "num_timesteps",
    "alpha_hat": "alphas_cumprod",
    "alphas_bar": "alphas_cumprod",
    "alpha_bars": "alphas_cumprod",
    "get_velocity": "v_target(x0, noise, t)",
    "p_sample": "step(x_t, predicted_noise, t)",
    "posterior_mean_coef1": "posterior_mean(x0, x_t, t)",
    "posterior_mean_coef2": "posterior_mean(x0, x_t, t)",
    "predict_start_from_noise": "predict_x0(x_t, predicted_noise, t)",
    "q_posterior": "posterior_mean(x0, x_t, t) and posterior_variance(t)",
    "q_sample": "add_noise(x0, t)",
    "set_timesteps": "num_timesteps; which of them a run visits is said to noisepath.sample(..., spacing=, steps=)",
    "timesteps": "num_timesteps; which of them a run visits is said to noisepath.sample(..., spacing=, steps=)",
}
"""What tutorials and other libraries call it -> what it is here."""


class _Column:
    """A table of the process as an attribute: float64 of shape (T,), on the CPU.

    Each look gives a tensor of its own, so that changing one changes nothing else.
    """

    def __init__(self, about: str, column: str | None = None) -> None:
        self.__doc__ = about
        self._column = column

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._column = self._column or name

    @overload
    def __get__(self, process: None, owner: type) -> Self: ...
    @overload
    def __get__(self, process: NoiseScheduler, owner: type) -> Tensor: ...
    def __get__(self, process: NoiseScheduler | None, owner: type) -> Self | Tensor:
        if process is None:
            return self
        key = (_Column, self._column)
        if key not in process._kept:
            numbers = getattr(process.tables, str(self._column))
            process._kept[key] = torch.tensor(numbers, dtype=torch.float64, device="cpu")
        return process._kept[key].clone()

    def __set__(self, process: NoiseScheduler, value: object) -> None:
        raise AttributeError(
            f"{self._name} follows from the configuration and can't be set: "
            "make another process, NoiseScheduler(DiffusionConfig(betas=...))"
        )


class NoiseScheduler:
    """A discrete noise process on tensors, with its tables.

    Args:
        config: a :class:`DiffusionConfig`; or the name of a table (``"cosine"``), with options as there; or a schedule that
            is a table on the variance-preserving path.  Nothing: DDPM's linear betas, 1000 steps.
        options: with a name or nothing, those of :class:`DiffusionConfig`: ``NoiseScheduler("cosine", num_timesteps=500)``.

    ValueError for a continuous schedule, TypeError for anything else: each says what to do.

    The tables are attributes, float64 tensors of shape (T,), entry t for timestep t: ``scheduler.betas[5]``,
    ``scheduler.alphas_cumprod[t]`` for a tensor of timesteps (on a GPU ``scheduler.alphas_cumprod.to(t.device)[t]``).
    ``scheduler.tables`` has the same numbers without torch.
    """

    betas = _Column("beta_t, the share of noise that step t adds.")
    alphas = _Column("alpha_t = 1 - beta_t, the share of the signal that step t leaves.")
    alphas_cumprod = _Column("alpha_bar_t = alpha_0 ... alpha_t, the share of the data's variance that is left at t.")
    alpha_bar = _Column("The papers' name of :attr:`alphas_cumprod`.", "alphas_cumprod")
    alphas_cumprod_prev = _Column("alpha_bar one step earlier; 1 at t = 0.")
    one_minus_alphas_cumprod = _Column("1 - alpha_bar_t, the variance of the noise at t, without cancellation.")
    sqrt_alphas_cumprod = _Column("alpha(t), what x_0 is multiplied with at t.")
    sqrt_one_minus_alphas_cumprod = _Column("sigma(t), what the noise is multiplied with at t.")

    def __init__(self, config: DiffusionConfig | str | Schedule | None = None, **options: Any) -> None:
        self.config = _config_of(config, options)
        self.tables = self.config.tables()
        self.num_timesteps = self.config.num_timesteps
        self._dark = 0.0 in self.tables.alphas_cumprod
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def __repr__(self) -> str:
        return f"NoiseScheduler({self.config})"

    if not TYPE_CHECKING:  # a type checker is to find an unknown name itself

        def __getattr__(self, name: str) -> object:
            names = [known for known in [*dir(type(self)), "config", "num_timesteps", "tables"] if not known.startswith("_")]
            near = _ELSEWHERE.get(name) or next(iter(get_close_matches(name, names, n=1)), None)
            hint = f"; did you mean {near}?" if near and not name.startswith("_") else ""
            raise AttributeError(f"NoiseScheduler has no attribute {name!r}{hint}")

    @cached_property
    def schedule(self) -> Discrete:
        """The same process as a schedule, for a :class:`~noisepath.denoiser.Denoiser` and the solvers."""
        from .schedules import Discrete

        return Discrete(config=self.config)

    # ------------------------------------------------------------------------------------------------ data to noise

    def add_noise(self, x0: Tensor, t: Timesteps, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """``(x_t, noise)`` with fresh noise from ``generator`` (torch's global one if there is none).

        The noise is drawn in float32 on the generator's device, in contiguous memory, and has x0's dtype and device: one
        seed gives the same noise in every dtype and memory format.
        """
        _check(x0=x0)
        if isinstance(t, torch.Tensor) and t.ndim > 1 and t.shape == x0.shape:
            raise ValueError("add_noise draws its noise: to add noise of your own say add_noise_with(x0, noise, t)")
        weights = self._weights(_add_noise, t, x0)
        noise = _draw(x0, generator)
        return _mix(x0, noise, weights[0], weights[1]), noise

    def add_noise_with(self, x0: Tensor, noise: Tensor, t: Timesteps, out: Tensor | None = None) -> Tensor:
        """``sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) noise`` for given noise (Ho et al. eq. 4).

        ``out``, of x0's shape and dtype, takes the result without new memory; it may be ``x0`` or ``noise`` itself.
        Differentiable in both where ``out`` is not given.
        """
        _check(x0=x0, noise=noise)
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
        size = whole(batch_size, "batch_size must be a whole number of at least 1", 1)
        where = device if generator is None else generator.device
        return torch.randint(self.num_timesteps, (size,), generator=generator, device=where).to(device)

    def v_target(self, x0: Tensor, noise: Tensor, t: Timesteps) -> Tensor:
        """``v = sqrt(alpha_bar_t) noise - sqrt(1 - alpha_bar_t) x0`` (Salimans & Ho 2202.00512, appendix D)."""
        return self._combine(_v_target, t, x0=x0, noise=noise)

    def snr(self, t: Timesteps) -> Tensor:
        """``alpha_bar_t / (1 - alpha_bar_t)``, float64 of t's shape."""
        return self._look(lambda k: [k.snr], t)

    def log_snr(self, t: Timesteps) -> Tensor:
        """``log snr``, float64 of t's shape; ``-inf`` where alpha_bar is 0."""
        return self._look(lambda k: [k.log_snr], t)

    # ------------------------------------------------------------------------------------------------ noise to data

    def predict_x0(self, x_t: Tensor, predicted_noise: Tensor, t: Timesteps) -> Tensor:
        """``x_0 = (x_t - sqrt(1 - alpha_bar_t) noise) / sqrt(alpha_bar_t)`` (Ho et al. eq. 4 turned round).

        ValueError where alpha_bar is 0: there x_t is nothing but noise and says nothing about x_0.
        """
        _check(x_t=x_t, predicted_noise=predicted_noise)
        self._refuse_dark(t, x_t)
        return self._combine(_predict_x0, t, x_t=x_t, predicted_noise=predicted_noise)

    def posterior_mean(self, x0: Tensor, x_t: Tensor, t: Timesteps) -> Tensor:
        """The mean of ``x_{t-1}`` given ``x_t`` and ``x_0`` (Ho et al. eq. 7); x0 itself at t = 0."""
        return self._combine(_posterior_mean, t, x0=x0, x_t=x_t)

    def posterior_variance(self, t: Timesteps, kind: str = "small") -> Tensor:
        """Variance of the reverse step, float64 of t's shape (Ho et al. section 3.2).

        "small" ("posterior", "fixed_small"): that of ``x_{t-1}`` given ``x_t`` and ``x_0`` (eq. 7), right if the data are
        one point; 0 at t = 0.  "large" ("beta", "fixed_large"): beta_t, right if the data are unit normal.
        """
        return self._look(_variance(_VARIANCES, kind), t)

    def step(
        self,
        x_t: Tensor,
        predicted_noise: Tensor,
        t: Timesteps,
        generator: Generator | None = None,
        variance: str = "large",
        noise: Tensor | None = None,
    ) -> Tensor:
        """One reverse step of DDPM, ``x_t -> x_{t-1}`` (Ho et al. algorithm 2); at t = 0 the mean, without noise.

            mean = (x_t - beta_t / sqrt(1 - alpha_bar_t) predicted_noise) / sqrt(alpha_t)                      (eq. 11)

        ``variance`` is that of the noise which is added: "large" is beta_t, "small" the posterior's
        (:meth:`posterior_variance`).  The noise comes from ``generator``, or is given as ``noise``.

        ValueError where alpha_bar is 0 (zero terminal SNR): a noise prediction says nothing about x_0 there.
        """
        columns = _variance(_STEPS, variance)
        _check(x_t=x_t, predicted_noise=predicted_noise, **({} if noise is None else {"noise": noise}))
        self._refuse_dark(t, x_t)
        keep, push, spread = self._weights(columns, t, x_t)
        fresh = _draw(x_t, generator) if noise is None else noise
        work = spread.dtype
        mean = torch.addcmul(x_t.to(work) * keep, predicted_noise.to(work), push)
        # where the spread is 0 the mean stays as it is, whatever the draw
        return torch.where(spread > 0, torch.addcmul(mean, fresh.to(work), spread), mean).to(x_t.dtype)

    # ------------------------------------------------------------------------------------------------------- tables

    def _combine(self, columns: Callable[[Tables], list[Column]], t: Timesteps, **pair: Tensor) -> Tensor:
        """The sum of two tensors of one shape, each weighted by its column."""
        _check(**pair)
        x, y = pair.values()
        weights = self._weights(columns, t, x)
        return _mix(x, y, weights[0], weights[1])

    def _weights(self, columns: Callable[[Tables], list[Column]], t: Timesteps, x: Tensor) -> tuple[Tensor, ...]:
        """Columns at t, shaped to be multiplied with x, on its device, in float32 (float64 if x is)."""
        at = self._index(t, x.shape[0])
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        rows = self._select(self._table(columns, at.device, dtype, x.ndim), at)
        if rows.device != x.device:
            rows = rows.to(x.device, non_blocking=True)
        return rows.unbind(0)

    def _look(self, columns: Callable[[Tables], list[Column]], t: Timesteps) -> Tensor:
        """One column at t, in t's shape; float64 where the device has it."""
        at = self._index(t, None)
        dtype = torch.float32 if at.device.type == "mps" else torch.float64
        table = torch.tensor(columns(self.tables), dtype=dtype, device=at.device)
        return self._select(table, at)[0].view(getattr(_plain(t), "shape", ()))

    def _table(self, columns: Callable[[Tables], list[Column]], device: torch.device, dtype: torch.dtype, ndim: int) -> Tensor:
        """The columns (K, T, 1, ..) for an x of ndim axes, kept: one small tensor for each use, device, dtype and ndim."""
        key = (columns, device, dtype, ndim)
        table = self._kept.get(key)
        if table is None:
            table = torch.tensor(columns(self.tables), dtype=torch.float64, device="cpu").to(dtype).to(device)
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

    def _index(self, t: Timesteps, batch: int | None) -> Tensor:
        """t as int64 of shape (1,) or (batch,), its range not yet checked; any number of times where batch is None."""
        times = _plain(t)
        if not isinstance(times, torch.Tensor):
            return torch.tensor([self._number(times)], device="cpu")
        if times.dtype != torch.int64:
            times = self._whole_times(times)
        if batch is None:
            return times.reshape(-1)
        if times.numel() != 1 and times.shape != (batch,) or times.ndim > 1:
            raise ValueError(
                f"t has shape {tuple(times.shape)}, but x has {batch} samples: one t for all or shape ({batch},) expected"
            )
        return times if times.ndim == 1 else times.reshape(1)

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
        if t.is_floating_point() and t.device.type != "meta":
            bad = whole.to(t.dtype) != t
            if bool(bad.any()):
                raise self._bad_time(float(t[bad].reshape(-1)[0]))
        return whole

    def _refuse_outside(self, at: Tensor) -> None:
        if at.device.type == "meta":  # which holds no numbers
            return
        bad = (at < 0) | (at >= self.num_timesteps)
        if bool(bad.any()):
            raise self._bad_time(int(at[bad][0]))

    def _refuse_dark(self, t: Timesteps, x: Tensor) -> None:
        """A noise prediction where there is no signal is an error that names what works."""
        if not self._dark:
            return
        at = self._index(t, x.shape[0])
        self._refuse_outside(at)
        if at.device.type == "meta":
            return
        dark = torch.tensor([a == 0.0 for a in self.tables.alphas_cumprod], device=at.device)[at].nonzero()
        if len(dark):
            raise ValueError(
                f"alpha_bar is 0 at t = {int(at[dark[0, 0]])}: x_t is nothing but noise and a noise prediction says "
                "nothing about x_0; v and x0 predictions work there (with posterior_mean and posterior_variance)"
            )

    def _bad_time(self, value: object) -> ValueError:
        between = isinstance(value, float) and 0 < value < self.num_timesteps - 1
        hint = f"; a level between two timesteps is NoiseScheduler(...).schedule.level({value})" if between else ""
        return ValueError(f"t = {value!r} is no timestep: whole numbers {self._range()} expected{hint}")

    def _range(self) -> str:
        return f"0..{self.num_timesteps - 1}"


def _variance(rows: Mapping[str, Callable[[Tables], list[Column]]], kind: str) -> Callable[[Tables], list[Column]]:
    """The entry of a kind of variance, by its name or an alias."""
    return lookup(rows, _VARIANCE_ALIASES.get(kind, kind) if isinstance(kind, str) else kind, "variance", _VARIANCE_ALIASES)


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
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator, such as torch.Generator().manual_seed(0), but is {shown(generator)}"
        )
    where = x.device if generator is None else generator.device
    return torch.randn(x.shape, generator=generator, device=where, dtype=torch.float32).to(x.device, x.dtype)


def _plain(t: Timesteps) -> Tensor | int | float:
    """numpy's numbers as Python's, lists and arrays of numbers as tensors; all else as it is."""
    if isinstance(t, torch.Tensor):
        return t
    if getattr(t, "ndim", None) == 0:
        return t.item()  # type: ignore[union-attr, no-any-return]
    if isinstance(t, str | bytes) or not (isinstance(t, Sequence) or hasattr(t, "ndim")):
        return t  # type: ignore[return-value]
    import numpy as np

    try:
        array = np.asarray(t)
    except ValueError:  # lists of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"t must be whole numbers, one for all samples or one for each, but is {shown(t)}")
    return torch.from_numpy(np.array(array, dtype=np.float64 if array.dtype.kind == "f" else np.int64))


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


def _check(**tensors: object) -> None:
    """TypeError for what is no tensor; ValueError unless all are floats of the first one's shape (B, *)."""
    first = ""
    for name, x in tensors.items():
        if not isinstance(x, torch.Tensor):
            array = hasattr(x, "__array__")
            what = f"an array of numpy: torch.as_tensor({name}) makes one" if array else shown(x)
            raise TypeError(f"{name} must be a torch tensor, but is {what}")
        if not x.dtype.is_floating_point or x.ndim == 0:
            hint = f"; bytes of a picture are {name}.float() / 127.5 - 1" if x.dtype == torch.uint8 else ""
            raise ValueError(
                f"{name} must be a floating-point tensor of shape (B, *), but is {x.dtype} of {tuple(x.shape)}{hint}"
            )
        first = first or name
        other = tensors[first]
        assert isinstance(other, torch.Tensor)
        if x.shape != other.shape:
            raise ValueError(f"{name} has shape {tuple(x.shape)}, but {first} has {tuple(other.shape)}: they must agree")


# --------------------------------------------------------------------------------------------- what a process is made of


def _config_of(given: DiffusionConfig | str | Schedule | None, options: dict[str, Any]) -> DiffusionConfig:
    """The configuration that a :class:`NoiseScheduler` is made from; an error says what else to do."""
    if given is None:
        return DiffusionConfig(**options)
    if isinstance(given, str):
        return _config_named(given, options)
    if options:
        raise TypeError(
            f"{', '.join(options)} can't be changed in {shown(given)}: give the options to DiffusionConfig, or a name "
            "and the options to NoiseScheduler"
        )
    if isinstance(given, DiffusionConfig):
        return given
    from .schedules import Schedule

    if isinstance(given, Schedule):
        return _config_of_schedule(given, shown(given))
    raise TypeError(
        "a NoiseScheduler is made from a DiffusionConfig, the name of a table, or a schedule, but got "
        f"{shown(given)} (betas of your own: DiffusionConfig(betas=...))"
    )


def _config_named(name: str, options: dict[str, Any]) -> DiffusionConfig:
    from .schedules import SCHEDULES, schedule

    if name in BETAS or name not in SCHEDULES:
        return DiffusionConfig(schedule=name, **options)
    return _config_of_schedule(schedule(name, **options), repr(name))


def _config_of_schedule(schedule: Schedule, name: str) -> DiffusionConfig:
    """The configuration of a schedule that is a whole table on the variance-preserving path."""
    from .schedules import Discrete

    if isinstance(schedule, Discrete):
        return schedule.config
    steps = schedule.num_timesteps
    if schedule.scaling != "preserving":
        raise ValueError(
            f"a NoiseScheduler is a table with alpha^2 + sigma^2 = 1, but {name} lies on another path "
            f"({schedule.scaling!r}): mix x = alpha x_0 + sigma noise with the alpha and sigma of schedule.level(t)"
        )
    if steps is None:
        raise ValueError(
            f"a NoiseScheduler is a table of timesteps, but {name} is continuous: cut it into one first, "
            "NoiseScheduler(noisepath.schedules.cut(schedule, 1000))"
        )
    if (schedule.t_min, schedule.t_max) != (0.0, float(steps - 1)):
        raise ValueError(
            f"a NoiseScheduler is a whole table, t = 0 .. T-1, but {name} goes from {schedule.t_min:g} to {schedule.t_max:g}"
        )
    log_snr = schedule.log_snr(torch.arange(steps, dtype=torch.float64, device="cpu"))
    return DiffusionConfig(alphas_cumprod=tuple(torch.sigmoid(log_snr).tolist()))
