"""The same solver in k-diffusion and here, in float64: the same picture to 1e-10.

Its ``sampling`` module is loaded alone, since the package imports what only its training needs.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from noisepath.exact import Mixture
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.schedules import schedule
from noisepath.solvers import Build, ddim, dpmpp_2m, heun, resolve
from noisepath.spacing import karras
from noisepath.tableau import Draw, draws

pytestmark = pytest.mark.peers

DATA = Mixture([0.5, 0.3, 0.2], [[0.8, -0.5, 0.1], [-0.7, 0.2, 0.4], [0.1, 0.9, -1.0]], [0.1, 0.2, 0.15])
BELIEF = DATA.denoiser()
LEVELS = karras(schedule("edm", sigma_min=0.03, sigma_max=14.0), 10)
Z = torch.randn(12, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """k_diffusion.sampling, with stand-ins for what its samplers do not use."""
    found = importlib.util.find_spec("k_diffusion")
    if found is None or not found.submodule_search_locations:
        pytest.skip("k-diffusion is not installed (make peers)")
    folder = Path(next(iter(found.submodule_search_locations)))
    package, utils = ModuleType("k_diffusion"), ModuleType("k_diffusion.utils")
    package.__path__ = [str(folder)]
    package.utils = utils  # type: ignore[attr-defined]
    utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]  # type: ignore[attr-defined]
    unused = {name: ModuleType(name) for name in ("scipy", "torchdiffeq", "torchsde")}
    unused["scipy"].integrate = None  # type: ignore[attr-defined]
    unused["torchdiffeq"].odeint = None  # type: ignore[attr-defined]
    for name, module in {"k_diffusion": package, "k_diffusion.utils": utils, **unused}.items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("k_diffusion.sampling", folder / "sampling.py")
    assert spec is not None and spec.loader is not None
    sampling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sampling)
    return sampling


def both(peer: Any, name: str, build: Build, **options: Any) -> tuple[Tensor, Tensor]:
    start = LEVELS[0].sigma * Z[-1]
    sigmas = torch.tensor([level.sigma for level in LEVELS], dtype=torch.float64)
    theirs = getattr(peer, name)(
        lambda x, sigma: BELIEF(x, Level(1.0, float(sigma[0]))), start, sigmas, disable=True, **options
    )
    table = build(LEVELS)
    noise = {place: Z[place.step] for place in draws(table)}
    return theirs, run_loop(table, lambda x, level: BELIEF(x, level), start, noise.__getitem__)


def difference(theirs: Tensor, ours: Tensor) -> float:
    return float((theirs - ours).abs().max() / theirs.abs().max())


@pytest.mark.parametrize(
    ("name", "build"), [("sample_euler", resolve("euler")), ("sample_heun", heun), ("sample_dpmpp_2m", dpmpp_2m)]
)
def test_a_deterministic_solver_is_the_same(peer: Any, name: str, build: Build) -> None:
    assert difference(*both(peer, name, build)) < 1e-10


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_euler_ancestral_is_ddim_with_the_same_eta(peer: Any, eta: float) -> None:
    step = iter(range(len(LEVELS)))
    options = {"eta": eta, "noise_sampler": lambda sigma, after: Z[next(step)]}
    assert difference(*both(peer, "sample_euler_ancestral", partial(ddim, eta=eta), **options)) < 1e-10


def test_the_karras_grid_is_the_same_to_their_float32(peer: Any) -> None:
    theirs = peer.get_sigmas_karras(10, 0.03, 14.0)
    torch.testing.assert_close(theirs.double(), torch.tensor([x.sigma for x in LEVELS]).double(), rtol=1e-5, atol=0)


def test_the_comparison_tells_two_solvers_apart(peer: Any) -> None:
    assert difference(*both(peer, "sample_heun", dpmpp_2m)) > 1e-4
    assert Draw(0, 0) not in draws(dpmpp_2m(LEVELS))
