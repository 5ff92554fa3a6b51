"""Guidance by a second model, and beliefs held to the data's range, against formulas and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from guided import (
    DATA,
    LABEL,
    LEVELS,
    NOISY,
    OTHER,
    SCALES,
    SHAPE,
    X,
    believed,
    beside,
    both,
    nearness,
    same,
)
from noisepath.conditions import Condition
from noisepath.denoiser import Denoiser
from noisepath.exact import Gaussian
from noisepath.guidance import (
    autoguidance,
    classifier,
    clip,
    dynamic_threshold,
)
from noisepath.levels import Level
from noisepath.sampling import sample
from noisepath.schedules import schedule

# Thresholds ----------------------------------------------------------------------------------------------------------


def test_clipping_holds_the_belief_and_nothing_else() -> None:
    clipped = clip(DATA.denoiser(), -0.25, 0.5)(X, LEVELS[2])
    assert isinstance(clipped, Tensor)
    torch.testing.assert_close(clipped, DATA.belief(X, LEVELS[2]).clamp(-0.25, 0.5))
    assert clipped.min() == -0.25 and clipped.max() == 0.5


@pytest.mark.parametrize(("percentile", "limit"), [(60.0, 1.0), (99.5, 0.4), (100.0, 1.0), (75.0, 2.0)])
def test_a_dynamic_threshold_divides_by_the_percentile_and_never_widens(percentile: float, limit: float) -> None:
    x = X * torch.tensor([0.1, 1.0, 2.0, 4.0, 8.0]).double().view(-1, 1, 1, 1)
    out = dynamic_threshold(lambda x, level, condition=None: x, percentile, limit)(x, NOISY[1])
    for row, given in zip(x.flatten(1), out.flatten(1), strict=True):
        sizes = sorted(abs(v) for v in row.tolist())
        at = percentile / 100 * (len(sizes) - 1)
        low = sizes[int(at)]
        s = max(limit, low + (at - int(at)) * (sizes[min(int(at) + 1, len(sizes) - 1)] - low))
        same(given, torch.tensor([limit * max(-s, min(s, v)) / s for v in row.tolist()], dtype=torch.float64))


# A second model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", NOISY, ids=str)
@pytest.mark.parametrize("scale", [0.0, 2.0, -1.0])
def test_autoguidance_leads_away_from_a_worse_model_on_a_path_of_its_own(scale: float, level: Level) -> None:
    def velocity(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        flow = Level(1 - float(t[0]), float(t[0]))
        return (x - believed(x, flow, label, widen=3.0)) / flow.sigma

    bad = Denoiser(velocity, schedule("flow"), "velocity")
    worse, better = believed(X, level, LABEL["label"], widen=3.0), both(level)[0]
    same(autoguidance(DATA.denoiser(), bad, scale)(X, level, LABEL), worse + scale * (better - worse))
    by_picture = autoguidance(DATA.denoiser(), bad, SCALES)(X, level, LABEL)
    same(by_picture, worse + beside(SCALES) * (better - worse))


@pytest.mark.parametrize("level", [Level(0.3, 0.9), Level(1.0, 0.2), Level(1.0, 30.0)], ids=str)
def test_classifier_guidance_adds_the_gradient_of_log_p(level: Level) -> None:
    def score_of(x: Tensor) -> Tensor:
        """grad log p(D(x)) by central differences."""
        slope = torch.zeros_like(x)
        h = 1e-5 * max(1.0, level.sigma)
        for place in torch.cartesian_prod(*map(torch.arange, SHAPE)).tolist():
            shift = torch.zeros(SHAPE, dtype=x.dtype)
            shift[tuple(place)] = h
            up, down = (nearness(believed(x + by, level, LABEL["label"]), OTHER) for by in (shift, -shift))
            slope[(slice(None), *place)] = (up - down) / (2 * h)
        return slope

    guided = classifier(DATA.denoiser(), nearness, SCALES, towards=OTHER)(X, level, LABEL)
    # D = (x + sigma^2 score) / alpha, and guidance adds to the score
    score = (level.alpha * both(level)[0] - X) / level.sigma**2 + beside(SCALES) * score_of(X)
    torch.testing.assert_close(guided, (X + level.sigma**2 * score) / level.alpha, rtol=1e-6, atol=1e-6)


def test_classifier_guidance_with_the_true_posterior_is_the_conditional_belief() -> None:
    # of Gaussian data, p(y | D) for y = x_0 + noise is known: D is all that x says, and x_0 given x is N(D, V)
    data, spread = Gaussian(torch.zeros(2), torch.tensor([0.5, 2.0])), 0.3
    y, x, level = torch.tensor([[0.4, -1.0]]).double(), torch.tensor([[1.0, 0.7]]).double(), Level(0.6, 0.8)
    v = torch.tensor([0.5, 2.0]).double()
    left = v * level.sigma**2 / (level.alpha**2 * v + level.sigma**2)
    guided = classifier(data.denoiser(), lambda D: (-(y - D).square() / (2 * (left + spread))).sum(1))(x, level)
    precision = 1 / v + level.alpha**2 / level.sigma**2 + 1 / spread
    same(guided, (level.alpha / level.sigma**2 * x + y / spread) / precision)


def test_classifier_guidance_has_a_limit_at_pure_noise() -> None:
    data, x = Gaussian(torch.tensor([0.2, -0.1]), torch.tensor([0.5, 2.0])), torch.tensor([[1.0, 0.7]]).double()
    target = torch.tensor([0.4, -1.0]).double()
    guided = classifier(data.denoiser(), lambda D: -0.5 * (D - target).square().sum(1), 2.0)
    mean, v = torch.tensor([0.2, -0.1]).double(), torch.tensor([0.5, 2.0]).double()
    torch.testing.assert_close(guided(x, Level(0.0, 3.0)), (mean + 2 * v * (target - mean))[None], rtol=0, atol=2e-2)
    same(guided(x, Level(0.5, 0.0)), x / 0.5)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_classifier_guidance_begins_in_the_pure_noise_of_a_table(name: str) -> None:
    model = Denoiser(lambda x, t: 0.5 * x, schedule(name, zero_terminal_snr=True), "v")
    guided = classifier(model, lambda D: -D.square().flatten(1).sum(1), 0.1)(X, Level(0.0, 1.0))
    assert isinstance(guided, Tensor) and guided.isfinite().all()


def test_gradients_pass_through_one_classifier_to_the_next_and_stay_out_of_the_run() -> None:
    inner = classifier(DATA.denoiser(), nearness, 0.5)
    with torch.no_grad():
        nested = classifier(inner, nearness, 0.5, towards=OTHER)(X, NOISY[1], LABEL)
        plain = inner(X, NOISY[1], LABEL)
    assert isinstance(nested, Tensor) and not nested.requires_grad and not plain.requires_grad
    x = X.clone().requires_grad_()
    D = inner(x, NOISY[1], LABEL)
    (slope,) = torch.autograd.grad(nearness(D, OTHER).sum(), x)
    same(nested, plain + 0.5 * NOISY[1].sigma ** 2 / NOISY[1].alpha * slope)


def test_classifier_guidance_works_within_inference_mode_and_says_what_does_not() -> None:
    def network(x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return weight * x

    def of_class(pictures: Tensor, towards: Condition) -> Tensor:
        return nearness(pictures, towards)

    weight = torch.full((1,), 0.9, dtype=torch.float64)
    model = classifier(Denoiser(network, schedule("edm"), "x0"), of_class, 2.0, towards=LABEL)
    level = Level(1.0, 0.5)
    plain = model(X, level, LABEL)
    with torch.inference_mode():
        inside = model(X.clone(), level, Condition(label=LABEL["label"].clone()))
        weight = torch.full((1,), 0.9, dtype=torch.float64)
        with pytest.raises(ValueError, match=r"made within torch.inference_mode\(\).*load the model outside"):
            model(X.clone(), level, LABEL)
    assert torch.equal(plain, inside)  # type: ignore[arg-type]


def test_guidance_by_a_gradient_works_inside_of_inference_mode() -> None:
    """The same samples to the bit as outside of it; autograd sees a copy of a state that it could not record."""
    torch.manual_seed(0)
    network = torch.nn.Bilinear(2, 2, 2)  # in whose gradient states and conditions meet
    model = Denoiser(lambda x, t, text: network(x, text), "flow", "velocity")

    def found() -> Tensor:
        def log_p(D: Tensor, towards: Condition) -> Tensor:
            return (D * towards["point"]).flatten(1).sum(1)

        guided = classifier(model, log_p, 2.0, towards=Condition(point=torch.tensor([[0.5, -0.5]])))
        return sample(guided, (3, 2), steps=4, condition=Condition(text=torch.ones(3, 2)))

    outside = found()
    with torch.inference_mode():
        assert torch.equal(found(), outside)
