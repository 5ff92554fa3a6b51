"""Networks of diffusers by its own schedulers and by ``Denoiser.from_diffusers``: how far apart are the pictures?

    python benchmarks/from_diffusers.py             one to two minutes

Tiny random networks, the same start and draws, 5, 10 and 20 steps; the difference is the worst over all values of a batch,
relative to the largest of them.  First in float64, with diffusers' tables replaced by the same betas in float64 (some of its
schedulers go through float32 all the same); beside it everything as it comes, in float32.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from noisepath import Denoiser, sample  # noqa: E402
from noisepath.levels import Level  # noqa: E402
from noisepath.schedules import Schedule  # noqa: E402
from noisepath.solvers import Build, ddim, ddpm, dpmpp_2m  # noqa: E402
from noisepath.spacing import leading, trailing  # noqa: E402
from noisepath.tableau import START, Draw  # noqa: E402

TARGET = 2e-6
STEPS = (5, 10, 20)  # divisors of 1,000: else diffusers' "trailing" recomputes the previous time, and takes another
DRAWS = torch.randn(max(STEPS) + 1, 2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
Grid = Callable[[Any, Schedule, int], list[Level]]
Case = tuple[str, Callable[[], Any], Build, Grid]


def by_table(spacing: Callable[[Schedule, int], list[Level]]) -> Grid:
    return lambda scheduler, path, steps: spacing(path, steps)


def by_flow(scheduler: Any, path: Schedule, steps: int) -> list[Level]:
    sigmas = [float(s) for s in scheduler.sigmas]
    return [Level(s, 1 - s) if scheduler.config.get("invert_sigmas") else Level(1 - s, s) for s in sigmas]


def by_sigmas(scheduler: Any, path: Schedule, steps: int) -> list[Level]:
    return [Level(1.0, float(s)) for s in scheduler.sigmas]


def cases() -> Iterator[Case]:
    """What is compared: a name, diffusers' scheduler, our solver and where its levels come from."""
    zero: dict[str, Any] = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    for betas in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        for predicts in ("epsilon", "v_prediction", "sample"):
            options = {"beta_schedule": betas, "prediction_type": predicts, "clip_sample": False}
            yield f"DDIM {betas} {predicts}", partial(diffusers.DDIMScheduler, **options), ddim, by_table(leading)
            yield f"DDPM {betas} {predicts}", partial(diffusers.DDPMScheduler, **options), ddpm, by_table(leading)
    yield "DDIM zero SNR", partial(diffusers.DDIMScheduler, clip_sample=False, **zero), ddim, by_table(trailing)
    yield "DDPM zero SNR", partial(diffusers.DDPMScheduler, clip_sample=False, **zero), ddpm, by_table(trailing)
    for name, clips in (
        ("clipped", {"clip_sample": True}),
        ("thresholded", {"thresholding": True, "sample_max_value": 2.0, "dynamic_thresholding_ratio": 0.9}),
    ):
        yield f"DDPM {name}", partial(diffusers.DDPMScheduler, **clips), ddpm, by_table(leading)
        yield f"DDIM {name}", partial(diffusers.DDIMScheduler, **clips), ddim, by_table(leading)
    cogvideox: dict[str, Any] = {"prediction_type": "v_prediction", "timestep_spacing": "leading"}
    yield "CogVideoX DDIM", partial(diffusers.CogVideoXDDIMScheduler, **cogvideox), ddim, by_table(leading)
    yield "CogVideoX DDIM zero SNR", partial(diffusers.CogVideoXDDIMScheduler, **zero), ddim, by_table(trailing)
    continuous: dict[str, Any] = {
        "prediction_type": "v_prediction", "timestep_type": "continuous", "use_karras_sigmas": True,
        "beta_schedule": "scaled_linear", "sigma_min": 0.002, "sigma_max": 700.0,
    }  # fmt: skip
    yield "Euler continuous", partial(diffusers.EulerDiscreteScheduler, **continuous), ddim, by_sigmas
    inverted = partial(diffusers.FlowMatchEulerDiscreteScheduler, invert_sigmas=True)
    yield "flow inverted", inverted, ddim, by_flow
    for shift in (1.0, 3.0):
        yield f"flow shift {shift:g}", partial(diffusers.FlowMatchEulerDiscreteScheduler, shift=shift), ddim, by_flow
    yield "EDM Euler", partial(diffusers.EDMEulerScheduler, sigma_max=20.0, sigma_data=0.7), ddim, by_sigmas
    yield "EDM DPM++ 2M", partial(diffusers.EDMDPMSolverMultistepScheduler, sigma_max=20.0, sigma_data=0.7), dpmpp_2m, by_sigmas


def network(seed: int) -> Any:
    torch.manual_seed(seed)
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=2, out_channels=2, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    ).eval()  # fmt: skip


def in_float64(scheduler: Any, path: Schedule) -> None:
    """The scheduler's table of alpha_bar from the same configuration, worked out in float64."""
    if hasattr(scheduler, "alphas_cumprod") and hasattr(path, "config"):
        scheduler.alphas_cumprod = torch.tensor(path.config.tables().alphas_cumprod, dtype=torch.float64)
        for name in ("one", "final_alpha_cumprod"):
            if hasattr(scheduler, name):
                setattr(scheduler, name, torch.tensor(1.0, dtype=torch.float64))


def theirs(net: Any, scheduler: Any, x: Tensor, draws: Tensor) -> Tensor:
    """What a pipeline does with a network and its scheduler; draw i is that of step i."""
    drawn = iter(draws)
    # of the clipped estimate the noise, too: the other way the two parts of a step contradict each other
    options = {"use_clipped_model_output": True} if type(scheduler).__name__ == "DDIMScheduler" else {}
    with torch.no_grad(), mock.patch("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, **k: next(drawn)):
        for t in scheduler.timesteps:
            shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            x = scheduler.step(net(shown, t).sample, t, x, **options).prev_sample
    return x


def difference(make: Callable[[], Any], build: Build, grid: Grid, shipped: bool) -> float:
    """The worst over all numbers of steps and two networks."""
    worst = 0.0
    for steps in STEPS:
        for seed in (3, 4):
            net, scheduler, draws = network(seed), make(), DRAWS
            denoiser = Denoiser.from_diffusers(net, scheduler)
            if not shipped:
                net, draws = net.double(), DRAWS.double()
                in_float64(scheduler, denoiser.schedule)
            scheduler.set_timesteps(steps)
            levels = grid(scheduler, denoiser.schedule, steps)
            made = {START: draws[-1], **{Draw(n, 0): draws[n] for n in range(steps)}}
            shape, dtype = tuple(draws[-1].shape), draws.dtype
            got = sample(denoiser, shape, solver=build, levels=levels, noise=made.__getitem__, dtype=dtype)
            expected = theirs(net, scheduler, draws[-1] * levels[0].sigma, draws)
            worst = max(worst, float((got - expected).abs().max() / expected.abs().max()))
    return worst


def main() -> None:
    torch.set_num_threads(1)
    print(f"diffusers {diffusers.__version__}, {', '.join(map(str, STEPS))} steps")
    print(f"{'':34s}{'in float64':>16s}{'as shipped':>14s}")
    worst = 0.0
    for name, make, build, grid in cases():
        found, shipped = (difference(make, build, grid, as_shipped) for as_shipped in (False, True))
        worst = max(worst, found)
        print(f"{name:34s}{found:16.1e}{shipped:14.1e}", flush=True)
    print(f"worst difference of from_diffusers' pictures: {worst:.1e}   target <= {TARGET:.0e}")


if __name__ == "__main__":
    main()
