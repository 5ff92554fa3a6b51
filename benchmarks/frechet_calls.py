"""Frechet distance against calls of the network: noisepath's default beside diffusers' five most used schedulers.

    python benchmarks/frechet_calls.py --run runs/digits [--n 1000] [--calls 4 5 6 8 10 15 20 50] [--features auto]
                                       [--beside unipc@karras ...] [--tuned RUN] [--out FILE.png]

All samplers ask the same trained network and begin with the same noise; the classes are the real pictures' in proportion.
noisepath samples with its defaults and ``calls=``.  diffusers' schedulers are as shipped (DDIM clips the belief to [-1, 1]),
but for the betas where the network was trained on a table; one trained on another path is asked at the level of their
log-SNR.  A scheduler is given the noise that the network's belief leaves: (x - alpha D) / sigma.  "DPM++ Karras" is
diffusers' DPMSolverMultistep with the one option that most people set; it stands beside, outside the verdict.

Samplers that were tuned to the run (``noisepath tune``) stand beside too, each at the calls it was tuned for; ``--tuned`` names
another run whose samplers are taken.

Features are those of ``noisepath evaluate``: pixels, and the run's own classifier where it has classes (that of RUN/evaluation,
or one trained here); the verdict is taken in the last. The reference is the held-out pictures, or those of training where they
are fewer than 500. Intervals are bootstrap's. "Equal" means that the 95 % interval of the difference from the best of theirs
reaches 0; for it both sets are redrawn together, picture by picture, since picture i begins with the same noise in both: so it
finds differences that are far smaller than either interval.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from noisepath import Condition, Level, classifier_free, load, sample  # noqa: E402
from noisepath.data import holdout_size, open_data, split  # noqa: E402
from noisepath.denoiser import Denoise  # noqa: E402
from noisepath.evaluation.classifier import SMALLEST, Classifier, Recipe, load_classifier, train_classifier  # noqa: E402
from noisepath.evaluation.distances import frechet_distance, frechet_draws, percentiles  # noqa: E402
from noisepath.evaluation.features import classifier_space, pixel_space  # noqa: E402
from noisepath.evaluation.judging import in_proportion  # noqa: E402
from noisepath.evaluation.pictures import as_saved  # noqa: E402
from noisepath.evaluation.space import Space  # noqa: E402
from noisepath.evaluation.standards import Real, Standard, gather, standard  # noqa: E402
from noisepath.files import write_whole  # noqa: E402
from noisepath.noise import Keyed  # noqa: E402
from noisepath.schedules import Schedule  # noqa: E402
from noisepath.tableau import START  # noqa: E402
from noisepath.training import read_run  # noqa: E402
from noisepath.tuned import load_tuned, tuned_of_run  # noqa: E402

CALLS = (4, 5, 6, 8, 10, 15, 20, 50)
RESAMPLES = 100
OURS, TUNED, OPTION = "noisepath", "noisepath, tuned", "DPM++ Karras"
# name -> module of diffusers.schedulers, class, options that are not the default
THEIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "DDIM": ("scheduling_ddim", "DDIMScheduler", {}),
    "Euler": ("scheduling_euler_discrete", "EulerDiscreteScheduler", {}),
    "Euler a": ("scheduling_euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", {}),
    "DPM++ 2M": ("scheduling_dpmsolver_multistep", "DPMSolverMultistepScheduler", {}),
    "UniPC": ("scheduling_unipc_multistep", "UniPCMultistepScheduler", {}),
    OPTION: ("scheduling_dpmsolver_multistep", "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
}


@dataclass(frozen=True)
class Asked:
    """What every sampler is told."""

    denoiser: Denoise
    schedule: Schedule
    shape: tuple[int, ...]
    labels: Tensor | None
    seed: int
    device: str
    batch_size: int

    def condition(self, rows: slice = slice(None)) -> Condition | None:
        return None if self.labels is None else Condition(label=self.labels[rows].to(self.device))


Sampler = Callable[[Asked, int], Tensor | None]
"""Pictures made with so many calls; None where it has no run of so many."""


# --- samplers --------------------------------------------------------------------------------------------------------


def ours(asked: Asked, **options: Any) -> Tensor:
    return sample(
        asked.denoiser, asked.shape, seed=asked.seed, condition=asked.condition(), batch_size=asked.batch_size,
        schedule=asked.schedule, **options,
    )  # fmt: skip


def named(name: str) -> Sampler:
    """A solver of the catalogue, alone or as solver@spacing."""
    solver, _, spacing = name.partition("@")

    def made(asked: Asked, calls: int) -> Tensor | None:
        try:
            return ours(asked, solver=solver, calls=calls, **({"spacing": spacing} if spacing else {}))
        except ValueError as error:
            if "makes exactly" in str(error):
                return None
            raise

    return made


def tuned(run: Path) -> Sampler | None:
    """The samplers that were tuned to a run, by the calls that each makes; None if there are none."""
    known = {calls: load_tuned(path) for calls, path in tuned_of_run(run).items()}
    return (lambda asked, calls: ours(asked, solver=known[calls]) if calls in known else None) if known else None


def of_diffusers(name: str) -> Sampler:
    """One of diffusers' schedulers with our network."""

    def made(asked: Asked, calls: int) -> Tensor:
        scheduler = scheduler_of(name, asked.schedule)
        parts = []
        for first in range(0, asked.shape[0], asked.batch_size):
            rows = range(first, min(first + asked.batch_size, asked.shape[0]))
            parts.append(stepped(scheduler, asked, rows, calls))
        return torch.cat(parts)

    return made


def scheduler_of(name: str, schedule: Schedule) -> Any:
    """As shipped; on the run's own betas where it has some."""
    from importlib import import_module

    module, kind, options = THEIRS[name]
    config = getattr(schedule, "config", None)
    if config is not None and schedule.num_timesteps is not None:
        tables = config.tables()
        options = {**options, "trained_betas": np.asarray(tables.betas), "num_train_timesteps": schedule.num_timesteps}
    return getattr(import_module(f"diffusers.schedulers.{module}"), kind)(**options)


@torch.no_grad()
def stepped(scheduler: Any, asked: Asked, rows: range, calls: int) -> Tensor:
    """The loop that diffusers' pipelines run, for some of the pictures."""
    scheduler.set_timesteps(calls)
    z = Keyed(asked.seed, rows, asked.shape[1:])(START).to(asked.device)
    x = z * scheduler.init_noise_sigma
    random = torch.Generator().manual_seed(asked.seed + 1_000_003 * rows.start)
    draws = {"generator": random} if "Ancestral" in type(scheduler).__name__ else {}
    condition = asked.condition(slice(rows.start, rows.stop))
    for i, t in enumerate(scheduler.timesteps):
        level = level_of(scheduler, i, t)
        told = scheduler.scale_model_input(x, t)  # alpha^2 + sigma^2 = 1 in all of them
        belief = asked.denoiser(told, level, condition)
        assert isinstance(belief, Tensor)
        x = scheduler.step((told - level.alpha * belief) / level.sigma, t, x, **draws).prev_sample
    return x


def level_of(scheduler: Any, i: int, t: Tensor) -> Level:
    """Where the scheduler is at its i-th timestep, on the variance-preserving path."""
    sigmas = getattr(scheduler, "sigmas", None)
    kept = float(scheduler.alphas_cumprod[int(t)]) if sigmas is None else 1 / (1 + float(sigmas[i]) ** 2)
    return Level(kept**0.5, (1 - kept) ** 0.5)


# --- judging ---------------------------------------------------------------------------------------------------------


def real_and_spaces(args: argparse.Namespace) -> tuple[Real, list[Space]]:
    """The pictures that the run's samples are held against, and what distances are taken in."""
    real, reader = real_and_reader(args)
    spaces = [pixel_space(real.reference)]
    return real, spaces if reader is None else [*spaces, classifier_space(reader)]


ENOUGH = 500
"""Held-out pictures, to hold samples against them."""


def real_and_reader(args: argparse.Namespace) -> tuple[Real, Classifier | None]:
    """The pictures that the run's samples are held against, and the run's classifier, or one that is trained now.

    Fewer held-out pictures than ``ENOUGH`` say more about themselves than about samples: then it's those of training.
    """
    config = read_run(args.run)
    data = open_data(config.data if args.data is None else replace(config.data, data=args.data))
    train, held_out = split(data, holdout_size(config.data, len(data)), config.train.seed)
    few = held_out is None or len(held_out) < ENOUGH
    real = gather(train, None if few else held_out, args.n, args.seed)
    if args.features != "auto" or train.classes < 2 or train.labels is None or min(train.shape[1:]) < SMALLEST:
        return real, None
    try:
        return real, load_classifier(args.run / "evaluation" / "classifier", args.device)
    except FileNotFoundError:
        print("the run has no classifier of its own yet: one is trained", file=sys.stderr)
    return real, train_classifier(train, held_out, Recipe(flip=config.data.flip), device=args.device, progress=False)


@dataclass(frozen=True)
class Cell:
    """One sampler's distance at one number of calls, with redrawn values."""

    value: float
    draws: Any

    @property
    def row(self) -> dict[str, float]:
        within = percentiles(self.draws)
        return {"value": self.value, "low": within.low, "high": within.high}


Cells = dict[tuple[str, int], Cell]


def measured(samplers: dict[str, Sampler], asked: Asked, standards: list[Standard], calls: list[int]) -> dict[str, Cells]:
    """Every sampler at every number of calls, in each space; said as they come."""
    found: dict[str, Cells] = {held.space.name: {} for held in standards}
    for count in calls:
        for name, sampler in samplers.items():
            pictures = sampler(asked, count)
            if pictures is None:
                continue
            for held in standards:
                made = held.space(as_saved(pictures))
                draws = frechet_draws(made, held.reference, asked.seed, RESAMPLES)
                found[held.space.name][name, count] = Cell(frechet_distance(made, held.reference), draws)
            told = ", ".join(f"{space} {cells[name, count].value:.4g}" for space, cells in found.items())
            print(f"  {count} calls, {name}: {told}", file=sys.stderr, flush=True)
    return found


# --- what is said ----------------------------------------------------------------------------------------------------


def table(space: str, cells: Cells, names: list[str], calls: list[int], real: float | None) -> str:
    lines = [f"Frechet distance in {space}" + ("" if real is None else f" (training pictures: {real:.4g})")]
    lines += [f"| calls | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for count in calls:
        row = [said(cells.get((name, count))) for name in names]
        lines.append(f"| {count} | {' | '.join(row)} |")
    return "\n".join(lines)


def said(cell: Cell | None) -> str:
    if cell is None:
        return ""
    row = cell.row
    return f"{row['value']:.4g} [{row['low']:.4g}, {row['high']:.4g}]"


def standing(cells: Cells, calls: list[int], name: str, others: list[str]) -> list[str]:
    """ "best", "equal" or "worse" for each number of calls, against the best of the others."""
    found = []
    for count in calls:
        own = cells[name, count]
        best = min((cells[other, count] for other in others), key=lambda cell: cell.value)
        within = percentiles(own.draws - best.draws)
        found.append("best" if own.value <= best.value else "equal" if within.low <= 0 else "worse")
    return found


def draw(cells: Cells, names: list[str], calls: list[int], real: float | None, title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.8), dpi=100, layout="constrained")
    ax = figure.add_subplot()
    for number, name in enumerate(names):
        counts = [count for count in calls if (name, count) in cells]
        rows = [cells[name, count].row for count in counts]
        shift = 1 + 0.008 * (number - len(names) / 2)  # so that the bars can be told apart
        middle = np.array([row["value"] for row in rows])
        reach = [middle - [row["low"] for row in rows], [row["high"] for row in rows] - middle]
        style = {"linewidth": 2.2, "zorder": 5} if name.startswith(OURS) else {"linewidth": 1.2, "alpha": 0.85}
        ax.errorbar(np.array(counts) * shift, middle, yerr=np.maximum(reach, 0), marker="o", markersize=3.5, capsize=2,
                    label=name, **style)  # fmt: skip
    if real is not None:
        ax.axhline(real, color="0.5", linestyle=":", linewidth=1, label="training pictures")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(calls, [str(count) for count in calls])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("calls of the network")
    ax.set_ylabel("Frechet distance")
    ax.set_title(title, fontsize=10)
    ax.grid(alpha=0.3, which="both")
    ax.legend(fontsize=8)
    with write_whole(path) as part:
        figure.savefig(part, format="png")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/digits"))
    parser.add_argument("--data", help="where the run's pictures are now, if not where they were")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--calls", type=int, nargs="+", default=list(CALLS))
    parser.add_argument("--features", choices=["auto", "pixels"], default="auto")
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--beside", nargs="*", default=[], metavar="SOLVER[@SPACING]")
    parser.add_argument("--tuned", type=Path, metavar="RUN", help="whose tuned samplers; the run's own if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="the plot; RUN/frechet_calls.png if not given, with a .json beside it")
    return parser.parse_args()


def main() -> None:
    """Sample, judge, draw; the last line is the verdict."""
    args = arguments()
    real, spaces = real_and_spaces(args)
    standards = [standard(real, space, args.seed, RESAMPLES) for space in spaces]
    denoiser = load(args.run, args.device)
    conditional = denoiser.null is not None and real.train.labels is not None
    labels = in_proportion(real.train.labels, real.train.classes, args.n) if conditional else None
    asked = Asked(
        classifier_free(denoiser, args.guidance), denoiser.schedule, (args.n, *real.train.shape), labels, args.seed,
        args.device, args.batch_size,
    )  # fmt: skip
    samplers: dict[str, Sampler] = {OURS: lambda asked, calls: ours(asked, calls=calls)}
    if (own := tuned(args.tuned or args.run)) is not None:
        samplers[TUNED] = own
    samplers |= {name: named(name) for name in args.beside}
    samplers |= {name: of_diffusers(name) for name in THEIRS}
    calls = sorted(set(args.calls))
    found = measured(samplers, asked, standards, calls)

    out, names = args.out or args.run / "frechet_calls.png", list(samplers)
    reals = {s.space.name: s.figures["frechet_distance"].value for s in standards if "frechet_distance" in s.figures}
    reals = reals if real.held_out is not None else {}  # halves of the reference: another number of pictures
    for space, cells in found.items():
        print(f"\n{table(space, cells, names, calls, reals.get(space))}")
    space, cells = list(found.items())[-1]
    title = f"{args.run.name}: {args.n} samples against {len(real.reference)} {real.kind} pictures, features: {space}"
    draw(cells, names, calls, reals.get(space), title, out)
    rows = {s: {f"{name}, {count}": cell.row for (name, count), cell in c.items()} for s, c in found.items()}
    told = {"n": args.n, "seed": args.seed, "guidance": args.guidance, "spaces": rows}
    with write_whole(out.with_suffix(".json")) as part:
        part.write_text(json.dumps(told, indent=1) + "\n")
    print(f"\n{title}; drawn in {out}")
    five = [name for name in THEIRS if name != OPTION]
    for name, others in ((TUNED, five), (OURS, [OPTION]), (OURS, five)):
        own_calls = [count for count in calls if (name, count) in cells]
        if own_calls:
            places = standing(cells, own_calls, name, others)
            each = ", ".join(f"{count}: {place}" for count, place in zip(own_calls, places, strict=True))
            against = OPTION if others == [OPTION] else "diffusers' five"
            print(f"{name} against {against}: {each}")
    good = len(calls) - places.count("worse")
    print(f"the default best or equal at {good} of {len(calls)} numbers of calls, target all  "
          f"{'ok' if good == len(calls) else 'MISSED'}")  # fmt: skip


if __name__ == "__main__":
    main()
