"""A draw is a function of key and index alone, and it is a draw of the right distribution."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noisepath import noise


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2**33), min_size=1, max_size=8), st.sampled_from([(3,), (2, 5), (1, 8, 8), (3, 7, 5)]))
def test_a_row_does_not_depend_on_its_batch(indices: list[int], shape: tuple[int, ...]) -> None:
    together = noise.normal(noise.key(7), indices, shape)
    alone = torch.cat([noise.normal(noise.key(7), [i], shape) for i in indices])
    turned = noise.normal(noise.key(7), indices[::-1], shape).flip(0)
    assert torch.equal(together, alone) and torch.equal(together, turned)


def test_keys_and_indices_give_different_draws() -> None:
    rows = torch.cat([noise.normal(noise.key(seed, step), range(50), (16,)) for seed in (0, 1) for step in (0, 1)])
    assert len(torch.unique(rows, dim=0)) == len(rows)


def test_pictures_under_one_key_never_share_a_stream() -> None:
    # one to one by construction; a plain 32-bit hash would collide about 11 times among 300,000
    assert len({noise._stream(noise.key("x"), i) for i in range(300_000)}) == 300_000


def test_normals_have_unit_moments_and_no_correlation() -> None:
    n, d = 4000, 256
    z = noise.normal(noise.key(3), range(n), (d,)).double()
    count = n * d
    assert abs(z.mean()) < 4 / math.sqrt(count)
    assert abs((z**2).mean() - 1) < 4 * math.sqrt(2 / count)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / count)
    # neighbours in index, place and within the row
    for a, b in ((z[1:], z[:-1]), (z, noise.normal(noise.key(4), range(n), (d,)).double()), (z[:, 1:], z[:, :-1])):
        assert abs((a * b).mean()) < 4 / math.sqrt(a.numel())


def test_uniforms_are_uniform_and_strictly_inside() -> None:
    u = noise.uniform(noise.key(5), range(100_000))
    assert u.min() > 0 and u.max() < 1 and u.dtype == torch.float64
    counts = torch.histc(u, 20, 0, 1)
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8  # chi squared, 19 degrees of freedom, 0.1 %
    centred = u - 0.5
    assert abs((centred[1:] * centred[:-1]).mean()) < 4 / 12 / math.sqrt(len(u))


def test_words_of_a_key_are_told_apart() -> None:
    words = [(1, 2), (12,), (2, 1), ("1", 2), (1, "2"), ("run", 0, 0), ("run", 0), (-1,), (1,)]
    assert len({noise.key(*w) for w in words}) == len(words)
    with pytest.raises(TypeError, match="whole numbers and strings"):
        noise.key(1.5)  # type: ignore[arg-type]


def test_a_source_draws_by_place_and_into_given_memory() -> None:
    source = noise.Keyed(11, (4, 9), (2, 3))
    first = source((0, 0))
    assert first.shape == (2, 2, 3) and torch.equal(first, source((0, 0), torch.empty(2, 2, 3)))
    assert not torch.equal(first, source((0, 1))) and not torch.equal(first, source((1, 0)))
    assert not torch.equal(first, noise.Keyed(12, (4, 9), (2, 3))((0, 0)))


def test_memory_in_which_torch_would_draw_other_numbers_is_refused() -> None:
    for out in (
        torch.empty(2, 3, 4, 4).to(memory_format=torch.channels_last),
        torch.empty(2, 4, dtype=torch.float64),
        torch.empty(3, 4),
    ):
        with pytest.raises(ValueError, match="contiguous float32"):
            noise.fill(out, 0, [0, 1])
