"""Precision of the discrete tables: worst relative error over every t against 60-digit arithmetic, diffusers beside it.

    python benchmarks/tables.py             about 10 seconds

The truth starts again from the parameters (T = 1000, beta_start = 1e-4, beta_end = 0.02, or the given numbers), in
mpmath.  diffusers' tables are float32 and its 1 - alpha_bar and SNR are what its schedulers work out from them.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any, cast

import mpmath
from mpmath import mpf

from noisepath import tables
from noisepath.tables import BETAS, Tables

mpmath.mp.dps = 60
STEPS, START, END = 1000, 1e-4, 0.02
COLUMNS = {
    "alpha_bar": "alphas_cumprod",
    "1 - alpha_bar": "one_minus_alphas_cumprod",
    "SNR": "snr",
    "posterior variance": "posterior_variance",
}
TARGET, RESCALED_TARGET = 2e-14, 1e-12
PEER_NAMES = {
    "linear": "linear",
    "cosine": "squaredcos_cap_v2",
    "quadratic": "scaled_linear",
    "sigmoid": "sigmoid",
}
GIVEN_BETAS = [0.3 * (1.05 + math.sin(7 * i)) / 2.1 + 1e-5 for i in range(200)]
GIVEN_BARS = [math.exp(-0.5 * (i / 20 + 0.01) ** 2) for i in range(100)]


def true_betas(kind: str) -> list[mpf]:
    """The betas by their definition."""
    part = [mpf(i) / (STEPS - 1) for i in range(STEPS)]
    b0, b1 = mpf(START), mpf(END)
    if kind == "linear":
        return [b0 + (b1 - b0) * p for p in part]
    if kind == "quadratic":
        return [(mpmath.sqrt(b0) + (mpmath.sqrt(b1) - mpmath.sqrt(b0)) * p) ** 2 for p in part]
    if kind == "sigmoid":
        return [b0 + (b1 - b0) / (1 + mpmath.exp(6 - 12 * p)) for p in part]
    angle = mpmath.pi / 2 / mpf("1.008")
    signal = [mpmath.cos((mpf(t) / STEPS + mpf("0.008")) * angle) ** 2 for t in range(STEPS + 1)]
    return [min(1 - signal[i + 1] / signal[i], mpf("0.999")) for i in range(STEPS)]


def alpha_bar(betas: Sequence[mpf]) -> list[mpf]:
    """Products of 1 - beta."""
    bars, bar = [], mpf(1)
    for beta in betas:
        bar *= 1 - beta
        bars.append(bar)
    return bars


def rescaled(bars: Sequence[mpf]) -> list[mpf]:
    """Lin et al. 2305.08891, algorithm 1."""
    roots = [mpmath.sqrt(a) for a in bars]
    return [((r - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2 for r in roots]


def truth(bars: Sequence[mpf]) -> dict[str, list[mpf]]:
    """The four columns that are judged."""
    before = [mpf(1), *bars[:-1]]
    return {
        "alpha_bar": list(bars),
        "1 - alpha_bar": [1 - a for a in bars],
        "SNR": [a / (1 - a) for a in bars],
        "posterior variance": [(1 - a / p) * (1 - p) / (1 - a) for a, p in zip(bars, before, strict=True)],
    }


def worst(values: dict[str, Sequence[float]], true: dict[str, list[mpf]]) -> dict[str, float]:
    """The largest relative error of each column; infinite where a value is not finite, or not 0 where the truth is."""
    errors = {}
    for name, column in true.items():
        error = 0.0
        for value, exact in zip(values[name], column, strict=True):
            if not math.isfinite(value):
                error = math.inf
            elif exact == 0:
                error = max(error, 0.0 if value == 0 else math.inf)
            else:
                error = max(error, float(abs((mpf(value) - exact) / exact)))
        errors[name] = error
    return errors


def ours(made: Tables) -> dict[str, Sequence[float]]:
    """noisepath's columns."""
    return {name: getattr(made, field) for name, field in COLUMNS.items()}


def theirs(rescale: bool, **options: Any) -> dict[str, Sequence[float]]:
    """diffusers' columns, by its own formulas in its own dtype."""
    import torch
    from diffusers import DDPMScheduler
    from diffusers.training_utils import compute_snr

    make: Any = DDPMScheduler
    peer = make(rescale_betas_zero_snr=rescale, variance_type="fixed_small", **options)
    bar = peer.alphas_cumprod
    variance = [0.0] + [float(peer._get_variance(t)) for t in range(1, len(bar))]
    snr = cast("Any", compute_snr)(peer, torch.arange(len(bar)))
    return {
        "alpha_bar": bar.tolist(),
        "1 - alpha_bar": (1 - bar).tolist(),
        "SNR": snr.tolist(),
        "posterior variance": variance,
    }


def cases() -> list[tuple[str, list[mpf], Tables, dict[str, Any] | None]]:
    """Name, true alpha_bar, our tables, and diffusers' options for the same process where it has one."""
    out: list[tuple[str, list[mpf], Tables, dict[str, Any] | None]] = [
        (kind, alpha_bar(true_betas(kind)), tables.named(kind, STEPS, START, END), {"beta_schedule": PEER_NAMES[kind]})
        for kind in BETAS
    ]
    given = {"trained_betas": GIVEN_BETAS, "num_train_timesteps": len(GIVEN_BETAS)}
    out.append(("given betas", alpha_bar([mpf(b) for b in GIVEN_BETAS]), tables.from_betas(GIVEN_BETAS), given))
    out.append(("given alphas_cumprod", [mpf(a) for a in GIVEN_BARS], tables.from_alphas_cumprod(GIVEN_BARS), None))
    return out


def main() -> None:
    """Print the table, the time it takes to make one, and the worst figure of each schedule beside its target."""
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    print(f"{'worst relative error over every t':42s}" + "".join(f"{name:>20s}" for name in COLUMNS))
    summary = []
    for name, bars, made, options in cases():
        for rescale in (False, True):
            true = truth(rescaled(bars) if rescale else bars)
            label = name + (", zero terminal SNR" if rescale else "")
            found = worst(ours(tables.zero_terminal_snr(made) if rescale else made), true)
            print(f"{label:42s}" + "".join(f"{found[c]:20.1e}" for c in COLUMNS))
            peer = None
            if options is not None:
                peer = worst(theirs(rescale, beta_start=START, beta_end=END, **options), true)
                print(f"{'  diffusers':42s}" + "".join(f"{peer[c]:20.1e}" for c in COLUMNS))
            target = RESCALED_TARGET if rescale else TARGET
            summary.append((label, max(found.values()), target, None if peer is None else max(peer.values())))

    times = []
    for i in range(1, 10):
        started = time.process_time()
        tables.named("linear", STEPS, START, END * (1 - i * 1e-9))  # an end that was not asked for before
        times.append(time.process_time() - started)
    print(f"\n1000-step tables: {statistics.median(times) * 1e3:.1f} ms of CPU time the first time, then kept")

    print(f"\n{'worst of the four columns':42s}  noisepath     target          diffusers")
    for label, error, target, peer_error in summary:
        verdict = "ok" if error <= target else "MISSED"
        beside = "" if peer_error is None else f"{peer_error:12.1e}"
        print(f"{label:42s}{error:11.1e} <= {target:.0e}  {verdict:8s}{beside}")


if __name__ == "__main__":
    main()
