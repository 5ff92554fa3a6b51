"""Batches that do not fit into memory are made again in halves: the same pictures, one warning, finished ones stay."""

from __future__ import annotations

import gc
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from noisepath import batches
from noisepath.batches import fitting, in_batches, out_of_memory
from noisepath.conditions import Condition
from noisepath.levels import Level
from noisepath.noise import Keyed
from noisepath.sampling import design, sample, trajectory
from noisepath.schedules import schedule
from noisepath.tableau import START, draws

CPU = torch.device("cpu")
PATH = schedule("flow")


class Small:
    """A denoiser of each picture by itself, to the bit, that has memory for ``most`` pictures (at call ``at``, if said)."""

    schedule = PATH

    def __init__(self, most: int, error: type[RuntimeError] = torch.OutOfMemoryError, at: int = 0) -> None:
        self.most, self.error, self.at, self.asked = most, error, at, list[int]()
        self.seen: list[weakref.ref[Tensor]] = []

    def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        self.asked.append(len(x))
        if len(x) > self.most and len(self.asked) > self.at:
            self.seen.append(weakref.ref(x))
            raise self.error("CUDA out of memory. Tried to allocate 20.00 GiB")
        shift = 0.0 if condition is None else condition["label"][:, None]
        return 0.5 * x + 0.1 * shift


@pytest.mark.parametrize("solver", ["dpmpp_2m", "ddpm", "heun"])
@pytest.mark.parametrize("most", [1, 3, 5])
def test_what_does_not_fit_is_made_in_halves_and_the_pictures_are_the_same(solver: str, most: int) -> None:
    options: dict[str, Any] = {"solver": solver, "steps": 4, "seed": 3, "condition": Condition(label=torch.arange(11.0))}
    whole = sample(Small(100), (11, 2), **options)
    with pytest.warns(UserWarning, match="pictures at once did not fit") as told:
        made = sample(Small(most), (11, 2), **options)
    assert torch.equal(made, whole) and len(told) == 1
    fits = {1: 1, 3: 3, 5: 3}[most]  # 11, 6, 3, 2, 1
    assert f"11 pictures at once did not fit into the memory of cpu: they are made {fits} at a time" in str(told[0].message)
    assert told[0].filename == __file__
    places = [START, *draws(design(PATH, solver=solver, steps=4))]
    handed = {place: Keyed(3, range(11), (2,))(place) for place in places}
    start = torch.linspace(-1.0, 1.0, 22).reshape(11, 2)
    options |= {"noise": handed.__getitem__, "start": start, "strength": 0.7, "batch_size": 8}
    with pytest.warns(UserWarning, match="8 pictures at once"):
        made = sample(Small(most), (11, 2), **options)
    assert torch.equal(made, sample(Small(100), (11, 2), **options))


def test_a_trajectory_shrinks_too_and_keeps_what_is_finished() -> None:
    model = Small(2, at=3)  # four pictures fit in the first batch, of three calls, and no more in the second
    with pytest.warns(UserWarning, match="4 pictures at once .* made 2 at a time"):
        kept = trajectory(model, (8, 2), steps=3, batch_size=4)
    assert model.asked == [4, 4, 4, 4, *[2] * 6]
    whole = trajectory(Small(100), (8, 2), steps=3)
    assert all(torch.equal(a, b) for a, b in zip(kept.states, whole.states, strict=True))


def test_of_one_picture_the_error_is_raised_as_it_came() -> None:
    model = Small(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 20.00 GiB"):
            sample(model, (4, 2), steps=3)
    assert model.asked == [4, 2, 1]

    def wrong(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        sample(wrong, (4, 2), steps=3, schedule=PATH)


def test_nothing_of_a_batch_that_failed_is_still_held_when_the_next_one_begins() -> None:
    model = Small(2, RuntimeError)
    alive: list[int] = []

    def watched(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        alive.append(sum(ref() is not None for ref in model.seen))
        return model(x, level)

    gc.disable()  # freed by itself, not by luck
    try:
        with pytest.warns(UserWarning, match="made 2 at a time"):
            sample(watched, (8, 2), steps=3, schedule=PATH)
    finally:
        gc.enable()
    assert len(model.seen) == 2 and not any(alive)


def test_a_bar_ends_where_all_calls_were_made_and_callbacks_see_a_batch_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    import tqdm

    bars: list[Any] = []

    class Bar:
        def __init__(self, total: int, **_: object) -> None:
            self.total, self.n, self.shown = total, 0, list[tuple[int, int]]()
            bars.append(self)

        def update(self) -> None:
            self.n += 1

        def refresh(self) -> None:
            self.shown.append((self.n, self.total))

        def close(self) -> None:
            pass

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    nodes: list[tuple[int, int]] = []
    with pytest.warns(UserWarning):
        sample(
            Small(3, at=2), (6, 2), steps=4, solver="ddim", progress=True,
            callback=lambda event: nodes.append((event.node, len(event.x))),
        )  # fmt: skip
    assert bars[0].shown == [(2, 10)]  # two calls of six pictures, and twice four of three
    assert bars[0].n == bars[0].total == 10
    assert nodes == [(0, 6), (1, 6), *[(n, 3) for n in range(5)] * 2]


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("what"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_is_out(error: Exception, is_it: bool) -> None:
    assert out_of_memory(error) is is_it


def test_the_cpu_s_own_error_is_one() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(caught.value)


def test_batches_go_over_all_pictures_in_order() -> None:
    assert list(in_batches(7, 3, lambda rows: (rows.start, rows.stop), CPU)) == [(0, 3), (3, 6), (6, 7)]


def test_a_batch_is_bounded_by_the_free_memory_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate: 16 tensors of the widest layer and of the state, in half of what is free.  The samples are the same."""
    conv = torch.nn.Conv2d(3, 15, 3, padding=1)
    each = 3 * 8 * 8 * 4 * 16 * (1 + 15 / 3)
    monkeypatch.setattr(batches, "free_memory", lambda: int(2 * 5.5 * each))
    for network in (conv, lambda x, t: conv(x)):
        assert fitting(network, (3, 8, 8), torch.float32, CPU) == 5
        assert fitting(network, (3, 8, 8), torch.float64, CPU) == 2
    assert fitting(None, (3, 8, 8), torch.float32, CPU) == 33
    assert fitting(conv, (3, 800, 800), torch.float32, CPU) == 1
    assert fitting(conv, (3, 800, 800), torch.float32, torch.device("cuda")) > 10**9  # there an error says so in time
    model = Small(100)
    monkeypatch.setattr(batches, "free_memory", lambda: 2 * 4 * 2 * 4 * 16)
    parts = sample(model, (11, 2), steps=2)
    assert model.asked == [4, 4, 4, 4, 3, 3]
    assert torch.equal(sample(model, (11, 2), steps=2, batch_size=11), parts) and model.asked[6:] == [11, 11]


def test_free_memory_is_the_least_of_what_machine_and_container_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < batches.free_memory() < 2**50
    limit, usage = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(batches, "_LIMITS", ((str(limit), str(usage)),))
    monkeypatch.setattr(batches, "_machine_free", lambda: 10_000)
    for allowed, used, free in (("8000", "3000", 5000), ("max", "3000", 10_000), ("3000", "4000", 0)):
        limit.write_text(allowed)
        usage.write_text(used)
        assert batches.free_memory() == free
    monkeypatch.setattr(batches, "_machine_free", lambda: None)
    limit.unlink()
    assert batches.free_memory() == 2 * 2**30
