"""Peers, driven on any levels with any denoiser, in float64: what the comparisons share.

Each peer's module is loaded as a copy of its own installed source, in which float32 means float64: nothing of the peer itself
is changed, and a copy may have a line of it repaired to see what that does.  diffusers' schedulers are given our levels in
place of the grids that they make.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisepath.levels import Level

Denoise = Callable[[Tensor, Level], Tensor]
Draws = Iterator[Tensor]
SCHEDULERS = "diffusers.schedulers.scheduling_"
_copies = itertools.count()


class Double(ModuleType):
    """A module (torch, numpy) seen with float32 meaning float64."""

    def __init__(self, module: ModuleType, double: Any) -> None:
        super().__init__(module.__name__)
        self._module, self.float32 = module, double

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class Changed(LookupError):
    """The line that was to be repaired is not in the installed version."""


def version(name: str) -> str:
    """The installed version of a distribution, or "" where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def copy_of(module: str, repairs: Mapping[str, str] | None = None, *, float64: bool = True) -> ModuleType:
    """A module's own source run again under another name.

    repairs: text that stands in it just once -> text to put there.  Raises Changed where it does not.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{module} is not installed (make peers)")
    source = Path(spec.origin).read_text(encoding="utf-8")
    for wrong, right in (repairs or {}).items():
        if source.count(wrong) != 1:
            raise Changed(f"{module} holds {source.count(wrong)} times, not once: {wrong}")
        source = source.replace(wrong, right)
    made = ModuleType(f"{module}_copy_{next(_copies)}")
    made.__package__, made.__file__ = spec.parent, spec.origin
    exec(compile(source, spec.origin, "exec"), made.__dict__)
    if float64:
        for name, double in (("torch", Double(torch, torch.float64)), ("np", Double(np, np.float64))):
            if name in made.__dict__:
                setattr(made, name, double)
    return made


def k_diffusion(repairs: Mapping[str, str] | None = None) -> Any:
    """k_diffusion.sampling alone, with stand-ins for what its samplers do not use: the package imports its training too."""
    package, utils = _hollow("k_diffusion", "k-diffusion"), ModuleType("k_diffusion.utils")
    package.utils = utils  # type: ignore[attr-defined]
    utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]  # type: ignore[attr-defined]
    stand_ins = {"k_diffusion": package, "k_diffusion.utils": utils}
    for name in ("torchdiffeq", "torchsde"):
        if importlib.util.find_spec(name) is None:
            stand_ins[name] = ModuleType(name)
            stand_ins[name].odeint = None  # type: ignore[attr-defined]
    with _in_place_of(stand_ins):
        return copy_of("k_diffusion.sampling", repairs, float64=False)


def smalldiffusion() -> Any:
    """smalldiffusion.diffusion alone: the package imports data sets and networks too."""
    with _in_place_of({"smalldiffusion": _hollow("smalldiffusion", "smalldiffusion")}):
        return copy_of("smalldiffusion.diffusion", float64=False)


def _hollow(package: str, distribution: str) -> ModuleType:
    """An installed package in which nothing is imported but what is asked for."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{distribution} is not installed (make peers)")
    made = ModuleType(package)
    made.__path__ = list(found.submodule_search_locations)
    return made


def stand_in(name: str) -> AbstractContextManager[None]:
    """An empty module in place of one that is not installed, for the import of a source that does not need it."""
    missing = importlib.util.find_spec(name) is None
    return _in_place_of({name: ModuleType(name)} if missing else {})


@contextmanager
def _in_place_of(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def preserving(sigmas: Sequence[float]) -> list[Level]:
    """The variance preserving levels of these sigma / alpha, as diffusers' schedulers make them."""
    return [Level(1.0 / math.hypot(1.0, sigma), sigma / math.hypot(1.0, sigma)) for sigma in sigmas]


def noise_in(denoise: Denoise) -> Denoise:
    """What a network that predicts the noise says where one that predicts the picture says ``denoise``."""
    return lambda x, level: (x - level.alpha * denoise(x, level)) / level.sigma


def scheduler(source: ModuleType, name: str, levels: Sequence[Level], **options: Any) -> Any:
    """A diffusers scheduler of a copied module, set to run over these levels: it holds their sigma / alpha in a table."""
    made = getattr(source, name)(**options)
    made.set_timesteps(len(levels) - 1)
    made.sigmas = torch.tensor([level.noise_ratio for level in levels], dtype=torch.float64)
    made._step_index = 0  # not all of them have set_begin_index
    return made


def follow(
    peer: Any,
    levels: Sequence[Level],
    network: Denoise,
    x: Tensor,
    moved: Callable[[int, Tensor], Tensor] | None = None,
) -> Tensor:
    """Run a scheduler with one call a step; ``moved(i, x)`` may replace the state before step i."""
    for i, t in enumerate(peer.timesteps):
        if moved is not None:
            x = moved(i, x)
        x = peer.step(network(x, levels[i]), t, x).prev_sample
    return x


def give_noise(source: ModuleType, draws: Draws) -> None:
    """What the module's ``randn_tensor`` gives from now on, one after another."""
    source.randn_tensor = lambda *args, **options: next(draws)  # type: ignore[attr-defined]


# The exact law of a peer on Gaussian data ------------------------------------------------------------------------------


class Law:
    """The state of a linear run as a linear form: row 0 the constant, row 1 the start's draw, row 2 + k the k-th draw.

    Schedulers are linear in state, output and noise, each row by itself, so the rows can be run as a batch: a draw is
    the unit vector of its row.  What comes out is the exact law of the sampler, with no sampling error.
    """

    def __init__(self, mean: float, variance: float, draws: int) -> None:
        self.mean, self.variance, self.rows = mean, variance, 2 + draws

    def start(self, level: Level) -> Tensor:
        """The true law at a level."""
        x = torch.zeros(self.rows, 1, dtype=torch.float64)
        x[0], x[1] = level.alpha * self.mean, math.sqrt(level.alpha**2 * self.variance + level.sigma**2)
        return x

    def denoise(self, x: Tensor, level: Level) -> Tensor:
        """The ideal denoiser of N(mean, variance), on the rows."""
        gain = level.alpha * self.variance / (level.alpha**2 * self.variance + level.sigma**2)
        output = gain * x
        output[0] += self.mean * (1.0 - gain * level.alpha)
        return output

    def draw(self, k: int) -> Tensor:
        unit = torch.zeros(self.rows, 1, dtype=torch.float64)
        unit[2 + k] = 1.0
        return unit

    def draws(self) -> Draws:
        return (self.draw(k) for k in itertools.count())

    def error(self, x: Tensor, level: Level) -> float:
        """Of the variance, relative, plus that of the mean in standard deviations."""
        true = level.alpha**2 * self.variance + level.sigma**2
        variance = float((x[1:] ** 2).sum())
        return abs(variance / true - 1.0) + abs(float(x[0]) - level.alpha * self.mean) / math.sqrt(true)


def slopes(steps: Sequence[int], errors: Sequence[float]) -> list[float]:
    """log(error ratio) / log(step ratio) of each two neighbours."""
    pairs = zip(itertools.pairwise(steps), itertools.pairwise(errors), strict=True)
    return [math.log(e / f) / math.log(n / m) for (m, n), (e, f) in pairs]


# azula -----------------------------------------------------------------------------------------------------------------


def azula_sampler(source: ModuleType, name: str, levels: Sequence[Level], denoise: Denoise, **options: Any) -> Any:
    """A sampler of azula (``source``: a copy of azula.sample) over these levels: time i is level i."""
    from azula.denoise import DiracPosterior

    alpha = torch.tensor([level.alpha for level in levels], dtype=torch.float64)
    sigma = torch.tensor([level.sigma for level in levels], dtype=torch.float64)

    class Network:
        def schedule(self, t: Tensor) -> tuple[Tensor, Tensor]:
            index = t.round().long()
            return alpha[index], sigma[index]

        def __call__(self, x: Tensor, t: Tensor) -> Any:
            return DiracPosterior(denoise(x, levels[int(t)]))

    last = len(levels) - 1
    made = getattr(source, name)(
        Network(), start=0.0, stop=float(last), steps=last, silent=True, dtype=torch.float64, **options
    )
    return made
