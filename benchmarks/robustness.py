"""No run ends in inf, NaN or an exception: every solver, 1 to 20 calls, seven schedules, strong guidance, half precision.

    python benchmarks/robustness.py [--schedules NAME ...] [--solvers NAME ...] [--most 20]

The network is tiny, random and told a class; it runs in float32 and in bfloat16 (the states stay float32), with guidance of
scale 1 and 15.  Two of the tables end in pure noise exactly, alpha = 0: there it predicts v or the picture, and a network
that predicts the noise or the score, which have no answer there, is to be refused with one clear ValueError, before any work.
A run makes the most steps within so many calls.

The last line counts the failures, beside the target.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from noisepath import Condition, Denoiser, DiffusionConfig, classifier_free, sample
from noisepath.sampling import steps_within
from noisepath.schedules import Discrete, Schedule, schedule
from noisepath.solvers import SOLVERS

SHAPE = (2, 2, 4, 4)
CLASSES = 3
SCALES = (1.0, 15.0)
DTYPES = (torch.float32, torch.bfloat16)


def schedules() -> dict[str, tuple[Schedule, str]]:
    """Each with what a network on it predicts."""
    betas = (*torch.linspace(1e-3, 0.2, 99, dtype=torch.float64).tolist(), 1.0)
    return {
        "linear": (schedule("linear"), "noise"),
        "scaled linear": (schedule("quadratic", beta_start=0.00085, beta_end=0.012), "noise"),
        "cosine": (schedule("cosine"), "noise"),
        "zero terminal SNR": (schedule("linear", zero_terminal_snr=True), "v"),
        "last beta 1": (Discrete(config=DiffusionConfig(betas=betas)), "x0"),
        "flow": (schedule("flow"), "velocity"),
        "edm": (schedule("edm"), "edm"),
    }


class Tiny(nn.Module):
    """Two convolutions, and a shift of the layer between by the time and the class; ``CLASSES`` itself is no class."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.into, self.out = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 2, 3, padding=1)
            self.norm, self.label = nn.GroupNorm(2, 8), nn.Embedding(CLASSES + 1, 8)

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        x, t = x.to(self.into.weight.dtype), t.float()
        time = torch.stack([torch.sin(t * 4.0**k) for k in range(-4, 4)], 1).to(x.dtype)
        h = self.norm(self.into(x)) + (self.label(label) + time)[:, :, None, None]
        answer: Tensor = self.out(nn.functional.silu(h))
        return answer


def denoiser(path: Schedule, prediction: str, dtype: torch.dtype) -> Denoiser:
    """The tiny network on a schedule."""
    null = Condition(label=torch.tensor([CLASSES]))
    return Denoiser(Tiny().to(dtype).eval().requires_grad_(False), path, prediction, null=null)


def attempt(model: Denoiser, solver: str, calls: int, scale: float) -> str:
    """One run; what went wrong, or nothing."""
    told = Condition(label=torch.arange(SHAPE[0]) % CLASSES)
    try:
        steps = steps_within(model.schedule, calls, solver=solver, data_scale=model.data_scale)
        x = sample(classifier_free(model, scale), SHAPE, solver=solver, steps=steps, condition=told)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "" if bool(torch.isfinite(x).all()) else "not finite"


def runs(
    names: Iterable[str],
    solvers: Iterable[str],
    calls: Iterable[int],
    dtypes: Iterable[torch.dtype] = DTYPES,
    scales: Iterable[float] = SCALES,
) -> Iterator[tuple[str, str]]:
    """What each run was, and what went wrong with it (or nothing)."""
    known = schedules()
    calls, solvers, scales = list(calls), list(solvers), list(scales)
    for name in names:
        path, prediction = known[name]
        for dtype in dtypes:
            model = denoiser(path, prediction, dtype)
            for solver in solvers:
                for scale in scales:
                    for n in calls:
                        what = f"{name}, {prediction}, {str(dtype)[6:]}, guidance {scale:g}, {solver}, {n} calls"
                        yield what, attempt(model, solver, n, scale)


def refusals(solvers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Noise and score predictions at alpha = 0: each is to raise one ValueError before the network is asked."""
    known = schedules()
    for name in ("zero terminal SNR", "last beta 1"):
        for prediction in ("noise", "score"):
            model = denoiser(known[name][0], prediction, torch.float32)
            asked: list[int] = []
            model.network.register_forward_pre_hook(lambda *_, asked=asked: asked.append(1))
            for solver in solvers:
                what = f"{name}, {prediction}, {solver}"
                try:
                    sample(model, SHAPE, solver=solver, steps=4, condition=Condition(label=torch.zeros(2, dtype=torch.long)))
                    yield what, "was not refused"
                except ValueError as error:
                    clear = "alpha" in str(error) and "\n" not in str(error) and not asked
                    yield what, "" if clear else f"asked {len(asked)} times; {error}"
                except Exception as error:
                    yield what, f"{type(error).__name__}: {error}"


def main() -> None:
    """Print the failures, and how many there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", nargs="*", default=list(schedules()))
    parser.add_argument("--solvers", nargs="*", default=list(SOLVERS))
    parser.add_argument("--most", type=int, default=20, help="runs of 1 to so many calls")
    given = parser.parse_args()
    torch.set_num_threads(1)
    failed = total = 0
    for name in given.schedules:
        here = [(what, wrong) for what, wrong in runs([name], given.solvers, range(1, given.most + 1))]
        bad = [f"  {what}: {wrong}" for what, wrong in here if wrong]
        print("\n".join([f"{name}: {len(here)} runs, {len(bad)} failures", *bad[:20]]), flush=True)
        failed, total = failed + len(bad), total + len(here)
    refused = list(refusals(given.solvers))
    bad = [f"  {what}: {wrong}" for what, wrong in refused if wrong]
    print("\n".join([f"noise and score at alpha = 0: {len(refused)} runs, {len(bad)} not refused clearly", *bad[:20]]))
    print(f"{failed + len(bad)} failures in {total + len(refused)} runs (target: 0)")


if __name__ == "__main__":
    main()
