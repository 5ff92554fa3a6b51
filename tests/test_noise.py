"""A draw is a function of key and index alone, the same on every processor, and of the right distribution."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noisepath import _inverse_normal, noise


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
    starts, steps = noise._streams(noise.key("x"), range(300_000))
    assert len(np.unique(starts)) == len(np.unique(steps)) == 300_000 and (steps % 2 == 1).all()


def test_few_and_many_streams_are_the_same_numbers() -> None:
    indices = [-1, 0, 5, 2**64 - 1, 2**70 + 5, *range(30)]
    many = noise._streams(-3, indices, 2)
    few = [np.concatenate(part) for part in zip(*(noise._streams(-3, [i], 2) for i in indices), strict=True)]
    assert all(np.array_equal(a, b) for a, b in zip(many, few, strict=True))
    assert many[0][0] == many[0][3] and many[0][2] == many[0][4]  # indices count modulo 2**64


def test_normals_have_unit_moments_and_no_correlation() -> None:
    n, d = 4000, 256
    z = noise.normal(noise.key(3), range(n), (d,)).double()
    count = n * d
    assert abs(z.mean()) < 4 / math.sqrt(count)
    assert abs((z**2).mean() - 1) < 4 * math.sqrt(2 / count)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / count)
    # neighbours in index, key, place, the two numbers of a word, and small keys whose sums with the index agree
    other = noise.normal(noise.key(4), range(n), (d,)).double()
    small = [noise.normal(3 + k, range(-k, n - k), (d,)).double() for k in (0, 1)]
    for a, b in ((z[1:], z[:-1]), (z, other), (z[:, 1:], z[:, :-1]), (z[:, ::2], z[:, 1::2]), small):
        assert abs((a * b).mean()) < 4 / math.sqrt(a.numel())
        assert abs(((a**2 - 1) * (b**2 - 1)).mean()) < 4 * 2 / math.sqrt(a.numel())


def test_the_tiles_of_a_large_picture_are_independent() -> None:
    tile = 2 * noise._TILE
    z = noise.normal(noise.key(8), range(8), (3 * tile + 5,)).double()
    a, b = z[:, : 2 * tile], z[:, tile : 3 * tile]
    assert abs((a * b).mean()) < 4 / math.sqrt(a.numel()) and abs((a**2 - 1).mean()) < 4 * math.sqrt(2 / a.numel())
    # what is left over makes a picture of its own length, and the row alone decides it
    assert torch.equal(noise.normal(noise.key(8), [5], (3 * tile + 5,))[0].double(), z[5])


def _numbers() -> np.ndarray:
    """32-bit numbers of all sizes and signs, and those at the ends."""
    dice = np.random.default_rng(0)
    sizes = [sign * dice.integers(2**k, 2 ** (k + 1), 3000) for k in range(31) for sign in (-1, 1)]
    return np.concatenate([*sizes, np.arange(-100, 100), [2**31 - 1, -(2**31)]])


def test_a_normal_is_the_inverse_of_its_distribution_to_float32() -> None:
    w = _numbers()
    heights, slopes = _inverse_normal.lines()
    f = w.astype(np.int32).astype(np.float32)
    k = f.view(np.uint32) >> 23 - _inverse_normal.PIECE_BITS
    z = torch.from_numpy(f * slopes[k] + heights[k]).double()
    exact = torch.special.ndtri(torch.from_numpy((-w - 0.5) * 2.0**-32 % 1.0))
    error = (z - exact).abs()
    assert error.max() < 6e-7 and (error / exact.abs())[exact.abs() > 1].max() < 3e-7
    density = (-0.5 * exact**2).exp() / math.sqrt(2 * math.pi)
    assert (error * density).max() < 1e-7  # the distance of the two distribution functions (Kolmogorov)
    assert 6.3 < z.max() < 6.4 and -6.4 < z.min() < -6.3 and abs(z.max() + z.min()) < 1e-6


def test_the_inverse_normal_agrees_with_high_precision() -> None:
    mpmath = pytest.importorskip("mpmath")
    p = [1e-300, 1e-20, 2.0**-33, 1e-5, 0.03, 0.0749, 0.0751, 0.3, 0.5, 0.7, 0.9249, 0.9251, 0.99, 1 - 2.0**-50]
    z = noise.inverse_normal(torch.tensor(p, dtype=torch.float64))
    with mpmath.workdps(330):
        for value, probability in zip(z.tolist(), p, strict=True):
            below = mpmath.erfc(-mpmath.mpf(value) / mpmath.sqrt(2)) / 2
            density = mpmath.exp(-mpmath.mpf(value) ** 2 / 2) / mpmath.sqrt(2 * mpmath.pi)
            assert abs((below - mpmath.mpf(probability)) / density) <= 1e-15 * max(abs(value), 1e-3)
    ends = noise.inverse_normal(torch.tensor([[0.0], [1.0]]))
    assert ends.shape == (2, 1) and ends.dtype == torch.float64 and ends.flatten().tolist() == [-math.inf, math.inf]
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            noise.inverse_normal(torch.tensor(wrong))


# The bits that every processor must give.  Stored numbers are the right test here, and here alone: they are the promise.
DIGEST = "5e954bb8bde3faf1933ecd5679cecea9"


def _digest() -> str:
    place = noise.key(1, "run", 2, 0)
    draws = [noise.normal(place, range(20), (3, 5, 7)), noise.normal(place, [3, -1], (2 * noise._TILE + 77,))]
    u = noise.uniform(place, range(1000))
    parts = [*draws, u, noise.inverse_normal(u), noise.inverse_normal(u * u * u)]
    return hashlib.blake2b(b"".join(part.numpy().tobytes() for part in parts), digest_size=16).hexdigest()


def test_the_numbers_are_the_same_on_every_processor() -> None:
    assert _digest() == DIGEST
    # torch's and numpy's plainest code, as on a processor without AVX
    older = {"ATEN_CPU_CAPABILITY": "default", "NPY_DISABLE_CPU_FEATURES": " ".join(_numpy_fast_paths())}
    code = "import test_noise; print(test_noise._digest())"
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(noise.__file__).parents[1])])
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **older, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert run.stdout.strip() == DIGEST, run.stderr


def _numpy_fast_paths() -> list[str]:
    """What numpy would use beyond its baseline on this processor."""
    try:
        from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    except ImportError:  # numpy 1
        from numpy.core._multiarray_umath import __cpu_dispatch__, __cpu_features__  # type: ignore[no-redef]
    return [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]


def test_an_accelerator_gives_the_same_numbers() -> None:
    # the code for other devices, run on this one
    for shape in ((3, 5), (2, 2 * noise._TILE + 33)):
        elsewhere = torch.empty(shape)
        noise._fill_on_device(elsewhere, noise.key(6), range(4, 4 + len(elsewhere)))
        assert torch.equal(elsewhere, noise.normal(noise.key(6), range(4, 4 + len(elsewhere)), shape[1:]))
    assert noise.normal(noise.key(6), [1], (3,), device="meta").device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_a_gpu_gives_the_same_numbers() -> None:
    there = noise.normal(noise.key(6), range(5), (3, 64, 64), device="cuda")
    assert torch.equal(there.cpu(), noise.normal(noise.key(6), range(5), (3, 64, 64)))


def test_threads_and_inference_mode_do_not_mix_their_memory() -> None:
    from concurrent.futures import ThreadPoolExecutor

    keys = [noise.key(n) for n in range(12)]
    with torch.inference_mode():  # memory that was made here is used outside as well
        noise.normal(keys[0], range(2), (77,))
    alone = [noise.normal(k, range(3), (4001,)) for k in keys]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda k: noise.normal(k, range(3), (4001,)), keys))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


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


def test_memory_of_another_layout_or_precision_is_refused() -> None:
    for out in (
        torch.empty(2, 3, 4, 4).to(memory_format=torch.channels_last),
        torch.empty(2, 4, dtype=torch.float64),
        torch.empty(3, 4),
    ):
        with pytest.raises(ValueError, match="contiguous float32"):
            noise.fill(out, 0, [0, 1])
