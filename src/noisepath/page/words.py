"""Numbers as people read them.  What is no number is shown as it is: a page is made of what a file happens to hold."""

from __future__ import annotations

import math

__all__ = ["amount", "figure", "number", "plain", "seconds", "share", "size", "tick"]


def number(value: object) -> float | None:
    """A finite number, or None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def plain(value: object) -> str:
    """A value of a JSON file in words: yes and no, lists with commas, whole numbers with thousands marked."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}" if abs(value) < 10**15 else f"{value:.3g}" if abs(value) < 10**300 else "a very large number"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(plain(part) for part in value)
        case dict():
            return ", ".join(f"{name} {plain(part)}" for name, part in value.items())
        case _:
            return str(value)


def figure(value: object) -> str:
    """Three significant digits."""
    known = number(value)
    if known is None:
        return str(value)
    if known and not 1e-4 <= abs(known) < 1e6:
        return f"{known:.2e}"
    digits = max(0, 2 - math.floor(math.log10(abs(known)))) if known else 0
    return f"{known:,.{digits}f}"


def share(value: object) -> str:
    """0.9613 -> 96.1 %."""
    known = number(value)
    return plain(value) if known is None else f"{100 * known:.3g} %"


def amount(value: object) -> str:
    """1234567 -> 1.23 million."""
    known = number(value)
    if known is None:
        return plain(value)
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if known >= unit:
            return f"{known / unit:.3g} {name}"
    return f"{known:,.0f}"


def seconds(value: object) -> str:
    """A length of time: 12 s, 3.4 min, 2.1 h."""
    known = number(value)
    if known is None:
        return plain(value)
    for least, unit, name in ((172_800, 86_400, "days"), (3600, 3600, "h"), (60, 60, "min")):
        if known >= least:
            return f"{known / unit:.3g} {name}"
    return f"{known:.3g} s"


def size(value: object) -> str:
    """Bytes: 1200000000 -> 1.2 GB."""
    known = number(value)
    if known is None:
        return plain(value)
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if known >= unit:
            return f"{known / unit:.3g} {name}"
    return f"{known:.0f} bytes"


def tick(value: float) -> str:
    """A number beside an axis, as short as it can be said."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if 10_000 <= abs(value) < 1e12 and abs(value) >= unit:
            return f"{value / unit:g}{name}"
    if value and not 1e-3 <= abs(value) < 10_000:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:,.6f}".rstrip("0").rstrip(".")
