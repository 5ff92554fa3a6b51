"""The catalogue of solvers: which there are, what each is, and where it is found elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..errors import unknown
from ..levels import Level
from ..tableau import Tableau
from ..widths import told
from .adams import adams, adams_moulton, ipndm, pndm
from .churn import edm, langevin, restart
from .correctors import sa_solver, unipc
from .ddim import ddim, ddpm
from .distilled import consistency, lcm, tcd
from .heun import heun
from .multistep import dpmpp_2m, exponential_adams
from .sde import dpm2_ancestral, dpmpp_2m_sde, dpmpp_2s_ancestral, dpmpp_3m_sde, dpmpp_sde, er_sde, seeds
from .singlestep import dpm_solver, dpmpp_2s, dpmpp_3s, kdpm2, midpoint, res, rk4

__all__ = ["SOLVERS", "Build", "Solver", "find", "resolve"]

Build = Callable[[Sequence[Level]], Tableau]


@dataclass(frozen=True)
class Solver:
    """A catalogue entry."""

    build: Callable[..., Tableau]
    """Levels, and options by keyword, to a tableau."""
    order: int
    """The global order of a whole run with the default options: of the state where the solver is deterministic, of the
    distribution (weak order) where it draws noise; 0 where steps however small do not lead to the exact answer."""
    calls: int
    """Calls of the denoiser in a step."""
    frame: str
    """The variable it interpolates in (``noisepath.solvers.frames.FRAMES``), or "any" where it does not."""
    summary: str
    """One line."""
    source: str
    """Paper and equation."""
    stochastic: bool = False
    """Whether it draws noise on the way."""
    aliases: tuple[str, ...] = ()
    """Other names that are understood."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """What it is called in other libraries."""
    looks_back: int = 0
    """How many start values it wants: with that many exact ones a multistep method shows its own order."""
    own_order: int = 0
    """The order of the method itself, from exact start values (in "ipndm" and its like on equal steps of sigma / alpha); 0: as
    ``order``."""

    bounded: bool = True
    """Whether its error is at most a stated factor of DDIM's on any grid (:data:`noisepath.analysis.FACTORS`); not so of those
    that follow neither the ODE nor the SDE."""

    @property
    def order_from_exact_starts(self) -> int:
        """What is measured when the first ``looks_back`` steps are exact."""
        return self.own_order or self.order


SOLVERS: dict[str, Solver] = {
    "ddim": Solver(
        ddim,
        order=1,
        calls=1,
        frame="any",
        summary="DDIM; Euler's rule in sigma and on a straight flow are the same",
        source="Song et al. 2010.02502, eq. 12",
        aliases=("euler", "flow_euler"),
        elsewhere={"diffusers": "DDIM, EulerDiscrete, FlowMatchEuler", "k-diffusion": "euler", "ComfyUI": "euler, ddim"},
    ),
    "ddpm": Solver(
        ddpm,
        order=1,
        calls=1,
        frame="any",
        stochastic=True,
        summary="DDPM's ancestral step; for many steps",
        source="Ho et al. 2006.11239, eq. 7 and algorithm 2",
        aliases=("ancestral",),
        elsewhere={"diffusers": "DDPM", "ComfyUI": "ddpm"},
    ),
    "euler_ancestral": Solver(
        partial(ddim, eta=1.0),
        order=1,
        calls=1,
        frame="any",
        stochastic=True,
        summary="DDIM with all the noise of DDPM's posterior",
        source="Song et al. 2010.02502, eq. 16",
        aliases=("euler_a",),
        elsewhere={"diffusers": "EulerAncestralDiscrete", "k-diffusion": "euler_ancestral", "ComfyUI": "euler_ancestral"},
    ),
    "heun": Solver(
        heun,
        order=2,
        calls=2,
        frame="noise",
        summary="the mean of both ends' slopes",
        source="Karras et al. 2206.00364, algorithm 1",
        elsewhere={"diffusers": "HeunDiscrete, FlowMatchHeun", "k-diffusion": "heun", "ComfyUI": "heun"},
    ),
    "midpoint": Solver(
        midpoint,
        order=2,
        calls=2,
        frame="flow",
        summary="the slope at half the step",
        source="Runge 1895",
    ),
    "rk4": Solver(
        rk4,
        order=4,
        calls=4,
        frame="flow",
        summary="Runge and Kutta's classical method",
        source="Kutta 1901",
    ),
    "kdpm2": Solver(
        kdpm2,
        order=2,
        calls=2,
        frame="noise",
        summary="the noise at the geometric middle of the step",
        source="Karras et al. 2206.00364, algorithm 2",
        aliases=("dpm_2",),
        elsewhere={"diffusers": "KDPM2Discrete", "k-diffusion": "dpm_2", "ComfyUI": "dpm_2"},
    ),
    "dpm_solver_2": Solver(
        partial(dpm_solver, order=2),
        order=2,
        calls=2,
        frame="deis",
        summary="singlestep in the noise",
        source="Lu et al. 2206.00927, algorithm 1",
        elsewhere={"diffusers": "DPMSolverSinglestep (dpmsolver)", "k-diffusion": "DPMSolver", "ComfyUI": "dpm_fast"},
    ),
    "dpm_solver_3": Solver(
        partial(dpm_solver, order=3),
        order=3,
        calls=3,
        frame="deis",
        summary="singlestep in the noise",
        source="Lu et al. 2206.00927, algorithm 2",
        elsewhere={"diffusers": "DPMSolverSinglestep (dpmsolver)", "k-diffusion": "DPMSolver", "ComfyUI": "dpm_fast"},
    ),
    "dpmpp_2s": Solver(
        dpmpp_2s,
        order=2,
        calls=2,
        frame="x0",
        summary="singlestep in the belief",
        source="Lu et al. 2211.01095, algorithm 1",
        elsewhere={"diffusers": "DPMSolverSinglestep"},
    ),
    "dpmpp_3s": Solver(
        dpmpp_3s,
        order=3,
        calls=3,
        frame="x0",
        summary="singlestep in the belief",
        source="Lu et al. 2211.01095, appendix",
        elsewhere={"diffusers": "DPMSolverSinglestep"},
    ),
    "res_2s": Solver(
        partial(res, order=2),
        order=2,
        calls=2,
        frame="x0",
        summary="exponential Runge-Kutta, its line integrated exactly",
        source="Zhang et al. 2308.02157",
    ),
    "res_3s": Solver(
        partial(res, order=3),
        order=3,
        calls=3,
        frame="x0",
        summary="exponential Runge-Kutta for stiff problems",
        source="Hochbruck & Ostermann 2005, eq. 5.8",
    ),
    "dpmpp_2m": Solver(
        dpmpp_2m,
        order=2,
        looks_back=1,
        calls=1,
        frame="x0",
        summary="multistep in the belief; a good first choice",
        source="Lu et al. 2211.01095, algorithm 2",
        aliases=("dpmsolver++", "dpmpp"),
        elsewhere={"diffusers": "DPMSolverMultistep", "k-diffusion": "dpmpp_2m", "ComfyUI": "dpmpp_2m"},
    ),
    "exponential_adams": Solver(
        exponential_adams,
        order=2,
        looks_back=1,
        calls=1,
        frame="x0",
        summary="exact exponential multistep of order 1 to 4; tau > 0 adds noise",
        source="Hochbruck & Ostermann 2005, eq. 2.2; Xue et al. 2309.05019 (tau)",
        aliases=("res_2m", "res_multistep"),
        elsewhere={"ComfyUI": "res_multistep"},
    ),
    "adams": Solver(
        adams,
        order=2,
        looks_back=2,
        own_order=3,
        calls=1,
        frame="flow",
        summary="Adams-Bashforth of any order in any frame",
        source="Bashforth & Adams 1883; Zhang & Chen 2204.13902",
        aliases=("vab",),
    ),
    "lms": Solver(
        partial(adams, frame="noise", order=4),
        order=2,
        looks_back=3,
        own_order=4,
        calls=1,
        frame="noise",
        summary="Adams-Bashforth in the noise over sigma / alpha",
        source="Zhang & Chen 2204.13902, app. B",
        aliases=("ipndm_v",),
        elsewhere={"diffusers": "LMSDiscrete", "k-diffusion": "lms", "ComfyUI": "lms, ipndm_v"},
    ),
    "deis": Solver(
        partial(adams, frame="deis"),
        order=2,
        looks_back=2,
        own_order=3,
        calls=1,
        frame="deis",
        summary="exponential multistep in the noise",
        source="Zhang & Chen 2204.13902, eq. 15",
        elsewhere={"diffusers": "DEISMultistep", "ComfyUI": "deis"},
    ),
    "ipndm": Solver(
        ipndm,
        order=2,
        looks_back=3,
        own_order=4,
        calls=1,
        frame="noise",
        summary="Adams-Bashforth's weights for equal steps, whatever the steps",
        source="Zhang & Chen 2204.13902, eq. 28",
        elsewhere={"diffusers": "IPNDM", "ComfyUI": "ipndm"},
    ),
    "pndm": Solver(
        pndm,
        order=2,
        looks_back=3,
        own_order=4,
        calls=1,
        frame="noise",
        summary="iPNDM after three Runge-Kutta steps",
        source="Liu et al. 2202.09778, algorithm 2",
        elsewhere={"diffusers": "PNDM"},
    ),
    "plms": Solver(
        partial(pndm, start="heun"),
        order=2,
        looks_back=3,
        own_order=4,
        calls=1,
        frame="noise",
        summary="iPNDM after one step of Heun's kind, Stable Diffusion's first sampler",
        source="Liu et al. 2202.09778; Rombach et al. 2112.10752",
        elsewhere={"diffusers": "PNDM (skip_prk_steps)"},
    ),
    "adams_moulton": Solver(
        adams_moulton,
        order=3,
        looks_back=3,
        own_order=5,
        calls=1,
        frame="flow",
        summary="Adams' predictor and corrector in any frame",
        source="Moulton 1926; Zhao et al. 2302.04867",
    ),
    "unipc": Solver(
        unipc,
        order=3,
        looks_back=1,
        calls=1,
        frame="x0",
        summary="exponential Adams, and a corrector that costs no call",
        source="Zhao et al. 2302.04867, algorithms 1 and 2",
        aliases=("uni_pc_bh2",),
        elsewhere={"diffusers": "UniPCMultistep", "ComfyUI": "uni_pc, uni_pc_bh2"},
    ),
    "dpm2_ancestral": Solver(
        dpm2_ancestral,
        order=2,
        calls=2,
        frame="noise",
        stochastic=True,
        summary="kdpm2 with fresh noise",
        source="k-diffusion",
        aliases=("dpm_2_ancestral",),
        elsewhere={
            "diffusers": "KDPM2AncestralDiscrete",
            "k-diffusion": "dpm_2_ancestral",
            "ComfyUI": "dpm_2_ancestral",
        },
    ),
    "dpmpp_2s_ancestral": Solver(
        dpmpp_2s_ancestral,
        order=2,
        calls=2,
        frame="x0",
        stochastic=True,
        summary="dpmpp_2s with fresh noise",
        source="k-diffusion",
        elsewhere={"k-diffusion": "dpmpp_2s_ancestral", "ComfyUI": "dpmpp_2s_ancestral"},
    ),
    "dpmpp_sde": Solver(
        dpmpp_sde,
        order=2,
        calls=2,
        frame="x0",
        stochastic=True,
        summary="singlestep SDE",
        source="k-diffusion",
        elsewhere={"diffusers": "DPMSolverSDE", "k-diffusion": "dpmpp_sde", "ComfyUI": "dpmpp_sde"},
    ),
    "dpmpp_2m_sde": Solver(
        dpmpp_2m_sde,
        order=2,
        calls=1,
        frame="x0",
        stochastic=True,
        summary="multistep SDE",
        source="k-diffusion",
        elsewhere={
            "diffusers": "DPMSolverMultistep (sde-dpmsolver++)",
            "k-diffusion": "dpmpp_2m_sde",
            "ComfyUI": "dpmpp_2m_sde",
        },
    ),
    "dpmpp_3m_sde": Solver(
        dpmpp_3m_sde,
        order=2,
        calls=1,
        frame="x0",
        stochastic=True,
        summary="multistep SDE through three beliefs",
        source="k-diffusion",
        elsewhere={"k-diffusion": "dpmpp_3m_sde", "ComfyUI": "dpmpp_3m_sde"},
    ),
    "sa_solver": Solver(
        sa_solver,
        order=2,
        calls=1,
        frame="x0",
        stochastic=True,
        summary="stochastic Adams with predictor and corrector",
        source="Xue et al. 2309.05019, algorithm 1",
        elsewhere={"diffusers": "SASolver", "ComfyUI": "sa_solver"},
    ),
    "seeds_2": Solver(
        partial(seeds, order=2),
        order=2,
        calls=2,
        frame="x0",
        stochastic=True,
        summary="exponential Runge-Kutta for the SDE",
        source="Gonzalez et al. 2305.14267, algorithm 2",
        elsewhere={"ComfyUI": "seeds_2"},
    ),
    "seeds_3": Solver(
        partial(seeds, order=3),
        order=2,
        calls=3,
        frame="x0",
        stochastic=True,
        summary="exponential Runge-Kutta for the SDE",
        source="Gonzalez et al. 2305.14267, algorithm 3",
        elsewhere={"ComfyUI": "seeds_3"},
    ),
    "er_sde": Solver(
        er_sde,
        order=2,
        calls=1,
        frame="x0",
        stochastic=True,
        summary="an SDE whose noise has a chosen scale",
        source="Cui et al. 2309.06169, algorithms 1 to 3",
        elsewhere={"ComfyUI": "er_sde"},
    ),
    "edm": Solver(
        edm,
        order=2,
        calls=2,
        frame="noise",
        stochastic=True,
        summary="Heun's method with churn",
        source="Karras et al. 2206.00364, algorithm 2",
        elsewhere={"diffusers": "EDMEuler, HeunDiscrete (s_churn)", "k-diffusion": "heun (s_churn)", "ComfyUI": "heun"},
    ),
    "restart": Solver(
        restart,
        order=2,
        calls=2,
        frame="noise",
        stochastic=True,
        summary="Heun's method that goes back once and repeats",
        source="Xu et al. 2306.14878, algorithm 1",
        elsewhere={"ComfyUI": "restart (extension)"},
    ),
    "langevin": Solver(
        langevin,
        order=0,
        bounded=False,
        calls=2,
        frame="any",
        stochastic=True,
        summary="DDIM with Langevin steps at each level",
        source="Song et al. 2011.13456, algorithm 1",
        elsewhere={"diffusers": "ScoreSdeVe"},
    ),
    "lcm": Solver(
        lcm,
        order=0,
        bounded=False,
        calls=1,
        frame="any",
        stochastic=True,
        summary="for latent consistency models",
        source="Luo et al. 2310.04378, algorithm 3",
        elsewhere={"diffusers": "LCM", "ComfyUI": "lcm"},
    ),
    "tcd": Solver(
        tcd,
        order=0,
        bounded=False,
        calls=1,
        frame="any",
        stochastic=True,
        summary="for trajectory consistency models",
        source="Zheng et al. 2402.19159, algorithm 4",
        elsewhere={"diffusers": "TCD"},
    ),
    "consistency": Solver(
        consistency,
        order=0,
        bounded=False,
        calls=1,
        frame="any",
        stochastic=True,
        summary="for consistency models",
        source="Song et al. 2303.01469, algorithm 1",
        elsewhere={"diffusers": "CMStochasticIterative"},
    ),
}


def find(name: str) -> str:
    """The catalogue's name for a name or an alias; ValueError, with the nearest, for one that is unknown."""
    for known, entry in SOLVERS.items():
        if name == known or name in entry.aliases:
            return known
    raise unknown("solver", name, [n for known, entry in SOLVERS.items() for n in (known, *entry.aliases)])


def resolve(solver: str | Build, data_scale: float | None = None) -> Build:
    """The function from levels to a tableau that a name, an alias or a callable stands for.

    data_scale: the model's own, if known (:mod:`noisepath.widths`): a solver that takes one is given it, by name and as a
        function alike.

    Options are given with ``functools.partial(ddim, eta=1.0)``.  ValueError for an unknown name, TypeError for anything else.
    """
    if callable(solver):
        return told(solver, data_scale)
    if not isinstance(solver, str):
        raise TypeError(f"a solver is a name or a function from levels to a tableau, but got {solver!r}")
    return told(SOLVERS[find(solver)].build, data_scale)
