"""Speed of noising given noise: x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise, with a t for each picture.

    python benchmarks/forward_process.py                  about a minute
    python benchmarks/forward_process.py --repeats 31     steadier

Every figure is a ratio to torch.add(x, z, alpha=s, out=buffer), the one pass over memory that any noising needs, in
float32 with 2 threads.  A sample is one contender called for at least 50 ms on end, as in a training loop that does
nothing else; the contenders take turns, and the figure is the ratio of their median samples.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from noisepath.discrete import NoiseScheduler

# shape -> target
SHAPES = {(128, 3, 32, 32): 2.2, (16, 3, 256, 256): 1.6, (16, 4, 64, 64): 2.3}
BOUND, OURS, FRESH = "torch.add(x, z, alpha=, out=)", "noisepath, out=", "noisepath, new memory"
HAND, PEER = "by hand: mul, addcmul_, out=", "diffusers"
SAMPLE = 0.05


def contenders(shape: tuple[int, ...]) -> dict[str, Callable[[], object]]:
    """What is timed on one shape."""
    from diffusers import DDPMScheduler

    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    t = torch.randint(1000, shape[:1], generator=generator)
    out, column = torch.empty(shape), (shape[0], *(1,) * (len(shape) - 1))
    make: Any = DDPMScheduler
    process, peer = NoiseScheduler(), make()
    alpha = torch.tensor(process.tables.sqrt_alphas_cumprod)
    sigma = torch.tensor(process.tables.sqrt_one_minus_alphas_cumprod)

    def by_hand() -> torch.Tensor:
        return torch.mul(x, alpha[t].view(column), out=out).addcmul_(noise, sigma[t].view(column))

    return {
        BOUND: lambda: torch.add(x, noise, alpha=0.3, out=out),
        OURS: lambda: process.add_noise_with(x, noise, t, out=out),
        FRESH: lambda: process.add_noise_with(x, noise, t),
        HAND: by_hand,
        PEER: lambda: peer.add_noise(x, noise, t),
    }


def interleaved(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds per call of each function over samples taken in turns."""
    counts = {name: max(1, int(SAMPLE / _clock(function, 1, warm=1))) for name, function in functions.items()}
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            samples[name].append(_clock(function, counts[name]))
    return {name: statistics.median(times) for name, times in samples.items()}


def _clock(function: Callable[[], object], count: int, warm: int = 0) -> float:
    for _ in range(warm):
        function()
    started = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - started) / count


def main() -> None:
    """Print all contenders on all shapes, then the figures beside their targets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, {arguments.repeats} samples of {SAMPLE:g} s")
    summary = []
    for shape, target in SHAPES.items():
        with torch.no_grad():
            medians = interleaved(contenders(shape), arguments.repeats)
        print(f"\n{shape}{'':24s}median us   ratio")
        for name, seconds in medians.items():
            print(f"  {name:34s}{seconds * 1e6:12.1f}{seconds / medians[BOUND]:8.2f}")
        summary.append((shape, target, medians))

    print("\nnoising given noise, ratio to one pass")
    for shape, target, medians in summary:
        ratio = medians[OURS] / medians[BOUND]
        verdict = "ok" if ratio <= target else "MISSED"
        print(f"  {str(shape):20s}{ratio:6.2f} <= {target}  {verdict:8s}diffusers {medians[PEER] / medians[BOUND]:.2f}")


if __name__ == "__main__":
    main()
