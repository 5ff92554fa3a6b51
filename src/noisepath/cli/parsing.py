"""Words of the command line -> a command, or an error in one line with the nearest that would be right."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, cast

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from noisepath import __version__
from noisepath.cli.options import (
    COMMANDS,
    Board,
    Command,
    Compare,
    Data,
    Demo,
    Doctor,
    Edit,
    Evaluate,
    Guidance,
    SaidOfData,
    SaidOfTraining,
    Sample,
    Schedule,
    Solvers,
    Train,
    Tune,
)
from noisepath.data.config import DataConfig
from noisepath.errors import unknown
from noisepath.training.config import TrainConfig
from noisepath.training.record import read_toml

__all__ = ["parse"]

_Parsed = (
    Annotated[Demo, subcommand("demo")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Sample, subcommand("sample")]
    | Annotated[Edit, subcommand("edit")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Guidance, subcommand("guidance")]
    | Annotated[Board, subcommand("board")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Tune, subcommand("tune")]
    | Annotated[Schedule, subcommand("schedule")]
    | Annotated[Solvers, subcommand("solvers")]
    | Annotated[Data, subcommand("data")]
    | Annotated[Doctor, subcommand("doctor")]
)


_ABOUT = "Diffusion and flow models: train them, sample them, see what they do."


def parse(args: Sequence[str]) -> Command:
    """The command that ``args`` ask for; ends the process (SystemExit) after ``--help`` and ``--version``.

    Raises:
        ValueError: words that make no command, in one line with the nearest that would.
    """
    if list(args) == ["--version"]:
        print(f"noisepath {__version__}")
        raise SystemExit(0)
    if args and not args[0].startswith("-") and args[0] not in COMMANDS:
        raise unknown("command", args[0], COMMANDS)
    if not args or args[0].startswith("-"):
        if args and args[0] not in ("-h", "--help"):
            raise unknown("option", args[0], ("--help", "--version"))
        return cast(Command, _read(_Parsed, ["--help"], "noisepath"))
    kind, words = COMMANDS[args[0]], list(args[1:])
    _refuse_unknown(kind, args[0], words)
    _refuse_nothing(kind, words)
    if kind is Train:
        default = _from_file(words)
        return _checked(_read(Train, words, "noisepath train", default), words)
    return cast(Command, _read(kind, words, f"noisepath {args[0]}"))


def _read(kind: Any, words: list[str], prog: str, default: Any = None) -> Any:
    """What tyro makes of the words; what it has against them as a ValueError of one line."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.cli(
                kind,
                args=words,
                prog=prog,
                description=_ABOUT if kind is _Parsed else None,
                config=(OmitArgPrefixes, OmitSubcommandPrefixes),
                **({} if default is None else {"default": default}),
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(f"{_in_one_line(told.getvalue())} ({prog} --help)") from None


def _in_one_line(box: str) -> str:
    """What stands between the title of an error in a box, drawn in whatever characters, and the next line or list."""
    inside = [line.strip("│╭╮╰╯|+ ") for line in box.splitlines()[1:]]
    while inside and not inside[0].strip("─-"):
        inside.pop(0)
    ends = (i for i, line in enumerate(inside) if line.startswith(("───", "---", "Got errors")))
    text = " ".join(" ".join(inside[: next(ends, len(inside))]).split())
    if found := re.fullmatch(r"Error parsing (\S+): no type matching (.*) could be instantiated from \[(.*)\]\.?", text):
        kinds = found[2].replace("{None}|", "").replace("{", "").replace("}", "")
        return f"{found[1]} takes {kinds}, but was given {found[3]}"
    not_a_number = r"Error parsing (\S+): (could not convert string to float|invalid literal for int\(\).*?): (.*)"
    if found := re.fullmatch(not_a_number, text):
        number = "a number" if "float" in found[2] else "a whole number"
        return f"{found[1]} takes {number}, but was given {found[3]}"
    if found := re.fullmatch(r"Error parsing (\S+): Could not find valid parse for arguments: \[(.*)\]\.?", text):
        return f"{found[1]} takes something else than {found[2]}"
    if found := re.fullmatch(r"Missing value for argument '(\S+)'\. Expected (\d+) values?\.?", text):
        return f"{found[1]} needs {'a value' if found[2] == '1' else f'{found[2]} values'}"
    return text.rstrip(".")


def _refuse_unknown(kind: type[Command], name: str, words: Sequence[str]) -> None:
    """An option that the command does not have, with the nearest that it has."""
    known = ["--help", *(f"--{option}" for option in _options(kind))]
    for word in words:
        if word.startswith("--") and word.split("=")[0].replace("_", "-") not in known:
            raise unknown(f"option of noisepath {name}", word.split("=")[0], known)


def _refuse_nothing(kind: type[Command], words: Sequence[str]) -> None:
    """An option that takes some values and is given none, as by a shell's empty variable: it would do nothing."""
    takes = {f"--{entry.name.replace('_', '-')}" for entry in fields(kind) if entry.default == ()}
    for word, after in pairwise([*words, "--"]):
        if word.replace("_", "-") in takes and after.startswith("--"):
            raise ValueError(f"{word} needs a value or more, but none follows: say one, or leave it out")


def _options(kind: Any) -> Iterator[str]:
    """The options of a command's dataclass: its fields, and those of the dataclasses in it."""
    for entry in fields(kind):
        if "Positional" in str(entry.type):
            continue
        if is_dataclass(entry.default):
            yield from _options(type(entry.default))
            continue
        option = entry.name.replace("_", "-")
        yield option
        if isinstance(entry.default, bool):
            yield f"no-{option}"


def _from_file(args: Sequence[str]) -> Train:
    """The training command's defaults: those of the file that ``--config`` names, if it is there."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    scan.add_argument("--config", nargs="?")
    path = scan.parse_known_args([word for word in args if word not in ("-h", "--help")])[0].config
    if path is None:
        return Train()
    told = read_toml(path)
    source, recipe = SaidOfData(**vars(told.data)), SaidOfTraining(**vars(told.train))
    return Train(config=Path(path), pictures=source, recipe=recipe)


_BESIDE_RESUME = ("resume", "data", "text-encoder", "device", "allow-data-change", "evaluate", "progress")
"""What of ``train`` is not a setting of the run, so that it can be said when a run goes on."""


def _checked(command: Train, words: Sequence[str]) -> Train:
    """Settings out of range are errors now; so are those typed beside ``--resume``, whatever their value, as a run has its
    own."""
    if command.resume is not None:
        typed = {word.split("=")[0].replace("_", "-").removeprefix("--") for word in words if word.startswith("--")}
        known = [option for option in _options(Train) if option.removeprefix("no-") not in _BESIDE_RESUME]
        if other := [option for option in known if option in typed]:
            raise ValueError(
                f"--resume goes on with the run's own settings, so {', '.join(other)} can't be said beside it: leave it out, "
                "or train anew with another --out"
            )
    elif not command.pictures.data:
        raise ValueError("train needs pictures: --data FOLDER, PICTURES.zip, digits or shapes (or a run to --resume)")
    return replace(command, pictures=DataConfig(**vars(command.pictures)), recipe=TrainConfig(**vars(command.recipe)))
