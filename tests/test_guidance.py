"""Guidance against its papers' formulas, written out on the exact beliefs of a mixture whose components are the classes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from guided import (
    DATA,
    EXAMPLES,
    LABEL,
    LEVELS,
    NOISY,
    OTHER,
    SCALES,
    SHAPE,
    WIDE,
    X,
    asks,
    believed,
    beside,
    both,
    nearness,
    same,
)
from noisepath.data_stats import DataStats
from noisepath.denoiser import Condition, Denoise, Denoiser, Moved, begin, rows_of
from noisepath.exact import Gaussian
from noisepath.guidance import (
    GUIDANCES,
    apg,
    autoguidance,
    cfg_plus_plus,
    cfg_zero_star,
    classifier,
    classifier_free,
    clip,
    composed,
    dynamic_threshold,
)
from noisepath.levels import Level
from noisepath.sampling import sample
from noisepath.schedules import EDM, schedule

TWO_WAYS = pytest.mark.parametrize("together", [True, False], ids=["one call", "two calls"])


# Classifier-free -----------------------------------------------------------------------------------------------------


@TWO_WAYS
@pytest.mark.parametrize("level", LEVELS, ids=str)
@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.5, 3.0])
def test_guidance_mixes_the_conditional_and_the_unconditional_belief(scale: float, level: Level, together: bool) -> None:
    told, untold = both(level)
    expected = (1 - scale) * untold + scale * told
    same(classifier_free(DATA.denoiser(), scale, together=together)(X, level, LABEL), expected)
    anyone = Condition(label=torch.tensor([3, 3, 3, 3, 3]))
    same(classifier_free(DATA.denoiser(), scale, together=together)(X, level, anyone), untold)


@pytest.mark.parametrize("level", NOISY, ids=str)
def test_a_scale_may_differ_from_picture_to_picture_and_from_level_to_level(level: Level) -> None:
    told, untold = both(level)
    same(classifier_free(DATA.denoiser(), SCALES)(X, level, LABEL), untold + beside(SCALES) * (told - untold))
    by_level = classifier_free(DATA.denoiser(), lambda level: 1.0 + 2.0 * level.sigma)
    same(by_level(X, level, LABEL), untold + (1 + 2 * level.sigma) * (told - untold))
    by_both = classifier_free(DATA.denoiser(), lambda level: SCALES * level.sigma)
    same(by_both(X, level, LABEL), untold + level.sigma * beside(SCALES) * (told - untold))
    for one in (torch.tensor(3.0), torch.tensor([3.0]), lambda level: torch.tensor(3.0)):
        same(classifier_free(DATA.denoiser(), one)(X, level, LABEL), untold + 3 * (told - untold))


@TWO_WAYS
def test_a_negative_condition_takes_the_place_of_the_null(together: bool) -> None:
    level = NOISY[1]
    told, away = both(level)[0], believed(X, level, OTHER["label"])
    same(classifier_free(DATA.denoiser(), 3.0, negative=OTHER, together=together)(X, level, LABEL), away + 3 * (told - away))
    for_all = believed(X, level, torch.tensor([2] * 5))
    guided = classifier_free(DATA.denoiser(), 3.0, negative=Condition(label=torch.tensor([2])), together=together)
    same(guided(X, level, LABEL), for_all + 3 * (told - for_all))


def counted(path: str = "edm") -> tuple[Denoiser, list[int]]:
    calls: list[int] = []

    def network(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        calls.append(len(x))
        return x * label[:, None]

    return Denoiser(network, schedule(path), "x0", null=Condition(label=torch.tensor([10]))), calls


def test_both_beliefs_come_from_one_call_of_the_network_or_from_two() -> None:
    model, calls = counted()
    asked = torch.ones(2, 1), Level(1.0, 1.0), Condition(label=torch.tensor([1, 2]))
    assert classifier_free(model, 2.0)(*asked).tolist() == [[-8.0], [-6.0]]  # 10 + 2 (1 - 10), 10 + 2 (2 - 10)
    assert calls == [4]
    assert classifier_free(model, 2.0, together=False)(*asked).tolist() == [[-8.0], [-6.0]]
    assert calls == [4, 2, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda d, interval: classifier_free(d, 3.0, interval=interval),
        lambda d, interval: cfg_zero_star(d, 3.0, interval=interval),
        lambda d, interval: apg(d, 3.0, interval=interval),
        lambda d, interval: autoguidance(d, d, 3.0, interval=interval),
    ],
)
def test_outside_of_the_interval_there_is_no_guidance_and_one_evaluation(
    make: Callable[[Denoise, tuple[float, float]], Denoise]
) -> None:
    model, calls = counted()
    guided = make(model, (0.5, 2.0))
    for ratio, guides in [(4.0, False), (2.0, True), (1.0, True), (0.5, False), (0.1, False)]:
        del calls[:]
        out = guided(torch.ones(2, 1), Level(0.5, 0.5 * ratio), Condition(label=torch.tensor([1, 2])))
        assert isinstance(out, Tensor)
        assert sum(calls) == (4 if guides else 2), ratio
        if not guides:
            assert out.tolist() == [[2.0], [4.0]]  # x / alpha is 2


@pytest.mark.parametrize("level", NOISY, ids=str)
@pytest.mark.parametrize("phi", [0.3, 1.0])
def test_rescaling_brings_back_each_pictures_own_standard_deviation(level: Level, phi: float) -> None:
    told, untold = both(level)
    guided = untold + 4 * (told - untold)
    expected = torch.stack(
        [phi * g * (t.std() / g.std()) + (1 - phi) * g for g, t in zip(guided, told, strict=True)]  # eq. 15, 16
    )
    same(classifier_free(DATA.denoiser(), 4.0, rescale=phi)(X, level, LABEL), expected)


# Composition ---------------------------------------------------------------------------------------------------------


@TWO_WAYS
@pytest.mark.parametrize("level", NOISY, ids=str)
def test_a_composition_adds_what_each_condition_changes(level: Level, together: bool) -> None:
    one, untold = both(level)
    other = believed(X, level, OTHER["label"])
    for scales in ((2.0, -0.7), (SCALES, 1.5), (lambda level: level.sigma, SCALES)):
        numbers = [
            beside(s) if isinstance(s, Tensor) else s(level) if callable(s) else s for s in scales
        ]
        expected = untold + numbers[0] * (one - untold) + numbers[1] * (other - untold)
        pairs = list(zip((LABEL, OTHER), scales, strict=True))
        same(composed(DATA.denoiser(), pairs, together=together)(X, level), expected)


def test_a_composition_of_one_is_classifier_free() -> None:
    for scale in (1.0, 2.5):
        told, untold = both(NOISY[1])
        same(composed(DATA.denoiser(), [(LABEL, scale)])(X, NOISY[1]), untold + scale * (told - untold))
    negative = believed(X, NOISY[1], OTHER["label"])
    told = both(NOISY[1])[0]
    same(composed(DATA.denoiser(), [(LABEL, 2.0)], negative=OTHER)(X, NOISY[1]), negative + 2 * (told - negative))


# CFG++, CFG-Zero*, APG -----------------------------------------------------------------------------------------------


@TWO_WAYS
@pytest.mark.parametrize("scale", [0.0, 0.6, 1.0])
def test_a_step_of_ddim_under_cfg_plus_plus_takes_its_noise_from_the_unguided_belief(scale: float, together: bool) -> None:
    level, after = Level(0.3, 0.9), Level(0.6, 0.5)
    told, untold = both(level)
    guided = untold + scale * (told - untold)
    expected = after.alpha * guided + after.sigma * (X - level.alpha * untold) / level.sigma  # the paper's step
    moved = cfg_plus_plus(DATA.denoiser(), scale, together=together)(X, level, LABEL)
    assert isinstance(moved, Moved)
    same(after.alpha * moved.output + after.sigma * (moved.x - level.alpha * moved.output) / level.sigma, expected)
    same(moved.output, guided)


@pytest.mark.parametrize("level", NOISY, ids=str)
@pytest.mark.parametrize("scale", [0.0, 2.0, 4.5])
def test_cfg_zero_star_is_its_formula_on_the_velocity_of_a_flow(scale: float, level: Level) -> None:
    # the same log-SNR on the flow alpha = 1 - t, sigma = t, where dx/dt = noise - x_0 = (x - D) / t
    t = level.sigma / (level.alpha + level.sigma)
    x = X / (level.alpha + level.sigma)
    towards, away = ((x - D) / t for D in both(Level(1 - t, t), x))
    expected = []
    for v_c, v_u, at in zip(towards, away, x, strict=True):
        s = (v_c * v_u).sum() / (v_u * v_u).sum()
        expected.append(at - t * (s * v_u + scale * (v_c - s * v_u)))
    same(cfg_zero_star(DATA.denoiser(), scale)(X, level, LABEL), torch.stack(expected))


def test_a_zero_start_holds_the_flow_still_without_asking() -> None:
    model, calls = counted("flow")
    guided = cfg_zero_star(model, 2.0, zero=0.1)
    x, told = torch.ones(2, 1, dtype=torch.float64), Condition(label=torch.tensor([1, 2]))
    for level in (Level(0.0, 1.0), Level(0.05, 0.95), Level(0.2, 3.8)):
        same(guided(x, level, told), x / (level.alpha + level.sigma))  # v = (x_t - D) / t = 0
    assert not calls
    guided(x, Level(0.1, 0.9), told)
    guided(x, Level(0.2, 0.8), told)
    assert calls == [4, 4]
    assert isinstance(cfg_zero_star(model, 1.0, zero=0.5)(x, Level(0.5, 0.5), told), Tensor)
    assert cfg_zero_star(model, 1.0) is model


def apg_by_hand(
    levels: list[Level], scale: float | Tensor, eta: float, momentum: float, norm: float, states: list[Tensor]
) -> list[Tensor]:
    running: list[Tensor | None] = [None] * len(X)
    made = []
    for level, x in zip(levels, states, strict=True):
        told, untold = both(level, x)
        pictures = []
        for i, (c, u) in enumerate(zip(told, untold, strict=True)):
            before = running[i]
            running[i] = average = (c - u) + (0 if before is None else momentum * before)
            d = average * min(1.0, norm / float(average.norm()))
            unit = c / c.norm()
            parallel = (d * unit).sum() * unit
            by = float(scale[i]) if isinstance(scale, Tensor) else scale
            pictures.append(c + (by - 1) * (d - parallel + eta * parallel))
        made.append(torch.stack(pictures))
    return made


@TWO_WAYS
@pytest.mark.parametrize(
    ("eta", "momentum", "norm"), [(0.0, -0.5, 0.6), (0.7, 0.4, math.inf), (0.0, 0.0, 0.3), (1.0, -0.75, 0.8)]
)
def test_apg_is_its_listing_over_a_whole_run(eta: float, momentum: float, norm: float, together: bool) -> None:
    levels, states = NOISY, [X, 0.8 * X + 0.1, 0.5 * X - 0.2]
    guided = apg(DATA.denoiser(), SCALES, eta=eta, momentum=momentum, norm=norm, together=together)
    expected = apg_by_hand(levels, SCALES, eta, momentum, norm, states)
    for _ in range(2):  # each run begins without a memory
        run = begin(guided, levels)
        for level, x, wanted in zip(levels, states, expected, strict=True):
            same(run(x, level, LABEL), wanted)


def test_apg_without_its_parts_is_classifier_free() -> None:
    plain = apg(DATA.denoiser(), 3.5, eta=1.0, momentum=0.0)
    for level in NOISY:
        same(plain(X, level, LABEL), classifier_free(DATA.denoiser(), 3.5)(X, level, LABEL))


def test_two_runs_side_by_side_share_no_memory() -> None:
    guided = apg(DATA.denoiser(), 3.0, norm=1.0)
    first, second = begin(guided, NOISY), begin(guided, NOISY)
    first(X, NOISY[0], LABEL)
    same(second(X, NOISY[1], LABEL), guided(X, NOISY[1], LABEL))


def test_two_calls_are_two_runs_of_a_denoiser_that_remembers() -> None:
    inner = apg(DATA.denoiser(), 3.0, norm=1.0, eta=0.5)
    one, two = (begin(classifier_free(inner, 2.0, negative=OTHER, together=t), NOISY) for t in (True, False))
    for level in NOISY:
        same(two(X, level, LABEL), one(X, level, LABEL))


# What holds for all --------------------------------------------------------------------------------------------------

SCALED: dict[str, Callable[[object], Denoise]] = {
    "classifier_free": lambda s: classifier_free(DATA.denoiser(), s, rescale=0.5),
    "cfg_zero_star": lambda s: cfg_zero_star(DATA.denoiser(), s),
    "apg": lambda s: apg(DATA.denoiser(), s),
    "autoguidance": lambda s: autoguidance(DATA.denoiser(), WIDE.denoiser(), s),
    "classifier": lambda s: classifier(DATA.denoiser(), nearness, s),
    "composed": lambda s: composed(DATA.denoiser(), [(LABEL, s)]),
}


@pytest.mark.parametrize("name", SCALED)
def test_the_scale_of_no_guidance_gives_the_denoisers_own_belief(name: str) -> None:
    one = 0.0 if name == "classifier" else 1.0
    for scale in (one, torch.full((5,), one), lambda level: one, lambda level: torch.full((5,), one)):
        for level in LEVELS:
            same(SCALED[name](scale)(X, level, asks(name)), both(level)[0])
    model = DATA.denoiser()
    if name != "composed":
        assert SCALED[name](one) == SCALED[name](int(one)) == SCALED[name](torch.tensor(one)) == model
    assert classifier_free(model, 1) is model and classifier_free(model, 1.0) is model


@pytest.mark.parametrize("pictures", [1, 5])
@pytest.mark.parametrize("name", [*SCALED, "cfg_plus_plus"])
def test_a_scale_for_each_place_is_each_scale_at_its_places(name: str, pictures: int) -> None:
    def of(scale: object) -> Tensor:
        guide = cfg_plus_plus(DATA.denoiser(), scale) if name == "cfg_plus_plus" else SCALED[name](scale)
        said = guide(X, NOISY[1], asks(name))
        return torch.cat(said) if isinstance(said, Moved) else said

    low, high = 0.25, 0.75
    there = torch.arange(2 * pictures).view(-1, 1, 1, 2) % 3 == 0  # one channel, for both
    where, whole = there.double() * (high - low) + low, there.expand(5, *X.shape[1:])
    if name == "classifier_free":  # its rescaling is by the deviation of a whole picture
        told, untold = both(NOISY[1])
        same(classifier_free(DATA.denoiser(), where)(X, NOISY[1], LABEL), untold + where * (told - untold))
        return
    expected = torch.where(whole if name != "cfg_plus_plus" else torch.cat([whole, whole]), of(high), of(low))
    for scale in (where, lambda level: where):
        same(of(scale), expected)


def test_there_is_an_example_of_every_guidance() -> None:
    assert list(EXAMPLES) == list(GUIDANCES)
    assert all(function.__name__ == name for name, function in GUIDANCES.items())


@pytest.mark.parametrize("name", GUIDANCES)
def test_transformers_nest_pass_on_what_is_inside_and_start_each_run_afresh(name: str) -> None:
    begun: list[list[Level]] = []

    class Inner:
        schedule = EDM()
        null = Condition(label=torch.tensor([3]))

        def begin(self, levels: list[Level]) -> Denoise:
            begun.append(levels)
            return DATA.denoiser()

        def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            return x

    outer = EXAMPLES[name](clip(Inner(), -5.0, 5.0))
    assert outer.schedule == EDM() and outer.null is Inner.null
    assert not hasattr(outer, "nonsense")
    begin(outer, LEVELS)
    assert begun == [LEVELS]
    given, expected = (make(X, LEVELS[1], asks(name)) for make in (outer, EXAMPLES[name](clip(DATA.denoiser(), -5.0, 5.0))))
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize("name", GUIDANCES)
def test_all_that_a_denoiser_has_shows_through_every_guidance(name: str) -> None:
    model = Denoiser(
        lambda x, t: x, EDM(), "edm", sigma_data=0.7, data_stats=DataStats(scale=1.3), null=Condition(label=torch.tensor([3])),
        vocabulary=object(), info={"shape": SHAPE},
    )  # fmt: skip
    model.of_tomorrow = 7  # type: ignore[attr-defined]
    outer = EXAMPLES[name](model)
    assert outer is not model and vars(model).keys() >= {"network", "vocabulary", "data_stats", "info", "null", "schedule"}
    assert outer.data_scale == 1.3
    for attribute, value in vars(model).items():
        if not attribute.startswith("_"):
            assert getattr(outer, attribute) is value, attribute
            assert getattr(clip(outer), attribute) is value, attribute
    assert outer.factors(Level(1.0, 2.0)) == model.factors(Level(1.0, 2.0))
    with pytest.raises(AttributeError, match="nonsense"):
        outer.nonsense  # noqa: B018
    again = copy.copy(outer)  # asks a half-made object for its attributes
    assert again.schedule == EDM() and not hasattr(outer, "__deepcopy__")


@pytest.mark.parametrize("name", GUIDANCES)
def test_a_denoiser_that_moves_the_state_must_be_outermost(name: str) -> None:
    moving = cfg_plus_plus(DATA.denoiser(), 0.5)
    with pytest.raises(TypeError, match="outermost"):
        EXAMPLES[name](moving)(X, LEVELS[1], asks(name))
    if name == "autoguidance":
        with pytest.raises(TypeError, match="outermost"):
            autoguidance(DATA.denoiser(), moving, 2.0)(X, LEVELS[1], LABEL)


@pytest.mark.parametrize("name", GUIDANCES)
@pytest.mark.parametrize("level", NOISY, ids=str)
def test_some_of_the_pictures_are_guided_as_they_are_among_all(name: str, level: Level) -> None:
    outer = EXAMPLES[name](DATA.denoiser())
    whole = outer(X, level, asks(name))
    for rows in (slice(0, 5), slice(1, 3), slice(4, 5)):
        told = asks(name)
        some = rows_of(outer, rows, 5)(X[rows], level, told.rows(rows) if told else None)
        pairs = zip(some, whole, strict=True) if isinstance(some, Moved) else [(some, whole)]
        for given, expected in pairs:
            same(given, expected[rows])


def test_a_guidance_inside_another_one_has_its_scales_for_both_halves() -> None:
    level = NOISY[1]
    inner = autoguidance(DATA.denoiser(), WIDE.denoiser(), SCALES)
    told, untold = (
        (worse := believed(X, level, label, widen=3.0)) + beside(SCALES) * (believed(X, level, label) - worse)
        for label in (LABEL["label"], None)
    )
    same(classifier_free(inner, 2.0)(X, level, LABEL), untold + 2 * (told - untold))
    label = torch.tensor([1, 0, 0, 2, 0])
    twice = classifier_free(classifier_free(DATA.denoiser(), 1.5, negative=OTHER), 2.0, negative=Condition(label=label))
    away, nots = believed(X, level, OTHER["label"]), believed(X, level, label)
    first, second = (away + 1.5 * (D - away) for D in (both(level)[0], nots))
    same(twice(X, level, LABEL), second + 2 * (first - second))


# Errors --------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_guided_is_refused() -> None:
    def nothing(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        return x

    for make in (lambda d: classifier_free(d, 2.0), lambda d: cfg_plus_plus(d, 0.5), lambda d: composed(d, [(LABEL, 2.0)])):
        with pytest.raises(ValueError, match="no null condition.*condition dropout"):
            make(nothing)
    with pytest.raises(ValueError, match="needs a condition"):
        classifier_free(DATA.denoiser(), 2.0)(X, LEVELS[1])
    with pytest.raises(ValueError, match="leave the run's condition out"):
        composed(DATA.denoiser(), [(LABEL, 2.0)])(X, LEVELS[1], LABEL)
    with pytest.raises(ValueError, match="one pair of condition and scale or more"):
        composed(DATA.denoiser(), [])
    one = Gaussian([0.0], [1.0]).denoiser()
    with pytest.raises(ValueError, match="more than one value"):
        classifier_free(one, 2.0, rescale=0.5)(torch.ones(2, 1), LEVELS[1], Condition(label=torch.tensor([0, 0])))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: classifier_free(d, math.nan), "finite number"),
        (lambda d: classifier_free(d, torch.tensor([1.0, math.inf])), "finite number.*inf"),
        (lambda d: classifier_free(d, 2.0, interval=(2.0, 1.0)), r"0 <= low < high, but got \(2.0, 1.0\)"),
        (lambda d: classifier_free(d, 2.0, interval=(-1.0, 1.0)), "0 <= low < high"),
        (lambda d: classifier_free(d, 2.0, interval=(0.0, math.nan)), "0 <= low < high"),
        (lambda d: classifier_free(d, 2.0, rescale=1.5), "rescale must be 0 or more and at most 1, but got 1.5"),
        (lambda d: cfg_plus_plus(d, 1.5), "from 0 to 1, but got 1.5"),
        (lambda d: cfg_plus_plus(d, torch.tensor([0.5, -0.1])), "from 0 to 1, but got -0.1"),
        (lambda d: cfg_zero_star(d, 2.0, zero=-0.1), "zero must be 0 or more and at most 1, but got -0.1"),
        (lambda d: apg(d, 2.0, norm=0.0), "norm must be above 0, but got 0"),
        (lambda d: apg(d, 2.0, momentum=math.inf), "momentum must be a finite number"),
        (lambda d: apg(d, 2.0, eta=math.nan), "eta must be a finite number"),
        (lambda d: clip(d, 1.0, -1.0), "low < high"),
        (lambda d: dynamic_threshold(d, 0.0), "percentile must be above 0 and at most 100, but got 0"),
        (lambda d: dynamic_threshold(d, 101.0), "percentile must be"),
        (lambda d: dynamic_threshold(d, math.nan), "percentile must be"),
        (lambda d: dynamic_threshold(d, 99.0, -1.0), "limit must be above 0"),
        (lambda d: autoguidance(d, d, math.inf), "finite number"),
        (lambda d: classifier(d, nearness, math.nan), "finite number.*0 means no guidance"),
        # these are seen when they are asked
        (lambda d: classifier_free(d, lambda level: math.nan)(X, NOISY[1], LABEL), "finite number"),
        (lambda d: cfg_plus_plus(d, lambda level: 1.5)(X, NOISY[1], LABEL), "from 0 to 1"),
        (lambda d: classifier_free(d, torch.ones(4))(X, NOISY[1], LABEL), "4 guidance scales for 5 pictures"),
        (lambda d: classifier_free(d, torch.ones(5, 1))(X, NOISY[1], LABEL), r"\(B,\), or \(B, .*but have shape \(5, 1\)"),
        (lambda d: composed(d, [(LABEL, torch.ones(1, 9))])(X, NOISY[1]), r"for each place of.*\(1, 9\)"),
        (lambda d: autoguidance(d, d, torch.ones(5, 1, 1, 9))(X, NOISY[1]), r"\(5, 1, 1, 9\)"),
        (lambda d: classifier_free(d, torch.ones(3, 1, 1, 1))(X, NOISY[1], LABEL), "3 guidance scales for 5 pictures"),
        (lambda d: classifier_free(d, 2.0, negative=LABEL.rows([0, 1]))(X, NOISY[1], LABEL), "2 rows for 5 pictures"),
        (lambda d: classifier(d, lambda D: D.sum())(X, NOISY[1]), r"log_p must give a tensor \(5,\).*shape \(\)"),
        (lambda d: classifier(d, lambda D: 1.0)(X, NOISY[1]), "gave float"),
        (lambda d: classifier(d, lambda D: nearness(D.detach()))(X, NOISY[1]), "no gradient"),
    ],
)
def test_options_out_of_their_range_are_refused(make: Callable[[Denoise], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(DATA.denoiser())


@pytest.mark.parametrize("name", GUIDANCES)
def test_gradients_pass_through_a_run_of_every_guidance(name: str) -> None:
    """What a guidance remembers of earlier calls included: along a direction, against central differences.

    Their own error is h^2 f''' / 6 and eps / h, 1e-9 for h = 1e-5; thresholds have kinks, of which none is met here.
    """
    guided = EXAMPLES[name](DATA.denoiser(schedule("vp_linear")))
    options: dict[str, Any] = {"solver": "ddim", "steps": 4, "dtype": torch.float64, "condition": asks(name)}
    way = torch.randn(X.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    leaf, h = X.clone().requires_grad_(), 1e-5

    def end(state: Tensor) -> Tensor:
        return (X * sample(guided, tuple(X.shape), state=state, **options)).sum()

    (slope,) = torch.autograd.grad((X * sample(guided, tuple(X.shape), state=leaf, gradients=True, **options)).sum(), leaf)
    difference = float(end(X + h * way) - end(X - h * way)) / (2 * h)
    assert float((slope * way).sum()) == pytest.approx(difference, rel=1e-5, abs=1e-7)
