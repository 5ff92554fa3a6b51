"""How far each test of a trained network is from failing: every such test over seeds, instruction sets and threads.

    python tools/margins.py [--seeds 5] [--capabilities default avx2 avx512] [--threads 1 2] [--least 3] [WORDS FOR PYTEST ...]

Runs the tests with the marker ``trained`` once for each seed of their networks, each instruction set that this machine can
play and each number of threads, or the named ones; of the test files among the words, where there are any. An instruction
set is set in torch, oneDNN and MKL together, as an older processor has it everywhere. A line for each figure that a test
asserts, worst first: its mean, its bound, the deviation over all runs, and
the room to the bound in deviations. Exits with 1 where a run was red or a figure has less room than ``--least``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLAYED = {
    "default": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {},  # whatever the processor has
}


def playable() -> list[str]:
    """The instruction sets of this processor, by torch's own word for its best."""
    code = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    best = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip().lower()
    names = list(PLAYED)
    return names[: names.index(best) + 1] if best in names else names[:1]


def measured(seed: int, instructions: str, threads: int, words: list[str]) -> tuple[bool, list[dict[str, object]]]:
    """Whether a run was green, and the figures that its tests noted."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes.jsonl"
        plain = {"NOISEPATH_MARGINS": str(notes), "NOISEPATH_TRAINED_SEED": str(seed), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "pytest", "-n", "0", "-m", "trained", "-p", "no:cacheprovider", *words]
        env = {**os.environ, **PLAYED[instructions], **plain}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        if done.returncode:
            print(done.stdout[-3000:], file=sys.stderr)
        lines = notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []
        return done.returncode == 0, [json.loads(line) for line in lines]


def main() -> int:
    """Run all, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--capabilities", nargs="+", choices=list(PLAYED), help="instruction sets (default: all it can play)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--least", type=float, default=3.0, help="deviations of room that each figure must have")
    given, words = parser.parse_known_args()
    # only files with such tests are collected, as collecting all takes longer than running these
    if not any(word.partition("::")[0].endswith(".py") for word in words):
        files = sorted((ROOT / "tests").glob("test_*.py"))
        words += [str(path) for path in files if "mark.trained" in path.read_text(encoding="utf-8")]
    can_play = playable()
    if missing := set(given.capabilities or ()) - set(can_play):
        parser.error(f"this processor can't play {', '.join(sorted(missing))}; it can play {', '.join(can_play)}")
    capabilities = given.capabilities or can_play
    figures: dict[tuple[str, str], list[dict[str, float]]] = {}
    red = 0
    for seed, instructions, threads in itertools.product(range(given.seeds), capabilities, given.threads):
        green, notes = measured(seed, instructions, threads, words)
        red += not green
        how = "green" if green else "RED"
        print(f"seed {seed}, {instructions}, {threads} threads: {how}, {len(notes)} figures", flush=True)
        for note in notes:
            figures.setdefault((str(note["test"]), str(note["name"])), []).append(note)  # type: ignore[arg-type]
    rows = []
    for (test, name), notes in figures.items():
        values = [note["value"] for note in notes]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        room = statistics.mean(note["room"] for note in notes)
        rows.append((room / spread if spread else float("inf"), test, name, statistics.mean(values), notes[0]["bound"], spread))
    print("\n| test | figure | mean | bound | deviation | room, deviations |\n|---|---|---|---|---|---|")
    for room, test, name, mean, bound, spread in sorted(rows):
        print(f"| {test.removeprefix('tests/')} | {name} | {mean:.4g} | {bound:g} | {spread:.2g} | {room:.1f} |")
    tight = [row for row in rows if row[0] < given.least]
    print(f"\n{red} runs red; {len(tight)} of {len(rows)} figures with less than {given.least:g} deviations of room")
    return int(bool(red or tight or not rows))


if __name__ == "__main__":
    sys.exit(main())
