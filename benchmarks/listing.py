"""How long it takes to list a folder of 100,000 pictures, with their sizes and times, and to say which class each is of.

    python benchmarks/listing.py [--files 100000] [--classes 100]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from noisepath.data.layout import arrange
from noisepath.data.source import source

TARGET = 1.5


def make(root: Path, files: int, classes: int) -> None:
    """``files`` tiny files with names of pictures in ``classes`` folders."""
    for label in range(classes):
        (root / f"class {label:03}").mkdir()
    for i in range(files):
        (root / f"class {i % classes:03}" / f"picture {i:07}.png").write_bytes(b"tiny")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), args.files, args.classes)
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            found = arrange(source(folder))
            seconds.append(time.perf_counter() - start)
            assert len(found.names) == args.files and len(found.class_names) == args.classes
    median = statistics.median(seconds)
    word = "ok" if median <= TARGET else "too slow"
    print(f"listing {args.files:,} files  {median:.2f} s <= {TARGET} s  {word}")
    sys.exit(median > TARGET)


if __name__ == "__main__":
    main()
