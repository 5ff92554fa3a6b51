"""How soon pictures are as good as those of diffusers' training recipe after six minutes, on scikit-learn's digits.

    python benchmarks/time_to_quality.py [--seeds 3] [--minutes 6] [--kept FILE]        about an hour on two cores

diffusers' recipe is its example train_unconditional.py, made class-conditional: UNet2DModel (1.3 million parameters), noise
prediction on 1,000 linear steps, AdamW, clipping, EMA, cosine rate with 500 warm-up steps over the run, sampled with 50
steps of DDIM; once with its own rate of 1e-4 and once with 2e-3.  noisepath's is ``noisepath.train`` with nothing said but
the minutes: a tenth of theirs against the first, half of theirs against the second (less a share, since on a machine whose
speed varies a run may take longer than planned), sampled with the defaults (20 calls).  The seconds that training really
took, its start and end included, are part of the verdict; sampling is not.  Everything runs one after another in one process
with two threads.  ``--kept`` is a file of lines that an earlier run printed: what is in it is not done again, and what is done
is added to it.

Judged by 1,797 samples of the real digits' classes: the share that an SVC reads as asked, and the Frechet ratio (see
``digits_quality.py``).  A line is ok if noisepath is at least as good in both, in no more than its share of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noisepath import Condition, sample, train
from noisepath.data import Dataset, digits
from noisepath.evaluation import DigitsJudge
from noisepath.training import TrainConfig

BATCH, CLASSES = 64, 10
LEEWAY = 0.8
"""Share of its time that noisepath's training is told."""
Figures = dict[str, Any]


class Diffusers:
    """diffusers' example, class-conditional; ``total`` is the number of steps that its cosine rate is told."""

    def __init__(self, data: Dataset, rate: float, total: int, seed: int) -> None:
        from diffusers import DDPMScheduler, UNet2DModel
        from diffusers.optimization import get_scheduler
        from diffusers.training_utils import EMAModel

        torch.manual_seed(seed)
        network: Any = UNet2DModel
        process: Any = DDPMScheduler
        self.model = network(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=2, block_out_channels=(32, 48, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), norm_num_groups=16, attention_head_dim=32,
            num_class_embeds=CLASSES,
        )  # fmt: skip
        self.process = process()
        self.ema = EMAModel(self.model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, betas=(0.95, 0.999), weight_decay=1e-6)
        self.rates = get_scheduler("cosine", self.optimizer, num_warmup_steps=500, num_training_steps=max(total, 501))
        self.x, labels = data.batch(range(len(data)))
        assert labels is not None
        self.labels = labels

    def step(self) -> None:
        chosen = torch.randint(0, len(self.x), (BATCH,))
        clean = self.x[chosen]
        noise, t = torch.randn_like(clean), torch.randint(0, 1000, (BATCH,))
        predicted = self.model(self.process.add_noise(clean, noise, t), t, class_labels=self.labels[chosen]).sample
        torch.nn.functional.mse_loss(predicted, noise).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.rates.step()
        self.optimizer.zero_grad()
        self.ema.step(self.model.parameters())

    @torch.no_grad()
    def draw(self, wanted: Tensor, scheduler: str = "DDIMScheduler", steps: int = 50) -> Tensor:
        import diffusers

        sampler: Any = getattr(diffusers, scheduler)()
        self.ema.copy_to(self.model.parameters())
        self.model.eval()
        sampler.set_timesteps(steps)
        parts = []
        for part in wanted.split(300):
            state = torch.randn(len(part), 1, 8, 8)
            for t in sampler.timesteps:
                state = sampler.step(self.model(state, t, class_labels=part).sample, t, state).prev_sample
            parts.append(state)
        return torch.cat(parts)


def diffusers_recipe(data: Dataset, seconds: float, rate: float, seed: int) -> tuple[Callable[..., Tensor], int]:
    """Train for so many seconds; gives ``sample(labels, scheduler, steps)`` and the steps made."""
    trial = Diffusers(data, rate, 1000, seed)  # only to know how many steps the time will hold
    trial.step()
    start = time.perf_counter()
    for _ in range(20):
        trial.step()
    recipe = Diffusers(data, rate, round(20 * seconds / (time.perf_counter() - start)), seed)
    start, made = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        recipe.step()
        made += 1
    return recipe.draw, made


def noisepath_recipe(data: Dataset, minutes: float, seed: int) -> tuple[Callable[[Tensor], Tensor], int]:
    """Train with nothing said but the minutes."""
    with tempfile.TemporaryDirectory() as folder:
        model = train(data, Path(folder) / "run", TrainConfig(minutes=minutes, seed=seed), progress=False)

    def draw(wanted: Tensor) -> Tensor:
        return sample(model, (len(wanted), 1, 8, 8), condition=Condition(label=wanted), seed=seed, batch_size=300)

    return draw, model.info["steps"]


def judged(
    name: str, seed: int, judge: DigitsJudge, data: Dataset, make: Callable[[], tuple[Callable[[Tensor], Tensor], int]]
) -> Figures:
    """Train, sample, judge; the figures are printed as they come."""
    start = time.perf_counter()
    draw, steps = make()
    trained = time.perf_counter() - start
    wanted = data.labels
    assert wanted is not None
    report = judge.report(draw(wanted).clamp(-1, 1), wanted)
    assert report.read_as_asked is not None
    figures = {"read": report.read_as_asked, "frechet": report.frechet_ratio, "nearest": report.nearest_ratio}
    told: Figures = {"recipe": name, "seed": seed, "steps": steps, "training_s": round(trained, 1)}
    told |= {key: round(value, 4) for key, value in figures.items()}
    print(json.dumps(told), flush=True)
    return told


def main() -> None:
    """All recipes for all seeds, then the comparison of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--kept", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    torch.set_num_threads(2)
    data = digits()
    judge, minutes = DigitsJudge(data), given.minutes
    known = given.kept.read_text().splitlines() if given.kept and given.kept.exists() else []
    rows: list[Figures] = [json.loads(line) for line in known]
    for seed in range(given.seeds):
        recipes: dict[str, Callable[[], tuple[Callable[[Tensor], Tensor], int]]] = {
            "diffusers, rate 1e-4": lambda seed=seed: diffusers_recipe(data, 60 * minutes, 1e-4, seed),
            "diffusers, rate 2e-3": lambda seed=seed: diffusers_recipe(data, 60 * minutes, 2e-3, seed),
            "noisepath, a tenth": lambda seed=seed: noisepath_recipe(data, LEEWAY * minutes / 10, seed),
            "noisepath, half": lambda seed=seed: noisepath_recipe(data, LEEWAY * minutes / 2, seed),
        }
        for name, make in recipes.items():
            if not any(row["recipe"] == name and row["seed"] == seed for row in rows):
                rows.append(judged(name, seed, judge, data, make))
                if given.kept:
                    given.kept.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def median(name: str, figure: str) -> float:
        return statistics.median(row[figure] for row in rows if row["recipe"] == name)

    print(f"\nmedians of {given.seeds} seeds: read as asked, Frechet ratio, seconds of training")
    pairs = (("diffusers, rate 1e-4", "noisepath, a tenth", 0.1), ("diffusers, rate 2e-3", "noisepath, half", 0.5))
    for theirs, ours, share in pairs:
        good = median(ours, "read") >= median(theirs, "read") and median(ours, "frechet") <= median(theirs, "frechet")
        good = good and median(ours, "training_s") <= share * median(theirs, "training_s")
        said = [
            f"{name}: {median(name, 'read'):.1%}, {median(name, 'frechet'):.2f}, {median(name, 'training_s'):.0f} s"
            for name in (theirs, ours)
        ]
        print(f"{said[0]:48}{said[1]:44}{'ok' if good else 'MISSED'}")


if __name__ == "__main__":
    main()
