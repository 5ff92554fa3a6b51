"""Writes the catalogue's table into docs/solvers.md, between its two marks (`make docs`)."""

from __future__ import annotations

from pathlib import Path

from noisepath.cli.solvers import options_of, order_of
from noisepath.solvers import SOLVERS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "solvers.md"
BEGIN, END = "<!-- made by `make docs` -->\n", "<!-- end -->"


def table() -> str:
    """The catalogue in Markdown."""
    lines = [
        "| solver | order | calls a step | frame | noise | what it is | source | elsewhere | options |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, solver in SOLVERS.items():
        names = ", ".join(f"`{known}`" for known in (name, *solver.aliases))
        elsewhere = "; ".join(f"{where}: {what}" for where, what in solver.elsewhere.items())
        options = ", ".join(f"`{option}`" for option in options_of(solver))
        cells = [names, order_of(solver), str(solver.calls), solver.frame, "yes" if solver.stochastic else "no"]
        lines.append(f"| {' | '.join([*cells, solver.summary, solver.source, elsewhere, options])} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with the table as it is now."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + table() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
