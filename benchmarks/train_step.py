"""The time and memory of a training step on 3 x 32 x 32 pictures, batch 64: the loop around the same network, and networks.

    python benchmarks/train_step.py [--rounds 5] [--steps 2]         about 10 minutes with two threads

    loops      diffusers' UNet2DModel trained by diffusers' example loop (accelerate, clipping, EMA, AdamW), and by
               noisepath's trainer (keyed noise and order, clipping, two EMAs, AdamW), in float32 and, where the processor has
               it, bfloat16; noisepath computes a batch in as many parts as it chooses itself
    networks   GFLOP/s that each network reaches in training: three times the forward pass's operations, as torch counts
               them, over the step's time; noisepath's own U-Net, diffusers', and azula's where it is installed

Each contender lives in a process of its own, so that its peak memory is its own; they take steps in turn, and the figures are
ratios of medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import resource
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from noisepath.data import Dataset
from noisepath.nn import UNet, UNetConfig
from noisepath.noise import normal
from noisepath.times import TIMES
from noisepath.training import Objective, TrainConfig, Trainer
from noisepath.training.plan import has_bfloat16, parts

SHAPE, BATCH = (3, 32, 32), 64
PEER, OURS, HALF = "diffusers' loop", "noisepath's trainer", "noisepath's trainer, bfloat16"
OWN, THEIRS, AZULA = "noisepath's U-Net, small", "diffusers' UNet2DModel", "azula's UNet"


class Called(nn.Module):
    """A peer's network as ``network(x, t) -> tensor``."""

    def __init__(self, network: nn.Module, call: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self._call = network, call

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self._call(self.network, x, t)


def unet2d() -> nn.Module:
    """diffusers' U-Net of about 4 million parameters."""
    from diffusers import UNet2DModel

    make: Any = UNet2DModel
    network: nn.Module = make(
        sample_size=32, in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=(48, 80, 128),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), norm_num_groups=16, attention_head_dim=32,
    )  # fmt: skip
    return network


def azulas() -> nn.Module:
    """azula's U-Net of about 3 million parameters, with its own features of t."""
    from azula.nn.layers import SineEncoding
    from azula.nn.unet import UNet as AzulaUNet

    make: Any = AzulaUNet
    unet = make(3, 3, hid_channels=(56, 96, 128), hid_blocks=(2, 2, 2), mod_features=128, norm="group", groups=8)
    parts = nn.ModuleList([unet, SineEncoding(128), nn.Sequential(nn.Linear(128, 128), nn.SiLU())])
    return Called(parts, lambda m, x, t: m[0](x, m[2](m[1](t.float()))))  # type: ignore[index]


def own() -> nn.Module:
    """noisepath's U-Net of the size named "small", 6 million parameters, at full size."""
    return UNet(UNetConfig.named("small", in_channels=3, out_channels=3))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    OWN: own,
    THEIRS: lambda: Called(unet2d(), lambda m, x, t: m(x, t).sample),
    AZULA: azulas,
}


def pictures() -> Tensor:
    return (normal(0, range(2048), SHAPE) / 4).clamp(-1, 1)


def diffusers_step() -> Callable[[], float]:
    """The step of diffusers' example train_unconditional.py, with its defaults."""
    from accelerate import Accelerator
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel
    from torch.utils.data import DataLoader, TensorDataset

    make: Any = DDPMScheduler
    model: Any = unet2d()
    accelerator, process = Accelerator(cpu=True), make()
    ema = EMAModel(model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    optimizer: Any = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    rates = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=100_000)
    loader: Any = DataLoader(TensorDataset(pictures()), batch_size=BATCH, shuffle=True, drop_last=True)
    model, optimizer, loader, rates = accelerator.prepare(model, optimizer, loader, rates)

    def endless() -> Any:
        while True:
            yield from loader

    batches = endless()

    def step() -> float:
        (clean,) = next(batches)
        noise = torch.randn_like(clean)
        t = torch.randint(0, 1000, (len(clean),)).long()
        with accelerator.accumulate(model):
            loss = nn.functional.mse_loss(model(process.add_noise(clean, noise, t), t).sample.float(), noise.float())
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            rates.step()
            optimizer.zero_grad()
        ema.step(model.parameters())
        return float(loss.detach())

    return step


def trainer_step(network: nn.Module, precision: str) -> Callable[[], float]:
    """noisepath's step with any network, on the same process."""
    from noisepath import schedule

    count = parts(network, SHAPE, BATCH, "cpu")
    config = TrainConfig(batch_size=BATCH, accumulate=count, learning_rate=1e-4, precision=precision)
    objective = Objective(schedule("linear"), "noise", TIMES["uniform"]())
    trainer = Trainer(network, objective, Dataset(pictures()), config, 100_000)
    return lambda: trainer.step().loss


def contender(name: str) -> tuple[Callable[[], float], nn.Module | None]:
    """A step, and the network whose operations are counted."""
    torch.manual_seed(0)
    if name == PEER:
        return diffusers_step(), None
    if name in (OURS, HALF):
        network = NETWORKS[THEIRS]()
        return trainer_step(network, "bfloat16" if name == HALF else "float32"), None
    network = NETWORKS[name]()
    return trainer_step(network, "float32"), network


def operations(network: nn.Module) -> int:
    """Floating-point operations of a forward pass of one picture."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *SHAPE), torch.zeros(1))
    return int(counter.get_total_flops())


def worker(name: str, threads: int, pipe: Any) -> None:
    """Answers numbers of steps with their seconds and the peak memory so far."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(threads)
    step, network = contender(name)
    counted = operations(network) if network is not None else 0
    parameters = sum(p.numel() for p in network.parameters()) if network is not None else 0
    step()
    pipe.send((counted, parameters))
    while count := pipe.recv():
        began = time.perf_counter()
        for _ in range(count):
            step()
        pipe.send(((time.perf_counter() - began) / count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    """Measure, then print the figures beside their targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    half = has_bfloat16("cpu")
    names = [PEER, OURS, *([HALF] if half else []), OWN, THEIRS]
    names += [AZULA] if importlib.util.find_spec("azula") else []
    context: Any = multiprocessing.get_context("spawn")
    pipes, counted = {}, {}
    for name in names:
        here, there = context.Pipe()
        context.Process(target=worker, args=(name, given.threads, there), daemon=True).start()
        pipes[name], counted[name] = here, here.recv()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    peak = dict.fromkeys(names, 0.0)
    for _ in range(given.rounds):
        for name, pipe in pipes.items():
            pipe.send(given.steps)
            took, peak[name] = pipe.recv()
            seconds[name].append(took)
    for pipe in pipes.values():
        pipe.send(0)
    median = {name: statistics.median(times) for name, times in seconds.items()}

    how = f"{given.threads} threads, batch {BATCH} of {SHAPE}, {given.rounds} rounds of {given.steps} steps"
    print(f"torch {torch.__version__}, {how}")
    for name in names:
        print(f"  {name:32}{median[name] * 1e3:8.0f} ms a step{BATCH / median[name]:8.1f} pictures/s{peak[name]:8.0f} MiB")
    speed = {name: 3 * counted[name][0] * BATCH / median[name] / 1e9 for name in names if counted[name][0]}
    print("\nnetworks in training")
    for name, reached in speed.items():
        million, per_picture = counted[name][1] / 1e6, counted[name][0] / 1e9
        print(f"  {name:32}{million:6.2f} M parameters{per_picture:6.2f} GFLOP forward{reached:8.0f} GFLOP/s")
    print()
    _line("float32: speed over diffusers' loop", median[PEER] / median[OURS], 1.0, ">=")
    if half:
        _line("bfloat16: speed over diffusers' loop", median[PEER] / median[HALF], 1.6, ">=")
        _line("bfloat16: peak memory over diffusers' loop", peak[HALF] / peak[PEER], 0.7, "<=")
    else:
        print("bfloat16: not measured, this processor has none of its own")
    for other in [name for name in (THEIRS, AZULA) if name in speed]:
        _line(f"own U-Net's GFLOP/s over {other}", speed[OWN] / speed[other], 1.0, ">=")


def _line(what: str, value: float, target: float, sign: str) -> None:
    good = value >= target if sign == ">=" else value <= target
    print(f"{what:56}{value:6.2f}  {sign} {target:g}  {'ok' if good else 'MISSED'}")


if __name__ == "__main__":
    main()
