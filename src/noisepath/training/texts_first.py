"""Texts first: a network learns to read before it learns to draw.

At most noise levels a noisy picture says more than its text does, so that texts have but a small part in the gradient.
At pure noise the text is all that there is, and the best that a denoiser can answer is the mean of the pictures which that text
may mean, E[x_0 | text].  To learn that mean takes a small part over 8 x 8 places (:mod:`noisepath.nn.expected`) a minute:

    minimise |E(text) - x_0|^2       x_0 at 32 x 32 values, averaged over what lies between

Then the encoder's features say which things there are, and where.  A network that has such a part keeps it; of another one the
encoder alone has learned.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath import noise
from noisepath.data.stream import show
from noisepath.nn.expected import SIDE, Expected
from noisepath.nn.told import Told
from noisepath.training.optimizer import optimizer_of
from noisepath.training.trainer import Trainer, learning_rate

__all__ = ["read_first", "reading_parts"]

WIDTH = 128
"""Of the part that says the mean picture, where the network has none of its own."""


def read_first(trainer: Trainer, steps: int, progress: bool = False) -> float:
    """Teach a trainer's network to read for some steps, in place; nothing else of the trainer changes.

    Pictures, optimizer and learning rate are as for the network; each step is a function of (seed, step).

    Returns:
        The squared error at the end as a share of the pictures' variance: 1 is what no text would give.
    """
    from tqdm import tqdm

    config, device, data, network = trainer.config, trainer.device, trainer.data, trainer.network
    told, own = getattr(network, "told", None), reading_parts(network)
    if not own or not steps or not isinstance(told, Told) or told.width is None:
        return 1.0
    seed, usual = noise.key(config.seed, "texts first"), 1.0
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed >> 1)
        expected = getattr(network, "expected", None) or Expected(told.width, WIDTH, data.shape[0]).to(device)
    learning = nn.ModuleList([*own.values(), expected])
    optimizer = optimizer_of(learning, config, device)
    with tqdm(total=steps, unit="step", desc="texts", disable=not progress) as bar:
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, steps, step)
            batch = show(data, seed, range(step * config.batch_size, (step + 1) * config.batch_size), trainer.flip)
            said = trainer.condition(batch.shown, batch.x)
            assert said is not None, "there are texts"
            loss = _error(told, expected, said, batch.x.to(device)) / data.sigma_data**2
            loss.backward()  # type: ignore[no-untyped-call]
            if torch.isfinite(nn.utils.clip_grad_norm_(learning.parameters(), config.clip or torch.inf)):
                optimizer.step()
            optimizer.zero_grad()
            usual += (loss.item() - usual) / min(50, step + 1)
            bar.update()
            bar.set_postfix_str(f"error {usual:.3f}", refresh=False)
    return usual


def reading_parts(network: nn.Module) -> dict[str, nn.Module]:
    """What of a network learns to read, by its name there: what texts enter by, and the mean picture where it has that."""
    told = getattr(network, "told", None)
    names = [f"told.by_name.part_{part.name}" for part in told.parts if part.kind == "text"] if isinstance(told, Told) else []
    if names and getattr(network, "expected", None) is not None:
        names.append("expected")
    return {name: network.get_submodule(name) for name in names}


def _error(told: Told, expected: Expected, said: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Of the mean pictures of some texts; what else is said of them is left out."""
    heard = told({part.name: said[part.name] for part in told.parts if part.kind == "text"}, x)
    assert heard.places is not None, "there are texts"
    return F.mse_loss(expected(heard.places, heard.mask)[1], F.interpolate(x, (SIDE, SIDE), mode="area"))
