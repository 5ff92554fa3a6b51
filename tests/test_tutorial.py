"""The tutorial: every listing runs as it stands, prints what the page says it prints, and draws the page's pictures."""

from __future__ import annotations

import contextlib
import io
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import noisepath
from noisepath import DiffusionConfig, NoiseScheduler, get_timestep_embedding

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "tutorial" / "noise.md").read_text(encoding="utf-8")
LISTINGS = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", PAGE, re.DOTALL)
"""Each listing, and what stands below it as its output; "" for none."""
# The same loop for a second in place of minutes.
SHORTER = {
    "steps, rate = 2000, 2e-3": "steps, rate = 2, 2e-3",
    "channels=(48, 96), classes=10": "channels=(8,), attention=(), classes=10",
    "reversed(range(scheduler.num_timesteps))": "reversed(range(3))",
    "condition=noisepath.Condition(label=label), steps=20": "condition=noisepath.Condition(label=label), steps=2",
}
NUMBER = re.compile(r"-?\d+\.\d+|-?\d+")


def _same(printed: str, promised: str) -> bool:
    """The same words, and numbers that differ by no more than one in their last digit: draws are rounded, and roundings tip."""
    if NUMBER.sub("#", printed) != NUMBER.sub("#", promised):
        return False
    for one, two in zip(NUMBER.findall(printed), NUMBER.findall(promised), strict=True):
        digits = len(two.partition(".")[2])
        if abs(float(one) - float(two)) > (1.01 * 10.0**-digits if digits else 0.0):
            return False
    return True


def test_every_listing_prints_and_draws_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session: dict[str, Any] = {}
    for code, promised in LISTINGS:
        for long, short in SHORTER.items():
            code = code.replace(long, short)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(code, "noise.md", "exec"), session)
        printed = out.getvalue() if "optimizer" not in code else ""  # losses of a loop of another length
        assert _same(printed, promised), f"prints\n{printed}\nin place of\n{promised}"
    named = re.findall(r"\]\(\.\./images/([\w-]+\.png)\)", PAGE)
    assert named == re.findall(r'"([\w-]+\.png)"', "".join(code for code, _ in LISTINGS)) and len(named) == 3
    for name in named:
        drawn, shown = Image.open(tmp_path / name), Image.open(DOCS / "images" / name)
        assert drawn.size == shown.size and drawn.mode == shown.mode, name


def test_a_listing_whose_output_is_another_is_found_out() -> None:
    assert _same("t = 3: 0.12", "t = 3: 0.13") and not _same("t = 3: 0.12", "t = 3: 0.14")
    assert not _same("t = 3: 0.12", "t = 4: 0.12") and not _same("t = 3", "s = 3") and not _same("0.12", "")


def test_what_is_shortened_is_still_on_the_page_and_the_loop_has_forty_lines() -> None:
    for long in SHORTER:
        assert PAGE.count(long) == 1, long
    (loop,) = [code for code, _ in LISTINGS if "optimizer" in code]
    assert len(loop.splitlines()) <= 40 and all(name in loop for name in ("NoiseScheduler()", "UNet(", "add_noise", ".step("))


def test_every_link_of_the_page_leads_to_a_file_or_a_heading() -> None:
    headings = {"-".join(re.findall(r"\w+", line.lower())) for line in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, heading = target.partition("#")
        assert (DOCS / "tutorial" / file).exists(), target
        assert not heading or heading in headings, target


def test_the_readme_links_the_tutorial_first() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"(?<!!)\[[^\]]*\]\(([^)]+)\)", readme)[0] == "docs/tutorial/noise.md"


# ------------------------------------------------------------------------------------------ what a tutorial's reader types


def test_the_configuration_has_the_papers_numbers() -> None:
    config = DiffusionConfig()
    assert (config.num_timesteps, config.beta_start, config.beta_end, config.schedule) == (1000, 1e-4, 0.02, "linear")


@pytest.mark.parametrize("schedule", ["linear", "cosine", "quadratic"])
def test_tables_are_what_follows_from_the_betas(schedule: str) -> None:
    s = NoiseScheduler(DiffusionConfig(schedule=schedule))
    torch.testing.assert_close(s.alphas, 1 - s.betas, rtol=0, atol=1e-15)
    torch.testing.assert_close(s.alphas_cumprod, torch.cumprod(s.alphas, 0), rtol=1e-11, atol=0)
    torch.testing.assert_close(s.sqrt_alphas_cumprod**2, s.alphas_cumprod, rtol=1e-14, atol=0)
    torch.testing.assert_close(s.sqrt_one_minus_alphas_cumprod**2, 1 - s.alphas_cumprod, rtol=1e-11, atol=0)
    assert (s.alphas_cumprod.diff() < 0).all() and len(s.betas) == 1000


def test_a_jump_by_the_tables_is_the_schedulers() -> None:
    s, x = NoiseScheduler(), torch.ones(2, 3, 4, 4)
    noisy, noise = s.add_noise(x, 990)
    jump = math.sqrt(s.alphas_cumprod[990]) * x + math.sqrt(1 - s.alphas_cumprod[990]) * noise
    torch.testing.assert_close(noisy, jump, rtol=0, atol=1e-6)


@pytest.mark.parametrize("step", [999, 500, 1, 0])
def test_a_reverse_step_by_the_tables_is_the_schedulers(step: int) -> None:
    s = NoiseScheduler()
    x_t, predicted, fresh = torch.randn(3, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean = (x_t - s.betas[step] / s.sqrt_one_minus_alphas_cumprod[step] * predicted) / s.alphas[step].sqrt()
    wanted = mean + (step > 0) * s.betas[step].sqrt() * fresh
    torch.testing.assert_close(s.step(x_t, predicted, step, noise=fresh), wanted, rtol=1e-10, atol=1e-12)


def test_the_reverse_process_by_hand_ends_at_the_data_it_was_made_for() -> None:
    scheduler, count = NoiseScheduler(num_timesteps=250, beta_start=4e-4, beta_end=0.08), 8000
    mean, variance = torch.tensor([0.5, -0.5]), torch.tensor([0.04, 0.09])
    truth = noisepath.exact.Gaussian(mean.tolist(), variance.tolist()).denoiser()
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(count, 2, generator=generator)
    for t in reversed(range(250)):
        level = scheduler.schedule.level(t)
        predicted = (state - level.alpha * truth(state, level)) / level.sigma
        state = scheduler.step(state, predicted, t, generator)
    assert ((state.mean(0) - mean).abs() < 4.5 * (variance / count).sqrt()).all()
    # the variance's standard error is sqrt(2 / n); 250 steps are off by 1 % themselves
    assert ((state.var(0) / variance - 1).abs() < 4.5 * (2 / count) ** 0.5 + 0.03).all(), state.var(0)


def test_sines_come_first_then_cosines() -> None:
    embedding = get_timestep_embedding([0, 100, 500, 999], 128)
    assert torch.equal(embedding[0], torch.cat([torch.zeros(64), torch.ones(64)]))
    assert math.isclose(float(embedding[1, 5]), math.sin(100 * math.exp(-math.log(10000.0) * 5 / 63)), abs_tol=1e-6)
