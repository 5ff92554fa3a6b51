"""Editing held against the truth on Gaussian data: the exact law of what is made, its mean and its covariance.

    python benchmarks/editing_exact.py [--steps 20] [--solvers ddim heun ddpm adams_moulton]

For Gaussian data all is linear in the draws, so a run on the rows of a unit matrix gives the exact law, without sampling.

- Inpainting: three values, one of them known, correlations up to 0.7, on the flow.  The truth is p(unknown | known).
- Image to image of one picture: where no noise is drawn on the way, the truth is the flow's exact image of the picture noised
  to the level; where noise is drawn, it is a draw of p(x_0 | x_t) from there.

Distances are relative: |mean - true| / |true mean|, and that of covariances in Frobenius' norm.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor

from noisepath import Level, editing, image_to_image, inpaint, schedule
from noisepath.exact import Gaussian
from noisepath.sampling import design
from noisepath.tableau import Draw, draws

PRIOR = torch.tensor([[1.0, 0.5, 0.7], [0.5, 0.8, 0.4], [0.7, 0.4, 1.0]], dtype=torch.float64)
MODEL = Gaussian([0.0, 0.0, 0.0], PRIOR).denoiser(schedule("flow"))
KNOWN = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
PICTURE = torch.tensor([1.0, -0.6, 0.4], dtype=torch.float64)
MASK = torch.tensor([[0.0, 1.0, 1.0]])


class Basis:
    """Draws that are rows of a unit matrix: row 0 has none, and each other row one value of one draw."""

    def __init__(self, size: int) -> None:
        self.size, self.places, self.rows = size, dict[Draw, int](), 1

    def __call__(self, place: Draw) -> Tensor:
        n = self.places.setdefault(place, len(self.places))
        made = torch.zeros(self.rows, self.size, dtype=torch.float64)
        if self.rows > 1:
            made[1 + n * self.size : 1 + (n + 1) * self.size] = torch.eye(self.size, dtype=torch.float64)
        return made


def law(make: Callable[[Tensor, Basis], Tensor], picture: Tensor) -> tuple[Tensor, Tensor]:
    """Exact mean (d,) and covariance (d, d) of what ``make(pictures, noise)`` makes of a picture (d,)."""
    basis = Basis(len(picture))
    with mock.patch.object(editing.inpainting, "Keyed", lambda seed, numbers, shape: basis):
        for _ in range(2):  # once to count the draws, once to see what each does
            made = make(picture.expand(basis.rows, -1), basis)
            basis.rows = 1 + basis.size * len(basis.places)
    effects = made[1:] - made[:1]
    return made[0], effects.T @ effects


def noised(level: Level, drawn: bool) -> tuple[Tensor, Tensor]:
    """The true law of PICTURE noised to the level and led to data, with or without noise on the way."""
    values, axes = torch.linalg.eigh(PRIOR)
    total = level.alpha**2 * values + level.sigma**2
    gain = level.alpha * values / total if drawn else (values / total).sqrt()
    spread = (gain * level.sigma) ** 2 + (values * level.sigma**2 / total if drawn else 0.0)
    return axes @ (gain * level.alpha * (axes.T @ PICTURE)), axes @ torch.diag(spread) @ axes.T


def off(found: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor]) -> tuple[float, float]:
    mean, covariance = (float((one - other).norm() / other.norm()) for one, other in zip(found, true, strict=True))
    return mean, covariance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--solvers", nargs="+", default=["ddim", "heun", "ddpm", "adams_moulton"])
    args = parser.parse_args()
    posterior = PRIOR[1:, 0] * KNOWN[0], PRIOR[1:, 1:] - torch.outer(PRIOR[1:, 0], PRIOR[1:, 0])
    best: dict[int, tuple[float, float]] = {}
    print(f"Mean and covariance off by, relative; {args.steps} steps\n\n| | {' | '.join(args.solvers)} |")
    print("|---" * (len(args.solvers) + 1) + "|")
    for repeats in (0, 2, 10, 30):
        cells = []
        for solver in args.solvers:
            told = {"solver": solver, "steps": args.steps, "repeats": repeats, "dtype": torch.float64}
            mean, covariance = law(lambda x, z, told=told: inpaint(MODEL, x, MASK, noise=z, **told), KNOWN)
            cells.append(off((mean[1:], covariance[1:, 1:]), posterior))
        best[repeats] = min(cells, key=sum)
        name = "replacement alone" if not repeats else f"gone through again {repeats} times"
        print(f"| inpainting, {name} | {' | '.join(f'{m:.3f}, {c:.3f}' for m, c in cells)} |")
    for strength in (0.3, 0.6, 0.9):
        cells = []
        for solver in args.solvers:
            table = design(MODEL.schedule, solver=solver, steps=args.steps, strength=strength)
            drawn = any(place.step >= 0 for place in draws(table))
            told = {"solver": solver, "steps": args.steps, "dtype": torch.float64}
            found = law(lambda x, z, told=told, s=strength: image_to_image(MODEL, x, s, noise=z, **told), PICTURE)
            cells.append(off(found, noised(table[0].level, drawn)))
        print(f"| image to image, strength {strength} | {' | '.join(f'{m:.3f}, {c:.3f}' for m, c in cells)} |")
    (before, _), (mean, covariance) = best[0], best[30]
    print(
        f"\ninpainting at its best: mean off by {mean:.3f}, covariance by {covariance:.3f} (replacement: mean {before:.3f})"
    )


if __name__ == "__main__":
    main()
