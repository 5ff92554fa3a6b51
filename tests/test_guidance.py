"""Guidance against the exact beliefs of a mixture whose components are the classes."""

import pytest
import torch
from torch import Tensor

from noisepath.denoiser import Condition, Denoiser, Moved, begin
from noisepath.exact import Gaussian, Mixture
from noisepath.guidance import GUIDANCES, classifier_free, clip
from noisepath.levels import Level
from noisepath.schedules import EDM

DATA = Mixture([0.5, 0.2, 0.3], [[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]], torch.tensor([0.05, 0.1, 0.2]))
LEVELS = [Level(0.0, 1.0), Level(0.3, 0.9), Level(1.0, 0.2), Level(1.0, 0.0)]
LABEL = Condition(label=torch.tensor([0, 1, 2, 1, 3]))
X = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("level", LEVELS, ids=str)
@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.5, 3.0])
def test_guidance_mixes_the_conditional_and_the_unconditional_belief(scale: float, level: Level) -> None:
    guided = classifier_free(DATA.denoiser(), scale)(X, level, LABEL)
    if level.is_data:
        expected = X / level.alpha
    else:
        told = torch.stack(
            [
                DATA.belief(x[None], level)[0]
                if k == 3
                else Gaussian(DATA.means[k], DATA.variances[k]).belief(x[None], level)[0]
                for x, k in zip(X, LABEL["label"].tolist(), strict=True)
            ]
        )
        expected = (1 - scale) * DATA.belief(X, level) + scale * told
    torch.testing.assert_close(guided, expected, rtol=1e-12, atol=1e-12)


def test_scale_one_is_no_guidance_at_all() -> None:
    denoiser = DATA.denoiser()
    assert classifier_free(denoiser, 1) is denoiser and classifier_free(denoiser, 1.0) is denoiser


def test_both_beliefs_come_from_one_call_of_the_network() -> None:
    calls: list[int] = []

    def network(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        calls.append(len(x))
        return x * label[:, None]

    model = Denoiser(network, EDM(), "x0", null=Condition(label=torch.tensor([10])))
    out = classifier_free(model, 2.0)(torch.ones(2, 1), Level(1.0, 1.0), Condition(label=torch.tensor([1, 2])))
    assert calls == [4] and out.tolist() == [[-8.0], [-6.0]]  # 10 + 2 (1 - 10), 10 + 2 (2 - 10)


def test_what_cannot_be_guided_is_refused() -> None:
    with pytest.raises(ValueError, match="no null condition"):
        classifier_free(lambda x, level, condition=None: x, 2.0)
    with pytest.raises(ValueError, match="finite number"):
        classifier_free(DATA.denoiser(), float("nan"))
    with pytest.raises(ValueError, match="needs a condition"):
        classifier_free(DATA.denoiser(), 2.0)(X, LEVELS[1])
    with pytest.raises(ValueError, match="low < high"):
        clip(DATA.denoiser(), 1.0, -1.0)


def test_clipping_holds_the_belief_and_nothing_else() -> None:
    clipped = clip(DATA.denoiser(), -0.25, 0.5)(X, LEVELS[2])
    torch.testing.assert_close(clipped, DATA.belief(X, LEVELS[2]).clamp(-0.25, 0.5))
    assert clipped.min() == -0.25 and clipped.max() == 0.5


@pytest.mark.parametrize("make", [lambda d: clip(d), lambda d: classifier_free(d, 2.0)])
def test_transformers_nest_pass_on_what_is_inside_and_start_each_run_afresh(make) -> None:  # type: ignore[no-untyped-def]
    begun: list[list[Level]] = []

    class Inner:
        schedule = EDM()
        null = Condition(label=torch.tensor([3]))

        def begin(self, levels: list[Level]):  # type: ignore[no-untyped-def]
            begun.append(levels)
            return DATA.denoiser()

        def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            return x

    outer = clip(make(Inner()), -5.0, 5.0)
    assert outer.schedule == EDM() and outer.null is Inner.null  # type: ignore[attr-defined]
    assert not hasattr(outer, "nonsense")
    begin(outer, LEVELS)
    assert begun == [LEVELS]
    torch.testing.assert_close(outer(X, LEVELS[1], LABEL), make(DATA.denoiser())(X, LEVELS[1], LABEL))


@pytest.mark.parametrize("name", GUIDANCES)
def test_a_denoiser_that_moves_the_state_must_be_outermost(name: str) -> None:
    class Mover:
        null = Condition(label=torch.tensor([0]))

        def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Moved:
            return Moved(x, x)

    outer = classifier_free(Mover(), 2.0) if name == "classifier_free" else GUIDANCES[name](Mover())
    with pytest.raises(TypeError, match="outermost"):
        outer(X, LEVELS[1], LABEL)
