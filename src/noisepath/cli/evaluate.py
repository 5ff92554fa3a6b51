"""``noisepath evaluate``: a run's figures, each beside what real pictures get; and what another run's differ by."""

from __future__ import annotations

from pathlib import Path

from noisepath import page
from noisepath.cli.options import Evaluate
from noisepath.evaluation import compare, evaluate, read_report, summary
from noisepath.evaluation.table import comparison_table

__all__ = ["run"]


def run(command: Evaluate, device: str) -> None:
    """Evaluate, print the figures, and set those of another report beside them if one is named."""
    other = None if command.compare is None else read_report(command.compare)  # a wrong name is found before the work
    made = evaluate(
        command.run,
        n=command.n,
        guidance=command.guidance or None,
        seed=command.seed,
        solver=command.solver,
        spacing=command.spacing,
        steps=command.steps,
        features=command.features,
        data=command.data,
        device=device,
        batch_size=command.batch_size,
        progress=command.progress,
        out=command.out,
        encoder=command.encoder,
        limit="stored" if command.limit else None,
    )
    print(summary(made))
    if made.folder.resolve().parent == Path(command.run).resolve():
        page.write(command.run)
    if other is not None:
        print(f"\n{comparison_table(compare(other, made.report), str(command.compare), str(command.run))}")
