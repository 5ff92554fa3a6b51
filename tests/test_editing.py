"""Pictures that are there already: begun midway, completed, varied, interpolated, led back to their noise and down again."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from edited import FLOW, POINTS, normal_distance, unasked
from noisepath import editing
from noisepath.conditions import Condition
from noisepath.denoiser import Denoise, Moved
from noisepath.editing import (
    image_to_image,
    inpaint,
    interpolate,
    interpolate_conditions,
    jumping,
    outpaint,
    variations,
)
from noisepath.exact import Gaussian, Mixture
from noisepath.guidance import classifier_free
from noisepath.levels import Level
from noisepath.sampling import design, sample
from noisepath.schedules import begun, schedule
from noisepath.solvers import SOLVERS
from noisepath.tableau import Draw

every_solver = pytest.mark.parametrize("solver", SOLVERS)



def _smooth(side: int = 4) -> Gaussian:
    """Pictures (1, side, side) whose pixels are alike: variance 0.3, of which 0.25 is common to all."""
    values = side * side
    return Gaussian(torch.full((1, side, side), 0.2), 0.25 * torch.ones(values, values) + 0.05 * torch.eye(values))


SMOOTH = _smooth()
SMALL = SMOOTH.denoiser(schedule("flow"))
PICTURES = SMOOTH.sample(5, seed=1).float()
MASK = torch.zeros(1, 1, 4, 4)
MASK[..., 1:3, 2:] = 1.0


# Image to image --------------------------------------------------------------------------------------------------------------


@every_solver
def test_full_strength_is_plain_sampling_to_the_bit_and_hardly_any_gives_the_pictures_back(solver: str) -> None:
    options: dict[str, Any] = {"solver": solver, "steps": 4, "seed": 6}
    for name in ("flow", "linear"):  # the second leaves a little of a picture at its noisiest level
        model = SMOOTH.denoiser(schedule(name))
        assert torch.equal(image_to_image(model, PICTURES, 1.0, **options), sample(model, PICTURES.shape, **options))
    near = image_to_image(SMALL, PICTURES, 0.005, **options)
    assert float((near - PICTURES).abs().max()) < 0.06  # sigma 0.005, of which 80 pixels have 3.5 at most, and Langevin's more


@every_solver
def test_more_strength_changes_more(solver: str) -> None:
    """The mean over 100 pictures of 16 values; in law it is 2 v sigma^2 / (alpha^2 v + sigma^2) where noise is drawn."""
    pictures, options = SMOOTH.sample(100, seed=4).float(), {"solver": solver, "steps": 4}
    shares = [0.02, 0.1, 0.3, 0.6, 0.9]
    far = [float((image_to_image(SMALL, pictures, s, **options) - pictures).square().mean()) for s in shares]
    assert far == sorted(far) and far[0] < 3e-3 and far[-1] > 0.1


def test_a_picture_is_changed_alike_whatever_its_batch() -> None:
    options: dict[str, Any] = {"strength": 0.5, "solver": "ddpm", "steps": 4, "seed": 7}
    whole = image_to_image(FLOW, POINTS, **options)
    for size in (1, 3):
        torch.testing.assert_close(image_to_image(FLOW, POINTS, batch_size=size, **options), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(image_to_image(FLOW, POINTS[[5]], indices=[5], **options), whole[[5]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["flow", "linear", "edm"])
def test_what_is_made_of_other_pictures_has_the_exact_law_of_their_noised_state_led_down(name: str) -> None:
    """Pictures N(m', v') into a model of N(m, v): noised to (alpha, sigma) and carried down by the flow, in closed form."""
    path, m, v, other, spread = schedule(name), 0.3, 0.2, -0.5, 0.05
    where = Level(0.7, 0.7) if name == "edm" else 0.5
    pictures = Gaussian([other], [[spread]]).sample(3000, seed=2)
    made = image_to_image(
        Gaussian([m], [[v]]).denoiser(path), pictures, where, solver="heun", steps=40, seed=5, dtype=torch.float64
    )
    first = begun(path, where).level(begun(path, where).t_max)
    gain = math.sqrt(v / (first.alpha**2 * v + first.sigma**2))
    mean, variance = m + gain * first.alpha * (other - m), gain**2 * (first.alpha**2 * spread + first.sigma**2)
    # 5 standard errors of 3,000, and what 40 of Heun's steps are off
    assert float(made.mean()) == pytest.approx(mean, abs=5 * math.sqrt(variance / 3000) + 2e-3)
    assert float(made.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / 3000) + 0.01)


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.01, math.nan, True])
def test_a_strength_outside_0_to_1_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="strength is a share"):
        image_to_image(unasked, POINTS, strength, schedule=schedule("flow"))


def test_pictures_that_are_none_and_options_that_say_it_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity, first in picture 2"):
        image_to_image(unasked, torch.tensor([[0.0], [1.0], [math.nan]]), 0.5)
    with pytest.raises(ValueError, match="floats"):
        image_to_image(unasked, torch.zeros(2, 3, dtype=torch.int64), 0.5)
    with pytest.raises(TypeError, match="start= is not for here"):
        image_to_image(unasked, POINTS, 0.5, start=POINTS)


def test_variations_have_noise_of_their_own_and_stay_the_same_whatever_their_number() -> None:
    condition = Condition(label=torch.tensor([0, 1, 2, 0, 1, 2, 3]))
    few, more = (variations(FLOW, POINTS, 0.5, n, steps=4, seed=2, condition=condition, solver="ddpm") for n in (2, 4))
    assert more.shape == (7, 4, 3)
    torch.testing.assert_close(few, more[:, :2], rtol=0, atol=1e-6)
    first = image_to_image(FLOW, POINTS, 0.5, steps=4, seed=2, condition=condition, solver="ddpm")
    torch.testing.assert_close(more[:, 0], first, rtol=0, atol=1e-6)
    assert float((more[:, 0] - more[:, 1]).abs().max()) > 0.05
    single = variations(FLOW, POINTS[4:5], 0.5, 4, steps=4, seed=2, condition=condition.rows([4]), solver="ddpm", indices=[4])
    torch.testing.assert_close(single[0], more[4], rtol=0, atol=1e-6)
    same = variations(FLOW, POINTS[:1].repeat(4, 1), 0.5, 3, steps=2).reshape(12, 3)
    assert float(torch.pdist(same).min()) > 1e-4  # no noise twice, not that of a neighbour either
    with pytest.raises(ValueError, match="n is how many"):
        variations(unasked, POINTS, 0.5, 0)


# Between two noises ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 0.6, -0.5])
def test_between_two_noises_of_a_known_correlation_lies_unit_normal_noise(rho: float) -> None:
    generator = torch.Generator().manual_seed(0)
    a, other = (torch.randn(20000, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    b = rho * a + math.sqrt(1 - rho**2) * other
    shares = [0.0, 0.2, 0.5, 1.0]
    ways = interpolate(a, b, shares, correlation=rho).reshape(4, 20000, 4)
    torch.testing.assert_close(ways[0], a, rtol=0, atol=1e-12)
    torch.testing.assert_close(ways[3], b, rtol=0, atol=1e-12)
    for z in ways:  # 5 standard errors: of 80,000 values, and of 20,000 squared lengths of variance 2 d
        assert float(z.var()) == pytest.approx(1.0, abs=5 * math.sqrt(2 / 80000))
        assert normal_distance(z.flatten()) < 1.95 / math.sqrt(80000)
        assert float(z.square().sum(1).var()) == pytest.approx(8.0, rel=0.1)


def test_by_their_own_angle_noises_keep_their_length_and_one_noise_stays_itself() -> None:
    a = torch.nn.functional.normalize(torch.randn(6, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    ways = interpolate(a, a.roll(1, 0), [0.25, 0.75], correlation=None)
    torch.testing.assert_close(ways.norm(dim=1), torch.ones(12), rtol=1e-5, atol=0)
    torch.testing.assert_close(interpolate(a, a, [0.4], correlation=1.0), a)
    torch.testing.assert_close(interpolate(a, a, [0.4], correlation=None), a, rtol=0, atol=1e-6)
    for wrong, what in (((a, a[:3], [0.5]), "one shape"), ((a, a, [1.2]), "shares"), ((a, a, []), "shares")):
        with pytest.raises(ValueError, match=what):
            interpolate(*wrong)
    with pytest.raises(ValueError, match="opposite"):
        interpolate(a, -a, [0.5], correlation=None)


def test_conditions_are_interpolated_where_they_are_floats() -> None:
    one, two = (Condition(text=torch.full((2, 3), v), label=torch.tensor([1, 4])) for v in (1.0, 3.0))
    between = interpolate_conditions(one, two, [0.0, 0.25])
    assert between["text"][:, 0].tolist() == [1.0, 1.0, 1.5, 1.5] and between["label"].tolist() == [1, 4, 1, 4]
    with pytest.raises(ValueError, match="nothing between labels"):
        interpolate_conditions(one, Condition(text=two["text"], label=torch.tensor([1, 5])), [0.5])


# Inpainting ------------------------------------------------------------------------------------------------------------------


class Watched:
    """A denoiser that remembers what it was shown."""

    def __init__(self, inner: Denoise) -> None:
        self.inner = inner
        self.schedule = schedule("flow")
        self.shown: list[tuple[Tensor, Level]] = []

    def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor | Moved:
        self.shown.append((x.clone(), level))
        return self.inner(x, level, condition)


@every_solver
def test_known_pixels_come_back_to_the_bit_and_are_shown_at_the_noise_of_their_level(solver: str) -> None:
    watched = Watched(SMALL)
    beliefs: list[Tensor] = []
    callback = lambda event: beliefs.append(PICTURES if event.output is None else event.output.clone())  # noqa: E731
    made = inpaint(watched, PICTURES, MASK, solver=solver, steps=4, seed=3, callback=callback)
    known = (MASK == 0).expand_as(PICTURES)
    assert len(beliefs) > 3 and all(torch.equal(belief[known], PICTURES[known]) for belief in beliefs)
    assert torch.equal(made[known], PICTURES[known])
    assert bool((made[~known] - PICTURES[~known]).abs().min() > 0) and bool(made.isfinite().all())
    noises, highest = [], math.inf
    for x, level in watched.shown:
        if level.noise_ratio > highest or not noises:
            noises.append([])
        highest = level.noise_ratio
        if level.noise_ratio > 0.1:  # below, float32 says little of the noise
            noises[-1].append(((x - level.alpha * PICTURES) / level.sigma)[known])
    assert sum(map(len, noises)) >= 3
    for path in noises:  # one noise all the way down
        for n in path:
            torch.testing.assert_close(n, path[0], rtol=0, atol=2e-5)
            assert normal_distance(n) < 1.95 / math.sqrt(len(n))
    paths = [path[0] for path in noises if path]
    for before, after in pairwise(paths):  # and another after each way up
        assert float((before - after).abs().max()) > 0.1


@every_solver
def test_what_is_made_fits_the_known_part_and_better_where_it_is_gone_through_again(solver: str) -> None:
    """Pixels are alike, so what is made must lie near the mean of the known ones.  The square of what it is off, as a share of
    that of pictures made without them: 0.04 to 0.16 in six steps, and 0.016 to 0.06 with two repeats."""
    pictures, known = SMOOTH.sample(60, seed=1).float(), MASK[0, 0] == 0
    options: dict[str, Any] = {"solver": solver, "steps": 6, "seed": 3}

    def off(made: Tensor) -> float:
        return float((made[..., ~known].mean(-1) - pictures[..., known].mean(-1)).square().mean())

    alone = off(sample(SMALL, pictures.shape, **options))
    once, again = (off(inpaint(SMALL, pictures, MASK, repeats=n, **options)) for n in (0, 2))
    assert again < once < 0.22 * alone and again < 0.08 * alone


class Basis:
    """Draws that are rows of a unit matrix: row 0 has none, and each other row one value of one draw."""

    def __init__(self, size: int) -> None:
        self.size, self.places, self.rows = size, dict[Draw, int](), 1

    def __call__(self, place: Draw) -> Tensor:
        n = self.places.setdefault(place, len(self.places))
        made = torch.zeros(self.rows, self.size, dtype=torch.float64)
        if self.rows > 1:
            made[1 + n * self.size : 1 + (n + 1) * self.size] = torch.eye(self.size, dtype=torch.float64)
        return made


def completed_law(
    monkeypatch: pytest.MonkeyPatch, model: Denoise, picture: Tensor, mask: Tensor, **options: Any
) -> tuple[Tensor, Tensor]:
    """Exact mean (d,) and covariance (d, d) of what inpainting makes, where all is linear: Gaussian data."""
    basis = Basis(len(picture))
    monkeypatch.setattr(editing.inpainting, "Keyed", lambda seed, numbers, shape: basis)
    for _ in range(2):  # once to count the draws, once to see what each does
        pictures = picture.expand(basis.rows, -1)
        made = inpaint(model, pictures, mask, noise=basis, dtype=torch.float64, **options)
        basis.rows = 1 + basis.size * len(basis.places)
    effects = made[1:] - made[:1]
    return made[0], effects.T @ effects


def distance(mean: Tensor, covariance: Tensor, true_mean: Tensor, true_covariance: Tensor) -> float:
    """Frechet's distance of two Gaussians, the root of its square."""
    values, axes = torch.linalg.eigh(true_covariance)
    half = axes @ torch.diag(values.sqrt()) @ axes.T
    cross = torch.linalg.eigvalsh(half @ covariance @ half).clamp(min=0).sqrt().sum()
    return (
        float(((mean - true_mean).square().sum() + covariance.trace() + true_covariance.trace() - 2 * cross).clamp(min=0))
        ** 0.5
    )


PRIOR = torch.tensor([[1.0, 0.5, 0.7], [0.5, 0.8, 0.4], [0.7, 0.4, 1.0]], dtype=torch.float64)
TRUE_MEAN = torch.tensor([0.5, 0.7], dtype=torch.float64)  # of the last two, the first being 1
TRUE_COVARIANCE = PRIOR[1:, 1:] - torch.outer(PRIOR[1:, 0], PRIOR[1:, 0])


@pytest.mark.parametrize("solver", ["ddim", "heun", "ddpm", "adams_moulton"])
def test_repaint_s_jumps_bring_the_completed_part_s_law_to_the_true_posterior(
    solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Gaussian([0.0, 0.0, 0.0], PRIOR).denoiser(schedule("flow"))
    picture, mask = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), torch.tensor([[0.0, 1.0, 1.0]])
    off = {}
    for repeats in (0, 2, 10):
        mean, covariance = completed_law(monkeypatch, model, picture, mask, solver=solver, steps=20, repeats=repeats)
        off[repeats] = distance(mean[1:], covariance[1:, 1:], TRUE_MEAN, TRUE_COVARIANCE)
    print(solver, {k: round(v, 3) for k, v in off.items()})
    assert 0.4 < off[0] < 0.65 and off[0] > 1.5 * off[2] and off[2] > off[10] and off[10] < 0.18


def test_with_many_repeats_of_a_good_solver_the_completed_part_is_the_true_posterior_s(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Gaussian([0.0, 0.0, 0.0], PRIOR).denoiser(schedule("flow"))
    picture, mask = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), torch.tensor([[0.0, 1.0, 1.0]])
    mean, covariance = completed_law(monkeypatch, model, picture, mask, solver="heun", steps=20, repeats=30)
    assert distance(mean[1:], covariance[1:, 1:], TRUE_MEAN, TRUE_COVARIANCE) < 0.06


def test_softly_masked_pixels_are_held_down_to_their_share_of_noise() -> None:
    soft = torch.linspace(0.0, 1.0, 16).reshape(1, 1, 4, 4)
    watched = Watched(SMALL)
    options: dict[str, Any] = {"steps": 20, "solver": "ddim", "seed": 4}
    made = inpaint(watched, PICTURES, soft, **options)
    first = watched.shown[0][0]
    for x, level in watched.shown:  # on the flow the noise of the first level is the held one's, and its share is sigma
        held = (soft < level.sigma).expand_as(x) & (soft < 1.0)
        torch.testing.assert_close(x[held], (level.alpha * PICTURES + level.sigma * first)[held], rtol=0, atol=1e-5)
    free = [float((x - level.alpha * PICTURES - level.sigma * first).abs()[..., -1].min()) for x, level in watched.shown]
    assert free[-1] > 0
    change = (made - PICTURES).square().mean((0, 1)).flatten()
    assert float(change[0]) == 0.0 and float(change[1:5].mean()) < float(change[6:10].mean()) < float(change[-4:].mean())


def test_a_picture_is_completed_alike_whatever_its_batch() -> None:
    labels = Condition(label=torch.tensor([0, 1, 1, 0, 1]))
    for solver, repeats in (("ddpm", 0), ("heun", 1)):
        options: dict[str, Any] = {"solver": solver, "repeats": repeats, "jump": 2, "steps": 4, "seed": 8, "condition": labels}
        whole = inpaint(SMALL, PICTURES, MASK, **options)
        for size in (1, 3):
            torch.testing.assert_close(inpaint(SMALL, PICTURES, MASK, batch_size=size, **options), whole, rtol=0, atol=1e-5)
        some = {**options, "condition": labels.rows([3, 1]), "indices": [3, 1]}
        torch.testing.assert_close(inpaint(SMALL, PICTURES[[3, 1]], MASK, **some), whole[[3, 1]], rtol=0, atol=1e-5)
        assert float((inpaint(SMALL, PICTURES, MASK, **{**options, "seed": 9}) - whole).abs().max()) > 0.01


def test_with_less_strength_the_masked_part_keeps_of_what_it_holds() -> None:
    far = [float((inpaint(SMALL, PICTURES, MASK, strength=s, steps=6) - PICTURES).square().sum()) for s in (0.05, 0.4, 1.0)]
    assert far == sorted(far) and far[0] < 0.1 * far[2]


def test_guidance_goes_inside_and_sees_nothing_of_what_is_held() -> None:
    data = Mixture([0.5, 0.5], [[0.8, 0.8], [-0.8, -0.8]], torch.tensor([0.02, 0.02]))
    guided = classifier_free(data.denoiser(schedule("flow")), 2.0)
    pictures, mask = torch.zeros(4, 2), torch.tensor([[0.0, 1.0]])
    made = inpaint(guided, pictures, mask, condition=Condition(label=torch.tensor([0, 0, 1, 1])), steps=8)
    assert made[:, 0].tolist() == [0.0] * 4 and bool((made[:2, 1] > 0.3).all()) and bool((made[2:, 1] < -0.3).all())


def test_beyond_the_edges_a_picture_goes_on_and_itself_stays() -> None:
    large = Gaussian(torch.full((1, 5, 7), 0.2), 0.25 * torch.ones(35, 35) + 0.05 * torch.eye(35)).denoiser(schedule("flow"))
    made = outpaint(large, PICTURES, (2, 1, 0, 1), steps=6)
    assert made.shape == (5, 1, 5, 7) and torch.equal(made[..., :4, 2:6], PICTURES)
    edges = torch.cat([made[..., :2].flatten(1), made[..., 6:].flatten(1), made[..., 4:, :].flatten(1)], 1)
    assert bool((edges.isfinite()).all()) and float(edges.std()) > 0.1
    for pad in ((0, 0, 0, 0), (1, 2, 3), (-1, 2, 0, 0), (1.5, 0, 0, 0)):
        with pytest.raises(ValueError, match="pad is"):
            outpaint(unasked, PICTURES, pad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "mask, what",
    [
        (torch.zeros(1, 1, 4, 5), "its shape is"),
        (torch.zeros(4, 4), "its shape is"),
        (torch.zeros(2, 1, 4, 4), "its shape is"),
        (torch.zeros(1, 1, 1, 4), "its shape is"),
        (torch.zeros(1, 1, 4, 4), "0 everywhere"),
        (torch.ones(1, 1, 4, 4), "1 everywhere"),
        (MASK * 1.5, r"in \[0, 1\]"),
        (MASK - 0.5, r"in \[0, 1\]"),
        (torch.where(MASK > 0, math.nan, MASK), "NaN"),
    ],
)
def test_a_mask_that_fits_no_picture_is_refused(mask: Tensor, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        inpaint(unasked, PICTURES, mask, schedule=schedule("flow"))


def test_what_can_not_be_inpainted_with_is_refused() -> None:
    with pytest.raises(TypeError, match="outermost"):
        inpaint(lambda x, level, condition=None: Moved(x, x), PICTURES, MASK, schedule=schedule("flow"))
    with pytest.raises(ValueError, match="repeats is a whole number"):
        inpaint(unasked, PICTURES, MASK, repeats=-1)
    with pytest.raises(ValueError, match="jump is a whole number"):
        inpaint(unasked, PICTURES, MASK, repeats=1, jump=0)
    with pytest.raises(ValueError, match="held_mask"):
        inpaint(unasked, PICTURES, MASK, condition=Condition(held_mask=torch.zeros(5)), schedule=schedule("flow"))


def test_jumps_keep_the_law_of_a_state_and_make_the_calls_they_say() -> None:
    path = schedule("flow")
    plain, jumped = (design(path, solver=s, steps=6) for s in ("ddim", jumping("ddim", repeats=2, jump=3)))
    assert sum(node.evaluate for node in jumped) == 3 * sum(node.evaluate for node in plain)
    up = [n for n in range(1, len(jumped)) if jumped[n].level.noise_ratio > jumped[n - 1].level.noise_ratio]
    assert len(up) == 4
    for n in up:  # N(alpha m, alpha^2 v + sigma^2) of the lower level goes to that of the upper one
        s, t = jumped[n - 1].level, jumped[n].level
        scale, (added,) = jumped[n].states.get(n - 1, 0.0), jumped[n].draws.values()
        assert scale * s.alpha == pytest.approx(t.alpha, abs=1e-12)
        assert math.hypot(scale * s.sigma, added) == pytest.approx(t.sigma, abs=1e-12)
