"""Does the seed make the same picture, whatever it is made together with?

Picture i is made alone, in a batch of 7, in one of 100, and in another order, by every solver; its draws must be equal to
the bit, and the pictures to 1e-9 in float64 with an exact denoiser.  A trained network in float32 rounds differently in
batches of another size: there 99 % of the pictures must agree to 1e-4, with 20 steps of DDIM.

    python benchmarks/seeds.py --run noisepath-demo      a model that `make demo` made; without one, 300 steps are trained
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from noisepath import Condition, Denoiser, TrainConfig, load, train
from noisepath.data import digits
from noisepath.exact import Mixture
from noisepath.noise import Keyed
from noisepath.sampling import sample
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS
from noisepath.tableau import START, Draw

PICTURES, SHAPE, SEED = 100, (1, 6, 6), 11
TARGET, TRAINED_TARGET = 1e-9, 1e-4


def differing_draws() -> int:
    """How many float32 numbers differ between the draws of a picture made alone or in company."""
    different = 0
    for place in (START, Draw(0, 0), Draw(19, 1)):
        whole = Keyed(SEED, range(PICTURES), SHAPE)(place)
        order = torch.randperm(PICTURES, generator=torch.Generator().manual_seed(0)).tolist()
        different += int((Keyed(SEED, order, SHAPE)(place) != whole[order]).sum())
        for size in (1, 7):
            for first in range(0, PICTURES, size):
                some = range(first, min(first + size, PICTURES))
                different += int((Keyed(SEED, some, SHAPE)(place) != whole[first : first + size]).sum())
    return different


def three_ways(make: Callable[[list[int], int], Tensor]) -> dict[str, Tensor]:
    """Largest difference of each picture to the whole batch's, (PICTURES,), by the way it was made.

    ``make(indices, batch_size)`` gives those pictures.
    """
    everyone = list(range(PICTURES))
    whole = make(everyone, PICTURES)
    order = torch.randperm(PICTURES, generator=torch.Generator().manual_seed(1)).tolist()
    ways = {"alone": make(everyone, 1), "in 7s": make(everyone, 7)}
    ways["another order"] = make(order, PICTURES)[torch.tensor(order).argsort()]
    return {way: (x - whole).abs().flatten(1).amax(1) for way, x in ways.items()}


def with_an_exact_denoiser() -> float:
    """The largest difference, over every solver."""
    generator = torch.Generator().manual_seed(3)
    data = Mixture([0.2] * 5, torch.randn(5, *SHAPE, generator=generator, dtype=torch.float64) * 0.5, [0.02] * 5)
    denoiser = data.denoiser(schedule("linear"))
    print(f"{PICTURES} pictures of {SHAPE}, exact denoiser, float64, 20 steps: largest difference to a batch of {PICTURES}")
    worst = 0.0
    for name in SOLVERS:

        def make(indices: list[int], batch_size: int, solver: str = name) -> Tensor:
            return sample(
                denoiser,
                (len(indices), *SHAPE),
                solver=solver,
                seed=SEED,
                dtype=torch.float64,
                indices=indices,
                batch_size=batch_size,
            )

        differences = {way: float(d.max()) for way, d in three_ways(make).items()}
        worst = max(worst, *differences.values())
        print(f"  {name:18} " + "   ".join(f"{way} {d:.1e}" for way, d in differences.items()))
    return worst


def with_a_network(model: Denoiser) -> float:
    """The difference that 99 % of the pictures of a trained network stay below, in the worst of the ways; DDIM, 20 steps."""

    def make(indices: list[int], batch_size: int) -> Tensor:
        label = torch.tensor(indices) % model.info["classes"]
        return sample(
            model,
            (len(indices), *model.info["shape"]),
            solver="ddim",
            steps=20,
            seed=SEED,
            condition=Condition(label=label),
            indices=indices,
            batch_size=batch_size,
        )

    quantiles = {way: float(d.quantile(0.99)) for way, d in three_ways(make).items()}
    print("trained network, float32, DDIM 20, 99 % quantile:   " + "   ".join(f"{w} {q:.1e}" for w, q in quantiles.items()))
    return max(quantiles.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("noisepath-demo"))
    run = parser.parse_args().run
    worst = with_an_exact_denoiser()
    if (run / "config.json").exists():
        model = load(run)
    else:
        with tempfile.TemporaryDirectory() as folder:
            model = train(digits(), folder, TrainConfig(steps=300))
    trained = with_a_network(model)
    print(f"\ndraws that differ: {differing_draws()}   target 0")
    print(f"largest difference, exact denoiser: {worst:.1e}   target <= {TARGET:g}")
    print(f"difference of 99 % of a network's pictures: {trained:.1e}   target <= {TRAINED_TARGET:g}")


if __name__ == "__main__":
    main()
