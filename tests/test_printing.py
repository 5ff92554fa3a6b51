"""What is printed of an object is one line that says what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import noisepath
from noisepath import DiffusionConfig, Level, NoiseScheduler, TrainConfig, UNetConfig, schedule
from noisepath.data import DataConfig, Dataset, open_data
from noisepath.data.memory import Memory
from noisepath.exact import FiniteData, Gaussian
from noisepath.nn import DiTConfig
from noisepath.printing import changed
from noisepath.schedules import Shifted, Stretch, cut


def _denoiser() -> noisepath.Denoiser:
    network = noisepath.UNet(UNetConfig(channels=(8,), attention=(), groups=4, embedding=16))
    null = noisepath.Condition(label=torch.tensor([10]))
    return noisepath.Denoiser(network, schedule("linear"), "noise", null=null, info={"classes": ["name"] * 1000})


def _run() -> object:
    return noisepath.trajectory(Gaussian([0.5] * 100, [0.04] * 100).denoiser(schedule("flow")), (4, 100), steps=2)


PRINTED: dict[str, tuple[Callable[[], object], str]] = {
    **{name: (lambda name=name: schedule(name), "") for name in noisepath.SCHEDULES},  # type: ignore[misc]
    "a scheduler": (NoiseScheduler, "num_timesteps=1000, beta_start=0.0001, beta_end=0.02, schedule='linear'"),
    "its tables": (lambda: NoiseScheduler().tables, "1000 timesteps, betas 0.0001 .. 0.02"),
    "its configuration": (DiffusionConfig, "num_timesteps=1000"),
    "many given betas": (lambda: NoiseScheduler(DiffusionConfig(betas=[0.01] * 500)), "betas=<500 numbers, 0.01 .. 0.01>"),
    "few given numbers": (lambda: DiffusionConfig(alphas_cumprod=(0.9, 0.5)), "alphas_cumprod=(0.9, 0.5)"),
    "a table": (lambda: cut(schedule("vp_cosine"), 1000), "1000 log-SNRs, 12.91 .. -inf"),
    "a shifted table": (lambda: Shifted(schedule("linear"), 2.0), "factor=2.0"),
    "a part of it": (lambda: Stretch(Shifted(schedule("linear"), 2.0), 900.0, 1.0), "first=900.0"),
    "a level": (lambda: Level(0.5, 0.25), "alpha=0.5, sigma=0.25"),
    "a condition": (lambda: noisepath.Condition(label=torch.arange(1000)), "label: (1000,)"),
    "a U-Net's numbers": (lambda: UNetConfig(classes=10), "(1,), embedding=192, classes=10"),
    "a transformer's numbers": (DiTConfig, "width=128, depth=6"),
    "a training's numbers": (lambda: TrainConfig(minutes=3), "minutes=3"),
    "the digits": (noisepath.data.digits, "1,797 pictures of 1 x 8 x 8, 10 classes"),
    "pictures without classes": (lambda: Dataset(torch.zeros(2, 3, 4, 5)), "2 pictures of 3 x 4 x 5, no classes"),
    "their memory": (lambda: Memory(3, (1, 2, 2), np.uint8), "0 of 3 pictures of 1 x 2 x 2, uint8"),
    "a model": (_denoiser, "Denoiser(UNet of 7,633 parameters, 'noise' on Discrete("),
    "a function": (lambda: noisepath.Denoiser(lambda x, t: x, schedule("flow"), "velocity"), "'velocity' on Flow()"),
    "a guided model": (lambda: noisepath.classifier_free(_denoiser(), 2.0), "Denoiser(UNet of"),
    "a known truth": (lambda: Gaussian([0.5] * 100, [0.04] * 100).denoiser(), "Gaussian(1 component of shape (100,))"),
    "finite data": (lambda: FiniteData(torch.zeros(50, 3)), "50 components of shape (3,)"),
    "a run": (_run, "of shape (4, 100)"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "holds"), PRINTED.values(), ids=PRINTED)
def test_what_is_printed_of_an_object_is_one_line(make: Callable[[], object], holds: str) -> None:
    text = repr(make())
    assert holds in text and "\n" not in text and len(text) < 200 and "object at 0x" not in text, text
    assert str(make()) == text


def test_pictures_in_files_are_printed_as_pictures_in_memory_are(tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(np.zeros((4, 5, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    text = repr(open_data(DataConfig(data=str(tmp_path), picture_size=(4, 5))))
    assert text.endswith("(2 pictures of 3 x 4 x 5, no classes)") and "\n" not in text


def test_a_configuration_is_printed_as_it_would_be_typed() -> None:
    names = {kind.__name__: kind for kind in (DiffusionConfig, UNetConfig, DiTConfig, TrainConfig)}
    for config in (
        DiffusionConfig(schedule="cosine", num_timesteps=7), DiffusionConfig(betas=(0.1, 0.5), zero_terminal_snr=True),
        UNetConfig(classes=3), DiTConfig(), TrainConfig(steps=5, channels=(8, 8), schedule_options={"sigma_max": 40}),
    ):  # fmt: skip
        assert eval(repr(config), names) == config
    assert changed(TrainConfig()) == "TrainConfig()"
