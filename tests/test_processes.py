"""Several processes make the run that one makes: the same samples, the same noise, the same losses."""

from __future__ import annotations

import json
import os
import socket
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from _faults import spawn, wait
from noisepath.cli import main
from noisepath.data import digits
from noisepath.training import TrainConfig
from noisepath.training.processes import Launched, Processes, share
from noisepath.training.run import _seconds, build

SAID = [
    "--data", "digits", "--steps", "8", "--channels", "8", "16", "--blocks", "1", "--batch-size", "8", "--log-every", "1",
    "--no-evaluate", "--no-progress", "--precision", "float32", "--times", "importance", "--schedule", "linear",
    "--schedule-options", "num_timesteps", "4", "beta_end", "0.5", "--prediction", "v", "--times-options", "history", "1",
]  # fmt: skip


def _rank(rank: int, count: int) -> Processes:
    team = Processes("cpu")
    team.rank, team.count = rank, count
    return team


def test_the_parts_of_all_processes_are_the_batch() -> None:
    assert [list(share(range(8), rank, 4)) for rank in range(4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_gradients_of_two_processes_average_to_that_of_one(accumulate: int) -> None:
    """What is averaged over processes is what each of them computes: pictures, times, noise and all, by number."""

    def gradient(team: Processes) -> torch.Tensor:
        made = build(digits(), TrainConfig(channels=(8,), attention=(), batch_size=8, accumulate=accumulate), team=team)
        trainer = made.make(made.config, 4)
        batch = trainer._next_batch()
        for places in trainer._parts():
            trainer._backward(batch, places)
        return torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None])

    whole = gradient(_rank(0, 1))
    parts = torch.stack([gradient(_rank(rank, 2)) for rank in range(2)])
    assert (parts.mean(0) - whole).norm() <= 1e-5 * whole.norm()
    assert (parts[0] - parts[1]).norm() > 0.1 * whole.norm()


def test_a_batch_that_can_not_be_shared_is_refused() -> None:
    made = build(digits(), TrainConfig(channels=(8,), attention=(), batch_size=9), team=_rank(0, 2))
    with pytest.raises(ValueError, match="9 can't be shared by 2 processes"):
        made.make(made.config, 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_two_processes_over_gloo_give_the_losses_of_one(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    ranks = [{**launched, "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]

    def child(out: str, environment: dict[str, str]) -> object:
        os.environ.update(environment)
        return main(["train", *SAID, "--out", str(tmp_path / out)])

    children = [partial(child, "one", {}), *(partial(child, "two", rank) for rank in ranks)]
    said = [tmp_path / f"child-{number}" for number in range(3)]
    runs = [spawn(run, log) for run, log in zip(children, said, strict=True)]
    assert [wait(run) for run in runs] == [0, 0, 0], [log.read_text()[-300:] for log in said]
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    one, two = ([json.loads(line)["loss"] for line in lines] for lines in logs)
    assert len(one) == 8 and one == pytest.approx(two, rel=1e-5)


def test_what_a_trial_has_wrapped_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapped network of a trial would stay in memory, and its gradients in the team's exchange, until the run's end."""
    prepared: list[object] = []

    class Accelerator:
        device, process_index, num_processes = torch.device("cpu"), 0, 1

        def __init__(self, cpu: bool) -> None: ...

        def prepare(self, network: torch.nn.Module) -> torch.nn.Module:
            prepared.append(network)
            return network

        def reduce(self, values: torch.Tensor, reduction: str) -> torch.Tensor:
            return values

        def free_memory(self) -> None:
            prepared.clear()

    monkeypatch.setattr("noisepath.training.processes._accelerate", lambda: SimpleNamespace(Accelerator=Accelerator))
    team = Launched("cpu")
    config = TrainConfig(channels=(8,), blocks=1, attention=(), batch_size=4, steps=4, precision="float32")
    made = build(digits(), config, team=team)
    _seconds(made, made.config, 2)
    assert not prepared
    made.make(made.config, 4)
    assert len(prepared) == 1
