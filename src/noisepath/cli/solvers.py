"""``noisepath solvers``: the catalogue as a table, or all there is to know of some of them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from noisepath.solvers import SOLVERS, Solver, find

if TYPE_CHECKING:
    from noisepath.cli.options import Solvers

__all__ = ["details", "run", "table"]

TITLES = ("solver", "order", "calls", "frame", "noise", "what it is")


def run(command: Solvers) -> None:
    """Print the table, or what is known of the solvers named."""
    named = [find(name) for name in command.names]  # before anything is measured
    chosen = named or list(SOLVERS)
    if named and not command.measure:
        print("\n\n".join(details(name) for name in named))
        return
    print(table(chosen, command.measure))
    if not named:
        print("\nnoisepath solvers NAME says more of one: its source, its options, and what other libraries call it")


def table(names: Sequence[str], measure: bool = False) -> str:
    """A line for each solver; ``measure`` adds the order that it shows on Gaussian data, 64 against 128 steps."""
    rows = [[*TITLES[:2], "measured", *TITLES[2:]] if measure else [*TITLES]]
    for name in names:
        solver = SOLVERS[name]
        row = [name, order_of(solver), str(solver.calls), solver.frame, "yes" if solver.stochastic else "", solver.summary]
        if measure:
            row.insert(2, _measured(solver))
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def order_of(solver: Solver) -> str:
    """The order in words: of the distribution where it draws noise, none where it does not converge; and its own."""
    if solver.order == 0:
        return "none"
    if solver.own_order:
        return f"{solver.order}, own {solver.own_order}"
    return f"{solver.order} (weak)" if solver.stochastic else str(solver.order)


def _measured(solver: Solver) -> str:
    from noisepath.analysis import measured_order

    return f"{measured_order(solver.build, stochastic=solver.stochastic, steps=(64, 128)).order:.2f}"


def details(name: str) -> str:
    """Everything about one solver, as text."""
    solver = SOLVERS[name]
    build, fixed = _unwrapped(solver.build)
    calls = f"{solver.calls} call{'s' * (solver.calls > 1)} a step"
    lines = [f"{name}: {solver.summary}", f"  order {order_of(solver)}, {calls}, frame: {solver.frame}", f"  {solver.source}"]
    if solver.aliases:
        lines.append(f"  also known as {', '.join(solver.aliases)}")
    lines += [f"  in {where}: {what}" for where, what in solver.elsewhere.items()]
    if options := options_of(solver):
        lines.append(f"  options: {', '.join(options)}")
    lines += ["", inspect.getdoc(build) or ""]
    if fixed:
        lines.append(f"(here with {', '.join(f'{key}={value!r}' for key, value in fixed.items())})")
    return "\n".join(lines)


def options_of(solver: Solver) -> list[str]:
    """What can be said by keyword, with the defaults."""
    build, fixed = _unwrapped(solver.build)
    parameters = list(inspect.signature(build).parameters.values())[1:]
    return [f"{p.name}={fixed.get(p.name, p.default)!r}" for p in parameters]


def _unwrapped(build: Any) -> tuple[Any, dict[str, Any]]:
    return (build.func, dict(build.keywords)) if isinstance(build, partial) else (build, {})
