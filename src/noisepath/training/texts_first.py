"""Texts first: a text encoder that trains along learns to read before the network learns to draw.

At most noise levels a noisy picture says more than its text does, so that texts have but a small part in the gradient.
At pure noise the text is all that there is, and the best that a denoiser can answer is the mean of the pictures which that text
may mean, E[x_0 | text].  That mean is coarse, so a small part over 8 x 8 places learns to give it, within a minute:

    minimise |E(encoder(text)) - x_0|^2       x_0 at 32 x 32 values, averaged over what lies between

Then E is thrown away, and the network starts with an encoder whose features say which things there are, and where.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath import noise
from noisepath.data.stream import show
from noisepath.nn.attend import Attend, FeedForward, TextEncoder, heads_for
from noisepath.nn.blocks import waves, zero
from noisepath.nn.told import Told
from noisepath.training.optimizer import optimizer_of
from noisepath.training.trainer import Trainer, learning_rate

__all__ = ["Expected", "read_first", "text_encoders"]

PLACES, VALUES = 8, 4
"""Places along each axis of the mean picture, and values along each axis of a place."""
WAVES = 4
"""Of each axis, that tell a place where it is."""


class Expected(nn.Module):
    """The mean picture of a text, from its features: each place looks at them once, and says its part of the picture."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Parameter(0.02 * torch.randn(PLACES**2, width))
        self.where = nn.Linear(2 * WAVES, width)
        self.norm_attend, self.norm_feed, self.norm_leave = (nn.LayerNorm(width) for _ in range(3))
        self.attend, self.feed = Attend(width, heads_for(width, 32), width), FeedForward(width)
        self.leave = zero(nn.Linear(width, channels * VALUES**2))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """features: (B, L, width), mask: (B, L), true where there is something -> (B, channels, 32, 32)."""
        at = waves(features.new_zeros(1, 1, PLACES, PLACES), WAVES)
        assert at is not None, "there are some waves"
        x = (self.first + self.where(at.flatten(2).mT)).expand(len(features), -1, -1)
        x = x + self.attend(self.norm_attend(x), features, mask)
        x = x + self.feed(self.norm_feed(x))
        said = self.leave(self.norm_leave(x)).mT.reshape(len(features), -1, PLACES, PLACES)
        return F.pixel_shuffle(said, VALUES)


def read_first(trainer: Trainer, steps: int, progress: bool = False) -> float:
    """Teach the text encoders of a trainer's network for some steps, in place; nothing else of the trainer changes.

    Pictures, optimizer and learning rate are as for the network; each step is a function of (seed, step).

    Returns:
        The squared error at the end as a share of the pictures' variance: 1 is what no text would give.
    """
    from tqdm import tqdm

    config, device, data = trainer.config, trainer.device, trainer.data
    encoders = text_encoders(trainer.network)
    if not encoders or not steps:
        return 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise.key(config.seed, "texts first") >> 1)
        means = {name: Expected(encoder.norm.normalized_shape[0], data.shape[0]) for name, encoder in encoders.items()}
    learning = nn.ModuleList([*encoders.values(), *means.values()]).to(device)
    optimizer = optimizer_of(learning, config, device)
    seed, usual = noise.key(config.seed, "texts first"), 1.0
    with tqdm(total=steps, unit="step", desc="texts", disable=not progress) as bar:
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, steps, step)
            batch = show(data, seed, range(step * config.batch_size, (step + 1) * config.batch_size), trainer.flip)
            said = trainer.condition(batch.shown, batch.x)
            assert said is not None, "there are texts"
            wanted = F.interpolate(batch.x.to(device), (PLACES * VALUES,) * 2, mode="area")
            errors = [_error(encoders[name], means[name], said[name], wanted) for name in encoders]
            loss = torch.stack(errors).sum() / data.sigma_data**2
            loss.backward()  # type: ignore[no-untyped-call]
            if torch.isfinite(nn.utils.clip_grad_norm_(learning.parameters(), config.clip or torch.inf)):
                optimizer.step()
            optimizer.zero_grad()
            usual += (loss.item() / len(encoders) - usual) / min(50, step + 1)
            bar.update()
            bar.set_postfix_str(f"error {usual:.3f}", refresh=False)
    return usual


def text_encoders(network: nn.Module) -> Mapping[str, TextEncoder]:
    """By the name of what they read."""
    told = getattr(network, "told", None)
    if not isinstance(told, Told):
        return {}
    found = {part.name: getattr(told.by_name[f"part_{part.name}"], "encode", None) for part in told.parts}
    return {name: encoder for name, encoder in found.items() if isinstance(encoder, TextEncoder)}


def _error(encoder: TextEncoder, mean: Expected, tokens: Tensor, wanted: Tensor) -> Tensor:
    longest = max(1, int((tokens != 0).sum(1).max()))  # mostly half of the places that the longest text of all needs
    return F.mse_loss(mean(*encoder(tokens[:, :longest])), wanted)
