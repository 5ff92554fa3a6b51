"""Half precision in training: what computes in it, what does not, and what comes out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath.noise import normal
from noisepath.training.precision import half


class Net(nn.Module):
    """Attention over 5 places, and what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        with torch.no_grad():
            self.qkv.weight.copy_(normal(0, range(24), (8,)))
            self.qkv.bias.zero_()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.given = self.qkv(x).chunk(3, dim=-1)
        self.mixed = F.scaled_dot_product_attention(*(part[:, None] for part in self.given), attn_mask=mask)
        return self.mixed[:, 0]


def test_layers_compute_in_bfloat16_attention_in_float32_and_the_output_is_float32() -> None:
    network, x = Net(), normal(1, range(2), (5, 8))
    output = half(network, "cpu")(x)
    assert network.given[0].dtype == network.mixed.dtype == torch.bfloat16 and output.dtype == torch.float32
    exact = F.scaled_dot_product_attention(*(part[:, None].float() for part in network.given))[:, 0]
    assert torch.equal(output, exact.bfloat16().float())
    rounded = F.scaled_dot_product_attention(*(part[:, None] for part in network.given))[:, 0]
    assert not torch.equal(output, rounded.float())  # so the test can tell


def test_a_mask_is_understood_and_gradients_reach_the_weights() -> None:
    network, x = Net(), normal(1, range(2), (5, 8))
    first = torch.zeros(5, 5)
    first[:, 1:] = -torch.inf
    output = half(network, "cpu")(x, mask=first)
    assert torch.equal(output, network.given[2][:, :1].float().expand(2, 5, 8))  # all look at the first place alone
    output.square().sum().backward()
    assert network.qkv.weight.grad is not None
    value = network.qkv.weight.grad[16:]
    assert float(value.abs().sum()) > 0 and not network.qkv.weight.grad[:16].any()
    plain = Net()
    plain(x, mask=first).square().sum().backward()
    assert plain.qkv.weight.grad is not None
    assert torch.allclose(value, plain.qkv.weight.grad[16:], rtol=0.05, atol=0.05 * float(value.abs().max()))
