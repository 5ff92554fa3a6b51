"""Time embeddings against the formula in 40 digits and against diffusers; Fourier features against theirs."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from diffusers.models.embeddings import get_timestep_embedding as diffusers_embedding

from noisepath.embedding import FourierFeatures, get_timestep_embedding

mpmath.mp.dps = 40

TIMES = [0.0, 0.25, 1.0, 17.5, 499.0, 999.0]


def formula(t: float, dim: int, period: float = 10000.0, shift: float = 1.0, scale: float = 1.0) -> list[float]:
    """Sines first, then cosines, then a 0 if dim is odd."""
    half = dim // 2
    ks = [mpmath.mpf(k) / (half - mpmath.mpf(shift)) if k else mpmath.mpf(0) for k in range(half)]
    angles = [mpmath.mpf(scale) * mpmath.mpf(t) * mpmath.mpf(period) ** -k for k in ks]
    return [float(v) for v in [*map(mpmath.sin, angles), *map(mpmath.cos, angles)]] + [0.0] * (dim % 2)


OPTIONS = [
    {},
    {"period": 100.0},
    {"shift": 0.0},
    {"shift": 0.5, "scale": 1000.0},
]


@pytest.mark.parametrize("dim", [2, 3, 4, 5, 8, 33, 128])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_embedding_is_the_formula_to_the_last_digit_of_its_dtype(dim: int, options: dict[str, float]) -> None:
    names = {"period": "max_period", "shift": "downscale_freq_shift", "scale": "scale"}
    named = {names[k]: v for k, v in options.items()}
    true = torch.tensor([formula(t, dim, **options) for t in TIMES], dtype=torch.float64)
    # float64 angles reach scale * 999, so their rounding is 1e6 * 1.1e-16 at most; float32 rounds the result: 6e-8
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 6.1e-8)):
        made = get_timestep_embedding(torch.tensor(TIMES, dtype=dtype), dim, **named)
        assert made.dtype == dtype and made.shape == (len(TIMES), dim)
        torch.testing.assert_close(made.double(), true, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dim", [4, 5, 6, 32, 129])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_embedding_agrees_with_diffusers(dim: int, shift: float) -> None:
    t = torch.arange(0, 1000, 37)
    theirs = diffusers_embedding(t, dim, flip_sin_to_cos=False, downscale_freq_shift=shift)
    # theirs is made in float32: the angle, up to 999, is off by 999 * 6e-8
    torch.testing.assert_close(get_timestep_embedding(t, dim, downscale_freq_shift=shift), theirs, rtol=0, atol=2e-4)


def test_dims_1_2_and_3_have_no_nan() -> None:
    t = torch.tensor([0.0, 0.5, 3.0])
    assert get_timestep_embedding(t, 1).tolist() == [[0.0]] * 3
    sines = torch.stack([t.sin(), t.cos()], dim=1)
    torch.testing.assert_close(get_timestep_embedding(t, 2), sines)
    torch.testing.assert_close(get_timestep_embedding(t, 3), torch.cat([sines, torch.zeros(3, 1)], dim=1))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8, torch.float16, torch.bfloat16])
def test_times_of_any_dtype_are_embedded_in_float32(dtype: torch.dtype) -> None:
    t = torch.tensor([0, 3, 100], dtype=dtype)
    made = get_timestep_embedding(t, 16)
    assert made.dtype == torch.float32
    assert torch.equal(made, get_timestep_embedding(t.float(), 16))


def test_fractional_times_lie_between_whole_ones() -> None:
    slow = get_timestep_embedding(torch.tensor([7.0, 7.5, 8.0]), 8)[:, 3]  # the slowest sine, rising here
    assert slow[0] < slow[1] < slow[2]


def test_one_number_is_a_batch_of_one() -> None:
    wanted = get_timestep_embedding(torch.tensor([5.0]), 6)
    for one in (5, 5.0, np.int64(5), np.float32(5), np.float64(5), np.array(5), torch.tensor(5), [5], (5.0,)):
        assert torch.equal(get_timestep_embedding(one, 6), wanted)
    assert torch.equal(get_timestep_embedding([5], np.int64(6)), wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "times", [[0, 100, 500, 999], (0.5, 7.0), range(3), np.arange(4), np.array([0.25, 3], dtype=np.float32)], ids=str
)
def test_lists_and_arrays_are_embedded_as_tensors_are(times: Any) -> None:
    made = get_timestep_embedding(times, 16)
    assert made.dtype == torch.float32 and made.shape == (len(times), 16)
    assert torch.equal(made, get_timestep_embedding(torch.tensor([float(t) for t in times], dtype=torch.float64), 16).float())
    assert get_timestep_embedding(np.array([1.5]), 4).dtype == torch.float64, "float64 was chosen"


def test_defaults_of_torch_change_no_embedding() -> None:
    wanted = [get_timestep_embedding([0.3, 999.0], 16), get_timestep_embedding(5, 16), FourierFeatures(8)(0.5)]
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            found = [get_timestep_embedding([0.3, 999.0], 16), get_timestep_embedding(5, 16), FourierFeatures(8)(0.5)]
        finally:
            torch.set_default_dtype(torch.float32)
        assert all(one.dtype == two.dtype and torch.equal(one, two) for one, two in zip(found, wanted, strict=True)), dtype


@pytest.mark.parametrize("times", ["5", None, ["a"], [[1], [2, 3]], object()])
def test_times_that_are_no_numbers_are_refused_in_one_line(times: Any) -> None:
    message = "timesteps must be a number, or a tensor, an array or a list of them, but are"
    for embed in (lambda: get_timestep_embedding(times, 8), lambda: FourierFeatures(8)(times)):
        with pytest.raises(TypeError, match=message) as caught:
            embed()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be a whole number of at least 1, but is 0"),
        ({"dim": 2.0}, "dim must be a whole number"),
        ({"dim": True}, "dim must be a whole number"),
        ({"dim": 8, "max_period": 0.0}, "max_period must be positive"),
        ({"dim": 8, "downscale_freq_shift": 4.0}, "below dim // 2 = 4, but is 4.0"),
        ({"dim": 4, "downscale_freq_shift": float("nan")}, "downscale_freq_shift"),
        ({"dim": 8, "timesteps": torch.zeros(2, 1)}, r"shape \(B,\), but are torch.float32 of \(2, 1\)"),
        ({"dim": 8, "timesteps": torch.tensor([True])}, "real numbers"),
    ],
)
def test_what_can_not_be_embedded_is_an_error(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_timestep_embedding(**{"timesteps": torch.tensor([1.0]), **options})  # type: ignore[arg-type]


def test_fourier_features_are_the_sines_and_cosines_of_their_frequencies() -> None:
    module = FourierFeatures(10, bandwidth=3.0, seed=4)
    t = torch.tensor([-3.0, 0.0, 0.37, 1e4])
    true = [
        [float(f(2 * mpmath.pi * mpmath.mpf(freq) * mpmath.mpf(at))) for f in (mpmath.sin, mpmath.cos) for freq in row]
        for at, row in ((at, module.frequencies.tolist()) for at in t.tolist())
    ]
    made = module(t)
    assert made.dtype == torch.float32 and made.shape == (4, 10)
    torch.testing.assert_close(made.double(), torch.tensor(true, dtype=torch.float64), rtol=0, atol=1e-7)
    assert torch.equal(module(1e4), made[3:]) and torch.equal(module(t.tolist()), module(t.double()).float())
    assert module(t.double()).dtype == torch.float64 and module(t.half()).dtype == torch.float32


def test_fourier_frequencies_come_from_the_seed_and_travel_with_the_weights() -> None:
    torch.manual_seed(1)
    one, two, other = FourierFeatures(8, seed=3), FourierFeatures(8, seed=3), FourierFeatures(8, seed=4)
    t = torch.tensor([0.1, 0.9])
    assert torch.equal(one(t), two(t)) and not torch.allclose(one(t), other(t))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(t), other(t))
    assert not list(one.parameters())


def test_fourier_frequencies_are_normal_with_the_bandwidth_as_their_spread() -> None:
    frequencies = FourierFeatures(8000, bandwidth=5.0).frequencies.double()
    assert abs(float(frequencies.mean())) < 4 * 5.0 / 4000**0.5
    # the standard error of a normal's standard deviation is sigma / sqrt(2 n)
    assert abs(float(frequencies.std()) - 5.0) < 4 * 5.0 / 8000**0.5


@pytest.mark.parametrize(("dim", "bandwidth"), [(7, 1.0), (0, 1.0), (True, 1.0), (8, 0.0), (8, float("inf"))])
def test_fourier_features_refuse_odd_dims_and_no_bandwidth(dim: int, bandwidth: float) -> None:
    with pytest.raises(ValueError, match="dim must be an even number|bandwidth must be positive"):
        FourierFeatures(dim, bandwidth=bandwidth)


def test_fourier_features_refuse_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"shape \(B,\), but are torch.float32 of \(2, 1\)"):
        FourierFeatures(4)(torch.zeros(2, 1))
