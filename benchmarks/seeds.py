"""Does the seed make the same picture, whatever it is made together with?

Picture i is made alone, in a batch of 7, in one of 100, and in another order, by every solver; its draws must be equal to
the bit, and the pictures to 1e-9 in float64 with an exact denoiser.

    python benchmarks/seeds.py
"""

from __future__ import annotations

import torch

from noisepath.exact import Mixture
from noisepath.noise import Keyed
from noisepath.sampling import sample
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS
from noisepath.tableau import START, Draw

PICTURES, SHAPE, SEED = 100, (3, 8, 8), 11
TARGET = 1e-9


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


def main() -> None:
    generator = torch.Generator().manual_seed(3)
    data = Mixture([0.2] * 5, torch.randn(5, *SHAPE, generator=generator, dtype=torch.float64) * 0.5, [0.02] * 5)
    denoiser = data.denoiser(schedule("linear"))
    print(f"{PICTURES} pictures of {SHAPE}, exact denoiser, float64, 20 steps: largest difference to a batch of {PICTURES}")
    worst = 0.0
    for name in SOLVERS:
        options = {"solver": name, "seed": SEED, "dtype": torch.float64}
        whole = sample(denoiser, (PICTURES, *SHAPE), **options)  # type: ignore[arg-type]
        order = torch.randperm(PICTURES, generator=torch.Generator().manual_seed(1)).tolist()
        ways = {
            "alone": sample(denoiser, (PICTURES, *SHAPE), batch_size=1, **options),  # type: ignore[arg-type]
            "in 7s": sample(denoiser, (PICTURES, *SHAPE), batch_size=7, **options),  # type: ignore[arg-type]
            "another order": sample(denoiser, (PICTURES, *SHAPE), indices=order, **options),  # type: ignore[arg-type]
        }
        ways["another order"] = ways["another order"][torch.tensor(order).argsort()]
        differences = {way: float((x - whole).abs().max()) for way, x in ways.items()}
        worst = max(worst, *differences.values())
        print(f"  {name:18} " + "   ".join(f"{way} {d:.1e}" for way, d in differences.items()))
    print(f"\ndraws that differ: {differing_draws()}   target 0")
    print(f"largest difference: {worst:.1e}   target <= {TARGET:g}")


if __name__ == "__main__":
    main()
