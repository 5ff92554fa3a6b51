"""Time of a keyed draw over that of torch's own normals from a generator seeded for each row, in turns in one process.

Both fill the same memory. The ratio is that of the best times, as other work on the machine can only add to a time.

    python benchmarks/noise_draws.py [--seconds 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import time

import torch

from noisepath import noise

SHAPES = ((1, 1, 8, 8), (1, 3, 32, 32), (64, 1, 8, 8), (64, 3, 32, 32), (16, 3, 256, 256))


def seeded(out: torch.Tensor) -> None:
    """A generator seeded for each row: how independent rows are drawn without hashing."""
    generator = torch.Generator()
    for n, row in enumerate(out.unbind(0)):
        generator.manual_seed(n)
        row.normal_(generator=generator)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of measuring for each shape")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print("| shape | torch, us | keyed, us | ns a value | ratio |\n|---|---|---|---|---|")
    for shape in SHAPES:
        out = torch.empty(shape)
        draws = (lambda out=out: seeded(out)), (lambda out=out: noise.fill(out, 1, range(len(out))))
        best = [float("inf")] * 2
        end = time.perf_counter() + given.seconds
        while time.perf_counter() < end:
            for which, draw in enumerate(draws):
                start = time.perf_counter()
                draw()
                best[which] = min(best[which], time.perf_counter() - start)
        figures = f"{best[0] * 1e6:.1f} | {best[1] * 1e6:.1f} | {best[1] / out.numel() * 1e9:.2f} | {best[1] / best[0]:.2f}"
        print(f"| {' x '.join(map(str, shape))} | {figures} |")


if __name__ == "__main__":
    main()
