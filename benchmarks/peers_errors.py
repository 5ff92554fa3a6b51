"""What docs/peers.md says about other libraries' samplers, measured: every figure of that page.

    python benchmarks/peers_errors.py       about a minute

Orders are measured as everywhere here (noisepath.analysis): levels uniform in log-SNR from log(alpha/sigma) = -2 to 2, in
float64.  ODE: the largest error of 41 states on an exact mixture, from exact start values.  SDE: the exact law on N(0.3, 0.7),
the peer's own steps run on the unit vectors of its draws, so without any sampling error; variance (relative) plus mean (in
standard deviations).  "Repaired" is a copy of the peer's source with the named line changed.
"""

from __future__ import annotations

import logging
import sys
import warnings

import _peers
from _peers_answers import batch, flow_churn, sa_shortcut, single_precision, steps_off_the_grid
from _peers_ends import crashes, ends, whole_timesteps
from _peers_measured import failures, line
from _peers_orders import clocks, factor_two, final_orders, inner_stages, multistep_sign, reab, singlestep


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(", ".join(f"{name} {_peers.version(name)}" for name in ("diffusers", "k-diffusion", "azula")))
    for section in (
        factor_two, multistep_sign, singlestep, reab, steps_off_the_grid, sa_shortcut, flow_churn, ends, whole_timesteps,
        batch, crashes, clocks, final_orders, single_precision, inner_stages,
    ):  # fmt: skip
        try:
            section()
        except _peers.Changed as changed:
            line(str(changed), "", False)
    word = "ok" if not failures else "; ".join(failures)
    print(f"\nfigures that are not as docs/peers.md says: {len(failures)}   target 0   {word}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
