"""Time of ``import noisepath``, alone and with everything in it touched, beyond torch's own import.

Each figure is the median over fresh interpreters, in turns, of the time between two statements; the sources are compiled in the
first round, as those of an installed package are.

    python benchmarks/import_time.py [--repeats 9]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

TOUCH = "import noisepath\nfor name in noisepath.__all__: getattr(noisepath, name)"
CASES = {
    "import noisepath": ("", "import noisepath"),
    "everything touched, torch there": ("import torch", TOUCH),
    "torch alone": ("", "import torch"),
    "noisepath --help": ("import sys; sys.stdout = open('/dev/null', 'w')", "from noisepath.cli import main\n{help}"),
}
TARGETS = {"import noisepath": 0.2, "everything touched, torch there": 0.3, "noisepath --help": 0.3}
HELP = "try: main(['--help'])\nexcept SystemExit: pass"


def seconds(before: str, timed: str) -> float:
    """Time of ``timed`` after ``before`` in a fresh interpreter."""
    timed = timed.format(help=HELP)
    code = f"import time\n{before}\nstart = time.perf_counter()\n{timed}\nend = time.perf_counter()"
    code += "\nimport sys; print(end - start, file=sys.stderr)"
    keeps = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=keeps)
    return float(done.stderr.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    runs: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(repeats + 1):
        for name, case in CASES.items():
            runs[name].append(seconds(*case))
    print("| what | median of fresh interpreters | target |\n|---|---|---|")
    for name, times in runs.items():
        target = f"< {TARGETS[name]} s" if name in TARGETS else ""
        print(f"| {name} | {statistics.median(times[1:]):.3f} s | {target} |")  # the first round fills the file cache


if __name__ == "__main__":
    main()
