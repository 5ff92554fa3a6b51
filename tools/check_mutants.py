"""Break our own solvers in one place at a time, and see that ``noisepath.testing.check_solver`` notices.

Works on copies in a temporary folder.  Of each breakage in ``breakages/solvers.py`` those solvers are concerned whose tables
it changes: the catalogue's, and those with options of ``tests/builds.py``.  First every one of them must pass unbroken; then
check_solver must find a broken law in at least one of those concerned.  A breakage that makes another lawful method stands in
``LAWFUL``, with the reason.  The last line counts those found; the exit code is 1 if one is not.

    python tools/check_mutants.py [--only TEXT] [--all]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from breakages.breakage import Breakage
from breakages.solvers import BREAKAGES

ROOT = Path(__file__).resolve().parents[1]
LAWFUL: dict[str, str] = {}
"""Breakages, by what they are, that make another method as lawful as ours: why."""


# In the child, on the package and the tests of a copy ----------------------------------------------------------------


def tables() -> dict[str, str]:
    """Each solver's tables on some grids, as text: what a breakage changes shows in them."""
    from builds import BUILDS, RATIOS
    from noisepath.testing import at

    fine = [9.0 * 0.8**i for i in range(30)]
    chosen = ((float("inf"), *RATIOS, 0.0), RATIOS, (1e9, 1.0, 0.0), fine)
    grids = [[at("flow", ratio) for ratio in ratios] for ratios in chosen]
    made = {}
    for name, (build, *_) in BUILDS.items():
        try:
            made[name] = repr([build(grid) for grid in grids])
        except Exception as error:  # one that can't be built any more is concerned, too
            made[name] = repr(error)
    return made


def check(names: list[str], stop: bool) -> dict[str, list[str]]:
    """The broken laws of each solver named; only until the first, if ``stop``."""
    from builds import BUILDS, TOLD
    from noisepath.testing import check_solver

    found = {}
    for name in names:
        build, order, stochastic = BUILDS[name]
        report = check_solver(build, order=order, stochastic=stochastic, strict=False, **TOLD.get(name, {}))
        found[name] = list(report.broken)
        if stop and report.broken:
            break
    return found


def child(known: Path, stop: bool) -> None:
    """Check the solvers whose tables are not the ones ``known``; print what is found as JSON."""
    before = json.loads(known.read_text(encoding="utf-8"))
    now = tables()
    concerned = [name for name in now if now[name] != before.get(name)]
    print(json.dumps(check(concerned, stop)))


# In the parent -------------------------------------------------------------------------------------------------------


def run(tree: Path, *arguments: str) -> dict[str, list[str]] | str:
    """This script as a child, on the copy in ``tree``; what it found, or the last line of what went wrong."""
    path = os.pathsep.join(str(tree / name) for name in ("src", "tests"))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def copied(into: Path) -> Path:
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, into / name, ignore=shutil.ignore_patterns("__pycache__"))
    return into


def judge(breakage: Breakage, known: Path, stop: bool) -> tuple[bool, str]:
    """Whether one breakage is found, and in which solver by which law."""
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder))
        file = tree / "src" / "noisepath" / breakage.file
        text = file.read_text(encoding="utf-8")
        if text.count(breakage.old) != 1:
            return False, f"text found {text.count(breakage.old)} times"
        file.write_text(text.replace(breakage.old, breakage.new), encoding="utf-8")
        found = run(tree, "--child", str(known), *(() if stop else ("--all",)))
    if isinstance(found, str):
        return False, f"does not run: {found}"
    red = {name: lines for name, lines in found.items() if lines}
    if not red:
        return False, f"green: {', '.join(found) or 'no table changes'}"
    name, lines = next(iter(red.items()))
    missed = "" if stop or len(red) == len(found) else f"; green: {', '.join(set(found) - set(red))}"
    return True, f"{name}: {lines[0]}{missed}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="breakages whose description or file contains this text")
    parser.add_argument("--all", action="store_true", help="check all solvers concerned, not only until the first red one")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, not options.all)
        return 0
    chosen = [b for b in BREAKAGES if options.only in f"{b.what} {b.file}" and b.what not in LAWFUL]
    start, missed = time.monotonic(), 0
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
    with tempfile.TemporaryDirectory() as folder:
        known, nothing = Path(folder) / "known.json", Path(folder) / "nothing.json"
        known.write_text(json.dumps(tables()), encoding="utf-8")
        if not options.only:
            nothing.write_text("{}", encoding="utf-8")
            unbroken = run(ROOT, "--child", str(nothing), "--all")
            wrong = unbroken if isinstance(unbroken, str) else {name: lines for name, lines in unbroken.items() if lines}
            if wrong:
                print(f"not all laws hold without any breakage: {wrong}")
                return 1
            print(f"unbroken: all laws hold for {len(unbroken)} solvers ({time.monotonic() - start:.0f} s)", flush=True)
        for breakage in chosen:
            found, where = judge(breakage, known, not options.all)
            missed += not found
            print(f"{'found ' if found else 'MISSED'} {breakage.what}: {where}", flush=True)
    for what, why in LAWFUL.items():
        print(f"lawful {what}: {why}")
    print(f"{len(chosen) - missed} of {len(chosen)} breakages found by check_solver (target: all)")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
