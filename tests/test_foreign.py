"""Tiny diffusers networks with random weights: the same pictures here as by diffusers' own schedulers."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from noisepath import Condition, Denoiser, classifier_free, load, sample, schedule
from noisepath.cli import main
from noisepath.foreign import Wrapped
from noisepath.foreign_schedulers import parts_of_diffusers
from noisepath.guidance import clip
from noisepath.levels import Level
from noisepath.schedules import Shifted
from noisepath.solvers import ddim
from noisepath.spacing import leading, sgm_uniform, trailing

diffusers = pytest.importorskip("diffusers")
STEPS = 6
START_X = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def network(classes: int | None = None, out: int = 2) -> Any:
    torch.manual_seed(3)
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=2, out_channels=out, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), num_class_embeds=classes,
    ).eval()  # fmt: skip


def theirs(net: Any, scheduler: Any, x: Tensor, **condition: Tensor) -> Tensor:
    for t in scheduler.timesteps:
        told = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        with torch.no_grad():
            x = scheduler.step(net(told, t, **condition).sample, t, x).prev_sample
    return x


def ours(denoiser: Denoiser, levels: list[Level], **options: Any) -> Tensor:
    return sample(denoiser, tuple(START_X.shape), solver=ddim, levels=levels, noise=lambda place: START_X, **options)


def agree(got: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert float((got - expected).abs().max() / expected.abs().max()) < tolerance


@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction", "sample"])
def test_ddim_with_a_table(kind: str, predicts: str) -> None:
    net = network()
    scheduler = diffusers.DDIMScheduler(beta_schedule=kind, prediction_type=predicts, clip_sample=False)
    scheduler.set_timesteps(STEPS)
    denoiser = Denoiser.from_diffusers(net, scheduler)
    levels = leading(denoiser.schedule, STEPS)
    made = ours(denoiser, levels)
    # as shipped their tables are float32, and the cosine's are wrong in the fourth digit near t = 0 and T
    agree(made, theirs(net, scheduler, START_X * levels[0].sigma), 1e-4 if kind == "squaredcos_cap_v2" else 1e-5)
    scheduler.alphas_cumprod = torch.tensor(denoiser.schedule.config.tables().alphas_cumprod, dtype=torch.float64)
    agree(made, theirs(net, scheduler, START_X * levels[0].sigma))


def test_zero_terminal_snr_with_v_starts_at_pure_noise() -> None:
    net = network()
    scheduler = diffusers.DDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False
    )
    scheduler.set_timesteps(5)  # which divides 1,000: else it recomputes the previous time, and takes another
    denoiser = Denoiser.from_diffusers(net, scheduler.config)
    levels = trailing(denoiser.schedule, 5)
    assert levels[0].is_noise
    agree(ours(denoiser, levels), theirs(net, scheduler, START_X))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching(shift: float) -> None:
    net = network()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(STEPS)
    denoiser = Denoiser.from_diffusers(net, scheduler)
    levels = [Level(1 - float(s), float(s)) for s in scheduler.sigmas]
    agree(ours(denoiser, levels), theirs(net, scheduler, START_X))
    if shift == 3.0:  # the same levels from the shifted schedule
        shifted = [Level(1.0, 0.0) if level.is_data else level for level in sgm_uniform(Shifted(schedule("flow"), 3.0), 4)]
        assert shifted[2].sigma == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))


def test_edm_preconditioning() -> None:
    net = network()
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.01, sigma_max=20.0, sigma_data=0.7)
    scheduler.set_timesteps(STEPS)
    denoiser = Denoiser.from_diffusers(net, scheduler)
    levels = [Level(1.0, float(s)) for s in scheduler.sigmas]
    agree(ours(denoiser, levels), theirs(net, scheduler, START_X * levels[0].sigma))


def test_classes_reach_the_network_and_guidance_works() -> None:
    net = network(classes=5)
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(STEPS)
    denoiser = Denoiser.from_diffusers(net, scheduler, null=Condition(label=torch.tensor([4])))
    levels, asked = leading(denoiser.schedule, STEPS), torch.tensor([0, 1, 2])
    plain = ours(denoiser, levels, condition=Condition(label=asked))
    agree(plain, theirs(net, scheduler, START_X * levels[0].sigma, class_labels=asked))
    guided = sample(
        classifier_free(denoiser, 3.0), tuple(START_X.shape), solver=ddim, levels=levels, noise=lambda place: START_X,
        condition=Condition(label=asked),
    )  # fmt: skip
    assert float((guided - plain).abs().max()) > 1e-3


def test_a_learned_variance_is_cut_off_and_one_warning_says_so() -> None:
    net = network(out=4)
    denoiser = Denoiser.from_diffusers(net, diffusers.DDPMScheduler(variance_type="learned_range"))
    with torch.no_grad():
        answer = net(START_X, torch.full((3,), 10.0)).sample
        with pytest.warns(UserWarning, match="4 channels for 2: the second half, a learned variance, is cut off") as seen:
            for _ in range(3):
                assert torch.equal(denoiser.network(START_X, torch.full((3,), 10.0)), answer[:, :2])
    assert len(seen) == 1


def test_trained_betas_and_other_lengths_are_read() -> None:
    parts = parts_of_diffusers(diffusers.DDPMScheduler(trained_betas=[0.1, 0.2, 0.3]))
    assert parts.schedule.num_timesteps == 3
    assert parts.schedule.level(2.0).alpha ** 2 == pytest.approx(0.9 * 0.8 * 0.7)
    short = parts_of_diffusers({"beta_schedule": "linear", "num_train_timesteps": 10, "beta_start": 0.1, "beta_end": 0.2})
    assert short.schedule.num_timesteps == 10


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"beta_schedule": "spiral"}, "beta_schedule"),
        ({"beta_schedule": "linear", "prediction_type": "magic"}, "prediction_type"),
        ({"num_train_timesteps": 10}, "neither a _class_name nor a beta_schedule"),
        ({"_class_name": "EDMEulerScheduler", "prediction_type": "sample"}, "'sample'"),
    ],
)
def test_a_configuration_that_says_too_little_is_refused(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Denoiser.from_diffusers(lambda x, t: x, config)
    with pytest.raises(TypeError, match="a mapping"):
        parts_of_diffusers(3)


# --- how a network is called ----------------------------------------------------------------------------------------


class Recording(torch.nn.Module):
    """Keeps what it is given, and answers with x."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Any] = {}

    def answer(self, x: Tensor, **given: Any) -> Tensor:
        self.seen = given
        return x


class TextSecond(Recording):
    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor, timestep: Tensor, style: Tensor | None = None,
        added_cond_kwargs: dict[str, Tensor] | None = None, return_dict: bool = True,
    ) -> Tensor:  # fmt: skip
        assert return_dict
        return self.answer(hidden_states, text=encoder_hidden_states, t=timestep, style=style, added=added_cond_kwargs)


LEVEL = Level(0.8, 0.6)
TEXT = torch.ones(3, 2, 4)


def of(net: Any, **options: Any) -> Denoiser:
    return Denoiser.from_diffusers(net, diffusers.DDIMScheduler(clip_sample=False), **options)


def test_parts_of_a_condition_go_to_their_names_and_into_dicts_wherever_they_stand() -> None:
    net = TextSecond()
    parts = {"text": TEXT, "text_embeds": TEXT[:, 0], "added_cond_kwargs.own": TEXT[:, 1]}
    of(net, arguments={"style": 7, "added_cond_kwargs": {"size": 5}})(START_X, LEVEL, Condition(parts))
    assert torch.equal(net.seen["text"], TEXT) and net.seen["style"] == 7
    assert 0 < float(net.seen["t"][0]) < 999 and net.seen["t"].shape == (3,)
    added = net.seen["added"]
    assert added.keys() == {"text_embeds", "own", "size"} and torch.equal(added["text_embeds"], TEXT[:, 0])


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (None, r"TextSecond needs text \(encoder_hidden_states\): give condition=Condition\(text=...\)"),
        ({"style": TEXT}, r"TextSecond needs text \(encoder_hidden_states\)"),
        (
            {"text": TEXT, "stile": TEXT},
            r"for TextSecond: 'stile'; did you mean 'style'.*there are: text \(encoder_hidden_states\)",
        ),
        ({"text": TEXT, "label": TEXT}, "for TextSecond: 'label'"),
        ({"text": TEXT, "cross.scale": TEXT}, "for TextSecond: 'cross.scale'"),
        ({"text": TEXT, "return_dict": TEXT}, "for TextSecond: 'return_dict'"),
    ],
)
def test_what_a_network_does_not_take_or_lacks_is_refused_before_it_is_called(
    condition: dict[str, Tensor] | None, says: str
) -> None:
    net = TextSecond()
    with pytest.raises(ValueError, match=says):
        of(net)(START_X, LEVEL, None if condition is None else Condition(condition))
    assert not net.seen
    with pytest.raises(ValueError, match="for TextSecond: 'stile'"):
        of(net, arguments={"stile": 1})


def test_networks_of_diffusers_name_what_they_lack() -> None:
    with pytest.raises(ValueError, match=r"UNet2DModel needs label \(class_labels\)"):
        of(network(classes=5))(START_X, LEVEL)
    xl = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=2, out_channels=2, layers_per_block=1, block_out_channels=(8,), norm_num_groups=4,
        cross_attention_dim=4, attention_head_dim=4, down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",), addition_embed_type="text_time", addition_time_embed_dim=2,
        projection_class_embeddings_input_dim=16,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"needs added_cond_kwargs.text_embeds: give condition=Condition\(text_embeds=...\)"):
        of(xl)(START_X, LEVEL, Condition(text=TEXT))


def test_a_label_that_no_class_has_is_named() -> None:
    model = of(network(classes=5))
    with pytest.raises(ValueError, match="label 11 is none of the 5 classes of UNet2DModel, 0 to 4"):
        model(START_X, LEVEL, Condition(label=torch.tensor([0, 11, 1])))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, t: x + t.view(-1, 1, 1, 1),
        lambda x, step: x + step.view(-1, 1, 1, 1),
        lambda *both: both[0] + both[1].view(-1, 1, 1, 1),
        lambda x, *, timestep: x + timestep.view(-1, 1, 1, 1),
        lambda x, /, t, **rest: x + t.view(-1, 1, 1, 1),
        lambda x, style=None, t=None: x + t.view(-1, 1, 1, 1),
    ],
)
def test_functions_are_called_with_the_time_wherever_it_stands(function: Any) -> None:
    assert torch.equal(Wrapped(function)(START_X, torch.full((3,), 2.0)), START_X + 2.0)


def test_a_function_may_take_any_part_and_one_without_a_time_is_refused() -> None:
    assert torch.equal(
        Wrapped(lambda x, t, **rest: x * rest["gain"])(START_X, torch.ones(3), gain=torch.tensor(3.0)), 3 * START_X
    )
    for wrong in (lambda x: x, lambda x, encoder_hidden_states: x):
        with pytest.raises(ValueError, match="takes no time"):
            Wrapped(wrong)


def test_a_compiled_network_is_looked_at_within() -> None:
    class Compiled(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self._orig_mod = inner

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self._orig_mod(*args, **kwargs)

    net = TextSecond()
    of(Compiled(net))(START_X, LEVEL, Condition(text=TEXT))
    assert torch.equal(net.seen["text"], TEXT)
    with pytest.raises(ValueError, match="TextSecond needs text"):
        of(Compiled(net))(START_X, LEVEL)


def test_networks_that_look_their_times_up_are_given_whole_ones() -> None:
    net = diffusers.UNet2DModel(
        sample_size=8, in_channels=2, out_channels=2, layers_per_block=1, block_out_channels=(8,), norm_num_groups=4,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), time_embedding_type="learned",
        num_train_timesteps=1000,
    ).eval()  # fmt: skip
    denoiser = of(net)
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(5)
    levels = leading(denoiser.schedule, 5)
    agree(ours(denoiser, levels), theirs(net, scheduler, START_X * levels[0].sigma))
    with pytest.raises(ValueError, match="whole times alone, but is asked at t = 400.5"):
        denoiser(START_X, denoiser.schedule.level(400.5))


def test_a_class_whose_pipeline_is_not_known_is_warned_of_on_a_straight_path_alone() -> None:
    strange = type("StrangeTransformer2DModel", (Recording,), {"forward": lambda self, x, t: x})
    strange.__module__ = "diffusers.models.strange"
    flow = diffusers.FlowMatchEulerDiscreteScheduler()
    with pytest.warns(UserWarning, match="how its pipeline gives StrangeTransformer2DModel the time is not known"):
        Denoiser.from_diffusers(strange(), flow)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of(strange())
        Denoiser.from_diffusers(network(), flow)
        Denoiser.from_diffusers(lambda x, t: x, flow)


def test_networks_that_take_lists_are_refused() -> None:
    class Lists(torch.nn.Module):
        def forward(self, x: list[Tensor], t: Tensor) -> list[Tensor]:
            return x

    with pytest.raises(ValueError, match="Lists takes a list of images, not a batch"):
        of(Lists())


def test_the_wrong_thing_in_the_place_of_a_network_is_one_clear_line() -> None:
    class Pipeline:
        scheduler, unet, components = diffusers.DDIMScheduler(), network(), ("unet",)

        def __call__(self) -> None:
            raise AssertionError

    for wrong, says in (
        ("models/sd", "load it with diffusers: UNet2DModel.from_pretrained"),
        (Path("models/sd"), "load it with diffusers"),
        (Pipeline(), r"from_diffusers\(pipe.unet, pipe.scheduler\)"),
        (diffusers.UNet2DModel, r"UNet2DModel.from_pretrained\(folder\)"),
        (diffusers.DDIMScheduler(), "but got DDIMScheduler"),
    ):
        with pytest.raises(TypeError, match=says):
            of(wrong)


def test_half_precision_float64_and_the_meta_device() -> None:
    model = of(network())
    assert model(START_X.double().float(), LEVEL).dtype == torch.float32
    half = of(network().to(torch.bfloat16))
    assert half(START_X, LEVEL).dtype == torch.float32
    with pytest.raises(ValueError, match="on the meta device"):
        of(network().to("meta"))(START_X, LEVEL)


# --- guidance, and folders of diffusers ----------------------------------------------------------------------------


def test_a_null_is_a_condition_or_the_class_that_says_nothing() -> None:
    net = network(classes=11)
    by_number, by_name = of(net, null=10), of(net, null=Condition(label=torch.tensor([10])))
    assert by_number.null is not None and by_name.null is not None
    assert torch.equal(by_number.null["label"], by_name.null["label"])
    guided = classifier_free(by_number, 2.0)(START_X, LEVEL, Condition(label=torch.tensor([1, 2, 3])))
    assert isinstance(guided, Tensor)


def test_guidance_without_a_null_says_that_none_was_given() -> None:
    with pytest.raises(ValueError, match="no null= was given"):
        classifier_free(of(network(classes=5)), 2.0)
    with pytest.raises(ValueError, match="no null= was given"):
        classifier_free(clip(of(network(classes=5))), 2.0)


def test_folders_of_diffusers_are_refused_with_the_lines_that_sample_from_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network().save_pretrained(tmp_path / "unet")
    (tmp_path / "pipe").mkdir()
    index = {"_class_name": "DDPMPipeline", "_diffusers_version": "0.42.1", "unet": ["diffusers", "UNet2DModel"]}
    (tmp_path / "pipe" / "model_index.json").write_text(json.dumps(index))
    for folder, says in (
        ("unet", r"net = diffusers.UNet2DModel.from_pretrained\(folder\); .*from_diffusers\(net, scheduler\)"),
        ("pipe", r"from_diffusers\(pipe.unet, pipe.scheduler\)"),
    ):
        with pytest.raises(ValueError, match=says):
            load(tmp_path / folder)
        assert main(["sample", str(tmp_path / folder), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "in Python" in error
    assert not (tmp_path / "out").exists()


def test_any_module_can_be_wrapped() -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, time: Tensor, picture: Tensor) -> dict[str, Tensor]:
            return {"noise": self.gain * picture + time[:, None, None, None]}

    odd = Odd()
    wrapped = Wrapped(odd, lambda module, x, t: module(t, x)["noise"], time=lambda t: t * 0.5)
    assert torch.equal(wrapped(START_X, torch.full((3,), 4.0)), 2 * START_X + 2.0)
    assert next(wrapped.parameters()) is odd.gain
    assert list(Wrapped(math.hypot).parameters()) == []
    assert torch.equal(Wrapped(lambda x, t: (x, "more"))(START_X, torch.zeros(3)), START_X)
