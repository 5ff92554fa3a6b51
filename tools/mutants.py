"""Break the source in one place at a time, and see that the tests notice.

Works on copies in a temporary folder, never on the working tree.  First the unbroken copy must pass the test files that
are used; then each breakage of ``breakages/`` must turn one of its files red.  The last line counts those caught; the
exit code is 1 if one survives, if a breakage's text is no longer there, or if it keeps the tests from starting.

    python tools/mutants.py [--workers 2] [--only TEXT]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from breakages import BREAKAGES, Breakage

ROOT = Path(__file__).resolve().parents[1]
CAUGHT, SURVIVED = "caught", "SURVIVED"


def copy_of_the_tree(into: Path) -> Path:
    """Sources, tests and what they read, in a folder of their own."""
    for name in ("src", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, into / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", into)
    return into


def pytest(tree: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Exit code and output of the named test files, on the package in ``tree``."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree / "src"),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    files = [f"tests/test_{name}.py" for name in tests]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def judge(breakage: Breakage) -> str:
    """What becomes of one breakage."""
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_of_the_tree(Path(folder))
        file = tree / "src" / "noisepath" / breakage.file
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        if text.count(breakage.old) != 1:
            return f"TEXT FOUND {text.count(breakage.old)} TIMES"
        file.write_text(text.replace(breakage.old, breakage.new), encoding="utf-8")
        for test in breakage.tests:
            code, output = pytest(tree, (test,))
            if code == 1:
                return CAUGHT
            if code != 0:
                return f"TESTS DID NOT START: {output.strip().splitlines()[-1]}"
        return SURVIVED


def unbroken_is_green(tests: list[str], workers: int) -> bool:
    """Whether the copy passes without a breakage, on the package in the copy."""
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_of_the_tree(Path(folder))
        where = [sys.executable, "-c", "import noisepath; print(noisepath.__file__)"]
        found = subprocess.check_output(where, env={**os.environ, "PYTHONPATH": str(tree / "src")}, text=True)
        assert Path(found.strip()).is_relative_to(tree), f"the tests would look at {found.strip()}"
        with ThreadPoolExecutor(workers) as pool:
            results = dict(zip(tests, pool.map(lambda name: pytest(tree, (name,)), tests), strict=True))
    for name, (code, output) in results.items():
        if code:
            print(f"test_{name}.py fails without any breakage:\n{output[-2000:]}")
    return not any(code for code, _ in results.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="breakages whose description, file or tests contain this text")
    options = parser.parse_args()
    chosen = [b for b in BREAKAGES if options.only in f"{b.what} {b.file} {' '.join(b.tests)}"]
    start = time.monotonic()
    if not unbroken_is_green(sorted({name for b in chosen for name in b.tests}), options.workers):
        return 1
    print(f"unbroken: green ({time.monotonic() - start:.0f} s)", flush=True)
    caught = 0
    with ThreadPoolExecutor(options.workers) as pool:
        for breakage, result in zip(chosen, pool.map(judge, chosen), strict=True):
            caught += result == CAUGHT
            print(f"{result:10} {breakage.file:24} {breakage.what}", flush=True)
    print(f"{caught} of {len(chosen)} breakages caught ({time.monotonic() - start:.0f} s)")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
