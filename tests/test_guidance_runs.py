"""Guided runs: the same picture in every batch, every solver, and the ends of the guided field's own ODE."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from guided import DATA, EXAMPLES, LABEL, OTHER, SCALES, SHAPE, asks
from noisepath.conditions import Condition
from noisepath.denoiser import Denoise
from noisepath.exact import Mixture
from noisepath.guidance import GUIDANCES, autoguidance, classifier, classifier_free, composed
from noisepath.levels import Level
from noisepath.sampling import sample, steps_within
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS

FLOW = schedule("flow")
MODEL = DATA.denoiser(FLOW)

# The partition law ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GUIDANCES)
def test_a_guided_picture_is_the_same_in_every_batch(name: str) -> None:
    model, told = EXAMPLES[name](MODEL), asks(name)
    whole = sample(model, (5, *SHAPE), steps=6, condition=told, dtype=torch.float64)
    for size in (1, 3):
        parts = sample(model, (5, *SHAPE), steps=6, condition=told, dtype=torch.float64, batch_size=size)
        torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)
    again = sample(model, (5, *SHAPE), steps=6, condition=told, dtype=torch.float64)
    torch.testing.assert_close(again, whole, rtol=0, atol=0)  # nothing is kept from run to run


def test_guidances_inside_each_other_are_the_same_in_every_batch() -> None:
    inner = autoguidance(MODEL, classifier_free(MODEL, SCALES.flip(0), negative=OTHER), SCALES)
    model = classifier_free(inner, lambda level: 1.0 + SCALES * level.sigma, together=False)
    whole, parts = (
        sample(model, (5, *SHAPE), steps=6, condition=LABEL, dtype=torch.float64, batch_size=size) for size in (None, 2)
    )
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pictures", [1, 5])
def test_scales_for_each_place_follow_the_pictures_into_their_batches(pictures: int) -> None:
    where = torch.rand((pictures, *SHAPE), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model = composed(autoguidance(MODEL, MODEL, 1.0 + where), [(LABEL, 2.0 * where), (OTHER, lambda level: 1.0 - where)])
    whole, parts = (sample(model, (5, *SHAPE), steps=6, dtype=torch.float64, batch_size=size) for size in (None, 2))
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: classifier_free(MODEL, torch.ones(4) * 2), "4 guidance scales for 5 pictures"),
        (lambda: classifier_free(MODEL, torch.ones(10) * 2), "10 guidance scales for 5 pictures"),
        (lambda: classifier_free(MODEL, lambda level: torch.ones(7)), "7 guidance scales for 5 pictures"),
        (lambda: classifier_free(MODEL, 2.0, negative=LABEL.rows([0, 1])), "2 rows for 5 pictures"),
    ],
)
@pytest.mark.parametrize("size", [None, 2])
def test_scales_and_conditions_for_other_pictures_are_refused(
    make: Callable[[], Denoise], words: str, size: int | None
) -> None:
    with pytest.raises(ValueError, match=words):
        sample(make(), (5, *SHAPE), steps=3, condition=LABEL, batch_size=size)


# Every solver --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [4, 10])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_runs_guided(solver: str, calls: int) -> None:
    first = list(SOLVERS).index(solver) + calls
    for name in (list(GUIDANCES) * 2)[first % len(GUIDANCES) :][:3]:  # three of them: each pair comes up at one of the calls
        model, told = EXAMPLES[name](MODEL), asks(name)
        try:
            steps = steps_within(FLOW, calls, solver=solver)
        except ValueError:  # one step makes more calls
            steps = 1
        made = sample(model, (5, *SHAPE), solver=solver, steps=steps, condition=told)
        assert made.isfinite().all() and made.abs().max() < 100, name


# Ends ----------------------------------------------------------------------------------------------------------------

# A mixture in the plane; a run in EDM's coordinates from 40 to 0.02, whose field's own ODE is integrated here
MEANS, VARIANCES, WEIGHTS = [[1.0, 0.0], [-0.5, 0.8]], [0.0625, 0.125], [0.75, 0.25]
PLANE = Mixture(WEIGHTS, MEANS, VARIANCES)
STARTS = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
CLASSES = torch.tensor([0, 1, 1, 0, 1, 0])
CORNERS = [40.0, 2.0, 0.25, 0.02]  # an interval's ends are levels of both


def field(x: Tensor, sigma: float, label: Tensor | None = None, widen: float = 1.0) -> Tensor:
    """E[x_0 | x, class] in the plane, at alpha = 1."""
    logs, parts = [], []
    for k, (mean, v, w) in enumerate(zip(MEANS, VARIANCES, WEIGHTS, strict=True)):
        v, about = v * widen, x - torch.tensor(mean, dtype=x.dtype)
        total = v + sigma**2
        log = math.log(w / total) - about.square().sum(1) / (2 * total)
        if label is not None:
            log = log.masked_fill(label != k, -math.inf)
        logs.append(log)
        parts.append(x - about * sigma**2 / total)
    shares = torch.softmax(torch.stack(logs), 0)
    return (shares[..., None] * torch.stack(parts)).sum(0)


def grid(each: int) -> list[float]:
    """Levels even in log sigma between the corners."""
    made = [CORNERS[0]]
    for high, low in zip(CORNERS, CORNERS[1:], strict=False):
        made += [high * (low / high) ** ((i + 1) / each) for i in range(each)]
        made[-1] = low
    return made


def ends(guided: Callable[[Tensor, float], Tensor], each: int = 50) -> Tensor:
    """dx / d log sigma = x - D, by Runge-Kutta; a step's slopes are taken inside of it, as the field may jump at its ends."""
    x, inside = STARTS * CORNERS[0], 1e-9
    for high, low in zip(sigmas := grid(each), sigmas[1:], strict=False):
        h = math.log(low / high)
        at = [high * (1 - inside), math.sqrt(high * low), low * (1 + inside)]
        k1 = x - guided(x, at[0])
        k2 = x + h / 2 * k1 - guided(x + h / 2 * k1, at[1])
        k3 = x + h / 2 * k2 - guided(x + h / 2 * k2, at[1])
        k4 = x + h * k3 - guided(x + h * k3, at[2])
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def run(model: Denoise, condition: Condition | None, each: int = 60) -> Tensor:
    """The library's run from the same noises; midpoint asks at a step's beginning and inside, never at its end."""
    levels = [Level(1.0, sigma) for sigma in grid(each)]
    return sample(
        model, (6, 2), solver="midpoint", levels=levels, condition=condition, noise=lambda place: STARTS, dtype=torch.float64
    )


def mixed(scale: float, towards: Callable[[Tensor, float], Tensor], away: Callable[[Tensor, float], Tensor]):  # type: ignore[no-untyped-def]
    return lambda x, sigma: away(x, sigma) + scale * (towards(x, sigma) - away(x, sigma))


def told(x: Tensor, sigma: float) -> Tensor:
    return field(x, sigma, CLASSES)


def rescaled(x: Tensor, sigma: float) -> Tensor:
    D, c = mixed(3.0, told, field)(x, sigma), told(x, sigma)
    apart = (c[:, 0] - c[:, 1]).abs() / (D[:, 0] - D[:, 1]).abs()  # of two values, what deviations are to each other
    return 0.5 * D * apart[:, None] + 0.5 * D


TARGET = torch.tensor([0.3, 0.9], dtype=torch.float64)
CONDITION = Condition(label=CLASSES)
CASES: dict[str, tuple[Denoise, Condition | None, Callable[[Tensor, float], Tensor]]] = {
    "classifier-free": (classifier_free(PLANE.denoiser(), 3.0), CONDITION, mixed(3.0, told, field)),
    "interval": (
        classifier_free(PLANE.denoiser(), 3.0, interval=(0.25, 2.0)),
        CONDITION,
        lambda x, s: mixed(3.0, told, field)(x, s) if 0.25 < s <= 2.0 else told(x, s),
    ),
    "rescale": (classifier_free(PLANE.denoiser(), 3.0, rescale=0.5), CONDITION, rescaled),
    "composition": (
        composed(PLANE.denoiser(), [(CONDITION, 2.0), (Condition(label=torch.tensor([0])), -0.5)]),
        None,
        lambda x, s: field(x, s) + 2.0 * (told(x, s) - field(x, s)) - 0.5 * (field(x, s, 0 * CLASSES) - field(x, s)),
    ),
    "autoguidance": (
        autoguidance(PLANE.denoiser(), Mixture(WEIGHTS, MEANS, torch.tensor(VARIANCES) * 4).denoiser(), 2.0),
        CONDITION,
        mixed(2.0, told, lambda x, s: field(x, s, CLASSES, widen=4.0)),
    ),
    # of one class's data D is linear, with the slope v / (v + sigma^2)
    "classifier": (
        classifier(PLANE.denoiser(), lambda D: -0.5 * (D - TARGET).square().sum(1) / 0.5, 1.5),
        CONDITION,
        lambda x, s: told(x, s)
        + 1.5 * (s * s * (v := torch.tensor(VARIANCES).double()[CLASSES][:, None]) / (v + s * s)) * (TARGET - told(x, s)) / 0.5,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_guided_run_ends_where_the_guided_field_leads(name: str) -> None:
    model, condition, guided = CASES[name]
    expected = ends(guided)
    torch.testing.assert_close(ends(guided, 25), expected, rtol=0, atol=1e-3)  # the truth has converged
    error = (run(model, condition) - expected).abs().max()
    coarse = (run(model, condition, 30) - expected).abs().max()
    assert error < 2e-2 and error < coarse / 2.5  # second order
    unguided = ends(told if condition is not None else field)
    assert (expected - unguided).abs().max() > 0.1


def test_an_interval_saves_its_calls() -> None:
    rows: list[int] = []

    def network(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        rows.append(len(x))
        return PLANE.denoiser()(x, level, condition)

    model = classifier_free(network, 3.0, negative=Condition(label=torch.tensor([2])), interval=(0.25, 2.0))
    levels: Sequence[Level] = [Level(1.0, s) for s in (40.0, 5.0, 2.0, 1.0, 0.5, 0.25, 0.1)]
    sample(model, (6, 2), solver="ddim", levels=levels, condition=CONDITION)
    assert rows == [6, 6, 12, 12, 12, 6]
