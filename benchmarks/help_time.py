"""How long ``noisepath --help`` takes, as a process, from its start to its end.

    python benchmarks/help_time.py [--repeats 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

TARGET = 0.5


def seconds() -> float:
    """One run of the command; the first line of the help is looked for, so that nothing else is timed."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "noisepath", "--help"], capture_output=True, text=True, check=True)
    taken = time.perf_counter() - start
    if "usage: noisepath" not in done.stdout:
        raise SystemExit(f"this is not the help:\n{done.stdout}")
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    seconds()  # fills the file cache
    taken = [seconds() for _ in range(repeats)]
    median = statistics.median(taken)
    print(f"{repeats} processes: {min(taken):.2f} to {max(taken):.2f} s")
    print(f"noisepath --help  {median:.2f} s < {TARGET} s  {'ok' if median < TARGET else 'MISSED'}")
    return 0 if median < TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
