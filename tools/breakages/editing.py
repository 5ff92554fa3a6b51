"""Breakages of editing: begun midway, inpainting, inversion."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage(
        "edit: held pixels are what the model made of them",
        "cli/edit.py",
        "(work.masks[i] == 0.0)[..., None], own, new",
        "(work.masks[i] == 2.0)[..., None], own, new",
        ("edit_command",),
    ),
    Breakage(
        "edit: a picture is turned and its EXIF still says so",
        "cli/canvas.py",
        "upright = ImageOps.exif_transpose(image)",
        "upright = image.copy()",
        ("edit_command",),
    ),
    Breakage(
        "edit: strength is a share of the schedule's own time",
        "cli/edit.py",
        "share = strength * noisiest.sigma / (noisiest.alpha + noisiest.sigma)",
        "share = strength",
        ("edit_command",),
    ),
    Breakage(
        "edit: the other end of a way is the picture itself",
        "cli/edit.py",
        "for ends in (pictures, target)]",
        "for ends in (pictures, pictures)]",
        ("edit_command",),
    ),
    Breakage(
        "at full strength a picture's last trace stays",
        "editing/midway.py",
        "return is_number(strength) and not isinstance(strength, bool) and strength == 1.0",
        "return False",
        ("editing",),
    ),
    Breakage(
        "variations of neighbours share their noise",
        "editing/midway.py",
        "[number + k * _APART for number in numbers",
        "[number + k for number in numbers",
        ("editing",),
    ),
    Breakage(
        "between two noises the way is straight",
        "editing/midway.py",
        "straight = angle < 1e-6",
        "straight = angle < 10.0",
        ("editing",),
    ),
    Breakage(
        "the known part is shown without its noise",
        "editing/inpainting.py",
        "torch.where(known, level.alpha * pictures + level.sigma * noise, x)",
        "torch.where(known, level.alpha * pictures, x)",
        ("editing",),
    ),
    Breakage(
        "the known part's belief is the network's",
        "editing/inpainting.py",
        "return Moved(x, torch.where(known, pictures, belief))",
        "return Moved(x, belief)",
        ("editing",),
    ),
    Breakage(
        "a soft mask is turned round",
        "editing/inpainting.py",
        "(mask < level.sigma / (level.alpha + level.sigma))",
        "(1.0 - mask < level.sigma / (level.alpha + level.sigma))",
        ("editing",),
    ),
    Breakage(
        "the known part's noise is one for the batch's places, not the pictures'",
        "editing/inpainting.py",
        "Keyed(self._seed, numbers.tolist(), like.shape[1:])",
        "Keyed(self._seed, range(len(numbers)), like.shape[1:])",
        ("editing",),
    ),
    Breakage(
        "the known part keeps its noise where the run goes up",
        "editing/inpainting.py",
        "self._rises, self._noise = self._rises + 1, None",
        "self._rises = self._rises + 1",
        ("editing",),
    ),
    Breakage(
        "a jump adds noise as if there were none",
        "editing/inpainting.py",
        "added = math.sqrt(t.sigma**2 - (scale * s.sigma) ** 2)",
        "added = t.sigma",
        ("editing",),
    ),
    Breakage(
        "a picture with the run's last noise is taken for a clean one",
        "editing/inversion.py",
        "_noised(pictures, path, seed), going[:-1]",
        "_noised(pictures, path, seed), going",
        ("inversion",),
    ),
    Breakage(
        "every picture is inverted with picture 0's noise",
        "editing/inversion.py",
        'z = noise.normal(noise.key(seed, "inversion"), range(len(pictures)), pictures.shape[1:])',
        'z = noise.normal(noise.key(seed, "inversion"), [0] * len(pictures), pictures.shape[1:])',
        ("inversion",),
    ),
    Breakage(
        "inversion goes away from the answer",
        "editing/inversion.py",
        "missing = target - run_loop(step.down, run, x)",
        "missing = run_loop(step.down, run, x) - target",
        ("inversion",),
    ),
    Breakage(
        "Anderson's combination has the wrong sign",
        "editing/inversion.py",
        "return plain - back.reshape(x.shape)",
        "return plain + back.reshape(x.shape)",
        ("inversion",),
    ),
    Breakage(
        "a step is undone with gamma in place of its inverse",
        "editing/reversible.py",
        "_table(path[::-1], 1.0 / gamma, _SECOND)",
        "_table(path[::-1], gamma, _SECOND)",
        ("inversion",),
    ),
    Breakage(
        "the step back is forgotten",
        "editing/reversible.py",
        "on[1] - share * back[1]",
        "on[1]",
        ("inversion",),
    ),
    Breakage(
        "edit: a place that can't be written to is found after the work",
        "cli/edit.py",
        "check_folder(command.out)",
        "str(command.out)",
        ("hostile_asking",),
    ),
    Breakage(
        "half an iteration is found after the first step",
        "editing/reversible.py",
        "check_iterations(iterations)",
        "int(iterations)",
        ("hostile_asking",),
    ),
)
