"""The inverse of the normal distribution by exact operations alone, so that every processor gives the same bits.

Used are +, -, * and / one at a time, square roots and the split into mantissa and exponent, all of which IEEE 754 fixes to
the last bit.  There is no exp, log or erf, whose last digits differ between processors and libraries.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PIECE_BITS", "lines", "quantile"]

PIECE_BITS = 10
"""Each octave of the tail probability is cut into ``2**PIECE_BITS`` pieces."""

# Algorithm AS 241, PPND16 (Wichura, Applied Statistics 37, 477, 1988): highest power first, numerator and denominator.
_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
     3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580, 5.46378491116411436990, 6.65790464350110377720),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def quantile(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """z with P(normal < z) = p, for p from 0 (minus infinity) to 1; relative error 1e-15 or less, by AS 241."""
    import numpy as np

    flat = p.reshape(-1)
    q = flat - 0.5
    z = q * _ratio(_CENTRE, 0.180625 - q * q)
    outside = np.flatnonzero(np.abs(q) > 0.425)
    if len(outside):
        tail = np.minimum(flat[outside], 1.0 - flat[outside])
        r = np.sqrt(-_log(np.where(tail > 0.0, tail, 0.5)))
        size = np.where(r <= 5.0, _ratio(_TAIL, r - 1.6), _ratio(_FAR_TAIL, r - 5.0))
        z[outside] = np.where(tail > 0.0, size, np.inf) * np.sign(q[outside])
    return z.reshape(p.shape)


@cache
def lines() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Heights and slopes: a 32-bit number w becomes the normal ``z = heights[k] + f * slopes[k]`` with f = float32(w).

    k are the first ``9 + PIECE_BITS`` bits of f: sign, exponent and piece of the octave.  The line of a piece goes through
    the exact values at its ends, where w >= 0 is the upper tail's probability (w + 1/2) / 2**32, and w < 0 the lower
    tail's (-w - 1/2) / 2**32: the two halves mirror each other.  Only entries that some w reaches are filled.
    """
    import numpy as np

    drop = 23 - PIECE_BITS
    heights, slopes = np.zeros((2, 1 << 9 + PIECE_BITS), np.float32)
    ends = np.arange(127 << PIECE_BITS, (127 + 31 << PIECE_BITS) + 1, dtype=np.uint32)  # f from 1 to 2**31
    f = (ends << np.uint32(drop)).view(np.float32).astype(np.float64)
    for sign, k in ((1.0, ends), (-1.0, ends | np.uint32(1 << 8 + PIECE_BITS))):
        z = -sign * quantile((f + 0.5 * sign) * 2.0**-32)
        slope = (z[1:] - z[:-1]) / (f[1:] - f[:-1])
        heights[k[:-1]], slopes[k[:-1]] = z[:-1] - slope * f[:-1], sign * slope
    heights[0] = -quantile(np.array([2.0**-33]))[0]  # w = 0.  What rounds to f = 2**31 is 0, as it stands.
    return heights, slopes


def _ratio(of: tuple[Sequence[float], Sequence[float]], x: NDArray[np.float64]) -> NDArray[np.float64]:
    return _polynomial(of[0], x) / _polynomial(of[1], x)


def _polynomial(coefficients: Sequence[float], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """By Horner's rule, highest power first; each product is rounded before the sum, as no single kernel does both."""
    value = coefficients[0] * x
    for coefficient in coefficients[1:-1]:
        value = (value + coefficient) * x
    return value + coefficients[-1]


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(x): x is ``m * 2**e`` with m within a factor sqrt(2) of 1, and log(m) = 2 artanh((m - 1) / (m + 1)) by its series."""
    import numpy as np

    m, e = np.frexp(x)
    low = m < 0.7071067811865476
    m, e = np.where(low, 2.0 * m, m), e - low
    s = (m - 1.0) / (m + 1.0)
    return 2.0 * s * _polynomial([1.0 / k for k in range(23, 0, -2)], s * s) + 0.6931471805599453 * e
