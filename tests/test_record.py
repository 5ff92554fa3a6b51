"""The configuration of a run as TOML: whatever can be said comes back, and whatever can't be meant is an error."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisepath.data import DataConfig
from noisepath.training import TrainConfig
from noisepath.training.record import Machine, RunConfig, differences, from_toml, read_run, read_toml, to_toml, write_run

WORDS = st.text(max_size=20)
RATES = st.floats(1e-8, 1e3)
DATA = st.builds(
    DataConfig,
    data=WORDS,
    picture_size=st.one_of(st.none(), st.integers(1, 999), st.tuples(st.integers(1, 99), st.integers(1, 99))),
    resize=st.sampled_from(["cover", "contain", "stretch"]),
    flip=st.booleans(),
    holdout=st.one_of(st.none(), st.integers(0, 10**6)),
)
TRAIN = st.builds(
    TrainConfig,
    steps=st.one_of(st.none(), st.integers(1, 10**9)),
    minutes=st.one_of(st.none(), RATES),
    seed=st.integers(-(2**62), 2**62),
    channels=st.one_of(st.none(), st.lists(st.integers(1, 512), min_size=1, max_size=4).map(tuple)),
    attention=st.one_of(st.none(), st.just(())),
    times_options=st.dictionaries(st.sampled_from(["mean", "std"]), st.one_of(st.integers(-9, 9), st.floats(-9, 9))),
    learning_rate=st.one_of(st.none(), RATES),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
)
MACHINES = st.builds(Machine, device=WORDS, threads=st.integers(1, 999), torch=WORDS)


@given(st.builds(RunConfig, DATA, TRAIN, MACHINES))
def test_whatever_can_be_said_comes_back_and_is_toml(config: RunConfig) -> None:
    text = to_toml(config)
    assert from_toml(text) == config
    assert set(tomllib.loads(text)) == {"data", "train", "machine"}


def test_a_path_with_bytes_that_are_no_characters_comes_back(tmp_path: Path) -> None:
    config = RunConfig(DataConfig(data="pictures-\udcff\udc80"))
    write_run(tmp_path, config)
    assert read_run(tmp_path) == config


def test_what_a_file_does_not_say_keeps_its_default() -> None:
    assert from_toml("") == RunConfig()
    assert from_toml("[train]\nseed = 7") == RunConfig(train=TrainConfig(seed=7))
    assert from_toml("[train]\nlearning_rate = 1").train.learning_rate == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nlearning_rat = 1", "unknown setting in train 'learning_rat'; did you mean 'learning_rate'"),
        ("[tain]", "did you mean 'train'"),
        ("[data]\nfolder = 'x'", "unknown setting in data 'folder'"),
        ("[train]\nseed = 'x'", "train.seed must be a whole number, but is 'x'"),
        ("[train]\nbatch_size = true", "train.batch_size must be a whole number, but is True"),
        ("[train]\nbatch_size = 1.5", "train.batch_size must be a whole number"),
        ("[train]\nbetas = [0.9]", "train.betas must be an array of a number"),
        ("[train]\nchannels = [1, 'a']", "train.channels must be an array of a whole number or left out"),
        ("[train.times_options]\nmean = 'x'", "train.times_options must be a table of numbers"),
        ("train = 3", "train must be a table, but is 3"),
        ("[train]\nbatch_size = 0", "batch_size must be a whole number >= 1"),
        ("[data]\nresize = 'crop'", "unknown way to resize 'crop'"),
        ("[train\n", "not TOML"),
    ],
)
def test_what_can_not_be_meant_is_an_error_that_names_the_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_toml(path)
    assert message in str(error.value) and str(path) in str(error.value)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no configuration file .*nothing\.toml"):
        read_toml(tmp_path / "nothing.toml")
    with pytest.raises(FileNotFoundError, match="there is no run folder"):
        read_run(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        read_run(tmp_path)


def test_differences_name_the_setting_and_both_values() -> None:
    one = RunConfig()
    other = replace(one, train=TrainConfig(seed=1), machine=Machine(threads=2))
    assert differences(one, one) == []
    assert differences(one, other) == ["train.seed: 0 -> 1", "machine.threads: 1 -> 2"]


def test_the_identity_is_that_of_the_numbers_and_not_of_the_machine() -> None:
    one = RunConfig()
    assert replace(one, machine=Machine("cuda", 8)).identity == one.identity
    assert replace(one, data=DataConfig(workers=2)).identity == one.identity
    assert replace(one, train=TrainConfig(seed=1)).identity != one.identity
    assert replace(one, data=DataConfig(flip=True)).identity != one.identity


@dataclass(frozen=True)
class LaterTraining(TrainConfig):
    """A newer version's settings: some more, whose defaults change nothing."""

    novel: int = 3
    table: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LaterMachine(Machine):
    cores: int = 7


def test_a_setting_that_is_added_later_leaves_older_runs_themselves() -> None:
    older = RunConfig(train=TrainConfig(seed=4))
    assert replace(older, train=LaterTraining(seed=4)).identity == older.identity
    assert replace(older, machine=LaterMachine()).identity == older.identity
    assert replace(older, train=LaterTraining(seed=4, novel=4)).identity != older.identity
    assert replace(older, train=LaterTraining(seed=4, table={"a": 1.0})).identity != older.identity
    assert replace(older, train=LaterTraining(seed=5)).identity != older.identity


def test_an_identity_is_the_same_in_every_version() -> None:
    text = ["[data]", 'data = "x"', 'resize = "cover"', 'background = "white"', "flip = false"]
    text += [f"{name} = {value}" if "[" not in name else name for name, value in EVERYTHING.items()]
    assert from_toml("\n".join(text)).identity == (
        "ff96678ca4091a01689806785063f2afb465d408a4766eaca04a808dc83fd137"
    )


EVERYTHING = {
    "[train]": "", "steps": 5, "batch_size": 64, "seed": 3, "network": '"unet"', "size": '"auto"', "dropout": 0.0,
    "schedule": '"edm"', "prediction": '"edm"', "weighting": '"plain"', "warmup": 100, "decay": 0.6, "betas": [0.9, 0.99],
    "weight_decay": 0.01, "clip": 1.0, "ema_lengths": [0.05, 0.1], "drop_condition": 0.1, "drop_each": 0.1,
    "tokens": '"auto"', "text_width": 128, "text_layers": 2, "precision": '"auto"', "log_every": 10, "sample_every": 0,
    "save_every": 0,
}  # fmt: skip
"""Every setting of the first version that has a default, said."""
