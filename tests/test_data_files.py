"""Files that are decoded when they are asked for are the pictures that decoding all of them at once would give."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from noisepath import noise
from noisepath.data import (
    Data,
    DataConfig,
    Dataset,
    Files,
    changed,
    digits,
    folder,
    holdout_size,
    open_data,
    split,
)
from noisepath.data import files as module
from noisepath.data import memory as memory_module
from noisepath.data.memory import Memory

RANDOM = np.random.default_rng(0)


def _picture(path: Path, *shape: int, dtype: type = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of colour pictures, most of them 6 x 8."""
    root = tmp_path / "photos"
    for i in range(9):
        _picture(root / ("cat", "dog")[i % 2] / f"{i}.png", *((6, 8, 3) if i else (12, 12, 3)))
    return root


def _open(path: Path, **options: object) -> Files:
    data = open_data(DataConfig(str(path), **options))  # type: ignore[arg-type]
    assert isinstance(data, Files)
    return data


def _zipped(root: Path) -> Path:
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for found in root.rglob("*.*"):
            file.write(found, found.relative_to(root))
    return path


def test_files_are_what_the_whole_folder_in_memory_is(photos: Path) -> None:
    whole = folder(photos)
    for data in (_open(photos), _open(_zipped(photos))):
        assert len(data) == len(whole) and data.shape == whole.shape == (3, 6, 8)
        assert data.class_names == whole.class_names == ("cat", "dog") and data.classes == 2
        assert data.names == tuple(whole.names)
        for indices in ([3], [8, 0, 0, 2], range(9)):
            (x, labels), (expected, told) = data.batch(indices), whole.batch(indices)
            assert torch.equal(x, expected) and x.dtype == torch.float32
            assert labels is not None and told is not None and torch.equal(labels, told)
        assert data.mean == pytest.approx(whole.mean, abs=1e-9) and data.sigma_data == pytest.approx(whole.sigma_data, abs=1e-9)


def test_mean_and_sigma_are_those_of_all_values_and_sigma_is_never_0(photos: Path, tmp_path: Path) -> None:
    values = _open(photos).batch(range(9))[0].double()
    data = _open(photos)
    assert data.mean == pytest.approx(float(values.mean()))
    assert data.sigma_data == pytest.approx(float(values.std(correction=0)))
    (tmp_path / "flat").mkdir()
    Image.new("L", (4, 4), 100).save(tmp_path / "flat" / "a.png")
    flat = _open(tmp_path / "flat")
    assert flat.sigma_data == 0.01 and flat.mean == pytest.approx(100 / 127.5 - 1, abs=1e-6)


@pytest.mark.parametrize("finest", [False, True])
def test_pictures_are_the_same_from_memory_and_from_their_files(
    tmp_path: Path, finest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where 8 and 16 bits are mixed, whichever of them the memory was made for."""
    for i in range(4):
        _picture(tmp_path / f"{i}.png", 5, 5)
    if finest:
        _picture(tmp_path / "fine.png", 5, 5, dtype=np.uint16)
    kept = _open(tmp_path)
    first, again = kept.batch(range(len(kept)))[0], kept.batch(range(len(kept)))[0]
    assert kept.memory.pictures is not None and kept.memory.held.all()
    monkeypatch.setattr(memory_module, "machine_memory", lambda: 0)
    fresh = _open(tmp_path)
    assert fresh.memory.pictures is None
    assert torch.equal(first, again) and torch.equal(first, fresh.batch(range(len(kept)))[0])


def test_a_picture_finer_than_the_memory_is_decoded_each_time_and_keeps_its_steps(tmp_path: Path) -> None:
    memory = Memory(1, (1, 2, 2), np.uint8)
    memory.keep(0, np.full((1, 2, 2), 1.5, np.float32))
    assert not memory.held[0]
    memory.keep(0, np.full((1, 2, 2), 7, np.uint8))
    assert memory.held[0] and memory.pictures is not None and memory.pictures[0].max() == 7


def test_a_picture_is_decoded_once_while_there_is_memory(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _open(photos)
    data.batch(range(9))
    monkeypatch.setattr(module, "read", None)  # decoding again would fail
    assert data.batch([4, 4, 1])[0].shape == (3, 3, 6, 8)
    assert data.subset([5]).batch([0])[0].shape == (1, 3, 6, 8)


def test_what_a_forked_process_decodes_is_there_for_the_others(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 1)
    data = _open(photos)
    assert data.memory.held.sum() == 1
    child = os.fork()
    if not child:
        data.batch(range(9))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert data.memory.held.all() and torch.equal(data.batch(range(9))[0], _open(photos).batch(range(9))[0])


def test_the_machine_s_memory_is_read_and_a_quarter_of_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2**28 < memory_module.machine_memory() < 2**50
    monkeypatch.setattr(memory_module, "machine_memory", lambda: 4000)
    assert memory_module.affordable(1000) and not memory_module.affordable(1001)


@pytest.mark.parametrize(("size", "shape"), [(None, (6, 8)), (4, (4, 4)), ((3, 5), (3, 5))])
def test_the_size_is_the_most_common_one_or_the_one_asked_for(photos: Path, size: object, shape: tuple[int, int]) -> None:
    assert _open(photos, picture_size=size).shape == (3, *shape)


def test_the_sample_is_fixed_and_settles_size_and_colour(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 5)
    assert module.sample_of(5) == [0, 1, 2, 3, 4]
    chosen = module.sample_of(9)
    assert chosen == module.sample_of(9) == sorted(set(chosen)) and len(chosen) == 5
    outside = [i for i in range(9) if i not in chosen]
    names = _open(photos).names
    for i in range(9):  # grey where the sample looks, colour elsewhere
        path = photos / names[i]
        Image.fromarray(RANDOM.integers(0, 256, (6, 8) if i in chosen else (6, 8, 3), dtype=np.uint8)).save(path)
    data = _open(photos)
    assert data.shape == (1, 6, 8) and data.made_grey == 0
    colour = np.asarray(Image.open(photos / names[outside[0]]).convert("L"))
    assert np.array_equal(((data.batch([outside[0]])[0][0, 0] + 1) * 127.5).round().numpy(), colour)
    data.batch(range(9))
    assert data.made_grey == len(outside)


def test_more_than_one_percent_bad_stops_before_a_run_and_all_are_named(tmp_path: Path) -> None:
    for i in range(99):
        _picture(tmp_path / f"{i:03}.png", 4, 4)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    data = _open(tmp_path)  # 1 of 100
    with pytest.raises(ValueError, match=r"can't read the picture 'bad\.png'"):
        data.batch([list(data.names).index("bad.png")])
    (tmp_path / "cut.png").write_bytes((tmp_path / "000.png").read_bytes()[:50])
    with pytest.raises(ValueError, match=r"^2 of 101 pictures .* at most 1 % .*: bad\.png: it is no .*; cut\.png: ") as caught:
        _open(tmp_path)
    assert "\n" not in str(caught.value)
    for i in range(30):
        (tmp_path / f"{i:03}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"019\.png: the file is empty; and 12 more$"):
        _open(tmp_path)


def test_deceiving_entries_of_a_zip_count_as_bad(tmp_path: Path) -> None:
    for i in range(50):
        _picture(tmp_path / "photos" / f"{i:03}.png", 4, 4)
    path = _zipped(tmp_path / "photos")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("../evil.png", b"x")
    with pytest.raises(ValueError, match=r"1 of 51 pictures .*\.\./evil\.png: its name is no plain path inside the zip"):
        _open(path)


@pytest.mark.parametrize(("name", "error"), [("nowhere", FileNotFoundError), ("text.txt", ValueError), ("empty", ValueError)])
def test_what_is_no_place_of_pictures_is_refused_by_name(tmp_path: Path, name: str, error: type[Exception]) -> None:
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=name):
        _open(tmp_path / name)


def test_digits_are_data_as_well_at_any_size() -> None:
    data = open_data(DataConfig())
    assert isinstance(data, Dataset) and torch.equal(data.pictures, digits().pictures) and data.names[17] == "digit 17"
    larger = open_data(DataConfig(picture_size=16))
    assert larger.shape == (1, 16, 16) and larger.names == data.names and len(larger) == 1797
    x, small = larger.batch(range(50))[0], data.batch(range(50))[0]
    pooled = torch.nn.functional.avg_pool2d(x, 2)
    assert torch.corrcoef(torch.stack([pooled.flatten(), small.flatten()]))[0, 1] > 0.97


# --- parts of data, and what tells them apart ------------------------------------------------------------------------


def _kinds(photos: Path) -> list[Data]:
    return [_open(photos), folder(photos)]


def test_a_subset_keeps_order_shape_classes_and_sigma(photos: Path) -> None:
    for data in _kinds(photos):
        part = data.subset([7, 2, 5])
        assert len(part) == 3 and part.shape == data.shape and part.class_names == data.class_names
        assert (part.sigma_data, part.mean) == (data.sigma_data, data.mean)
        assert list(part.names) == [data.names[i] for i in (7, 2, 5)]
        assert torch.equal(part.batch(range(3))[0], data.batch([7, 2, 5])[0])
        assert part.labels is not None and data.labels is not None and torch.equal(part.labels, data.labels[[7, 2, 5]])
        again = part.subset([2, 0])
        assert list(again.names) == [data.names[5], data.names[7]] and torch.equal(again.batch([1])[0], data.batch([7])[0])
        assert data.captions is None and part.captions is None and part.attributes is None


def test_captions_and_attributes_go_with_their_pictures(photos: Path) -> None:
    names = [str(path.relative_to(photos)) for path in photos.rglob("*.png")]
    lines = [f'{{"file_name": "{name}", "text": "of {name}", "n": {i}}}' for i, name in enumerate(names)]
    (photos / "metadata.jsonl").write_text("\n".join(lines))
    for data in _kinds(photos):
        part = data.subset([4, 1])
        assert part.captions == tuple(f"of {name}" for name in part.names)
        assert part.attributes == tuple({"n": names.index(name)} for name in part.names)
        assert data.labels is None and data.batch([0])[1] is None


def test_a_split_is_keyed_by_seed_and_number_alone_and_loses_nothing(photos: Path) -> None:
    files, whole = _kinds(photos)
    parts = [split(data, 3, seed=5) for data in (files, whole)]
    for train, held_out in parts:
        assert held_out is not None and len(train) == 6 and len(held_out) == 3
        order = list(files.names)
        for part in (train, held_out):
            places = [order.index(name) for name in part.names]
            assert places == sorted(places)
        assert sorted([*train.names, *held_out.names]) == sorted(order)
    assert list(parts[0][0].names) == list(parts[1][0].names)
    key = noise.key(5, "holdout") >> 1
    first = torch.randperm(9, generator=torch.Generator().manual_seed(key))[:3].sort().values.tolist()
    assert parts[0][1] is not None and list(parts[0][1].names) == [files.names[i] for i in first]
    assert {tuple(split(files, 3, seed)[0].names) for seed in range(9)} != {tuple(parts[0][0].names)}
    assert split(files, 0, 0) == (files, None)
    for holdout in (9, 10, -1):
        with pytest.raises(ValueError, match=r"holdout must be 0 \.\. 8"):
            split(files, holdout, 0)


@pytest.mark.parametrize(
    ("given", "count", "expected"),
    [(None, 199, 0), (None, 200, 10), (None, 5000, 250), (None, 20_000, 1000), (None, 10**6, 1000), (0, 5000, 0), (7, 8, 7)],
)
def test_a_twentieth_is_held_out_unless_said_otherwise(given: int | None, count: int, expected: int) -> None:
    assert holdout_size(DataConfig(holdout=given), count) == expected


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="holdout is 8, but there are 8 pictures"):
        holdout_size(DataConfig(holdout=8), 8)


def test_a_fingerprint_changes_with_anything_that_a_run_would_see(photos: Path) -> None:
    def prints() -> list[str]:
        return [data.fingerprint for data in (_open(photos), _open(photos, resize="stretch"), _open(photos, picture_size=5))]

    before = prints()
    assert len(set(before)) == 3 and prints() == before
    (photos / "cat" / "0.png").rename(photos / "dog" / "0.png")
    after = prints()
    assert not set(after) & set(before)
    os.utime(photos / "dog" / "0.png", ns=(1, 1))
    assert not set(prints()) & set(after)
    data = Dataset(torch.zeros(2, 1, 2, 2), torch.tensor([0, 1]), ("a", "b"))
    others = [
        Dataset(torch.zeros(2, 1, 2, 2), torch.tensor([1, 0]), ("a", "b")),
        Dataset(torch.zeros(2, 1, 2, 2)),
        Dataset(torch.zeros(2, 1, 2, 2).index_fill_(0, torch.tensor([1]), 0.5), torch.tensor([0, 1]), ("a", "b")),
    ]
    assert len({item.fingerprint for item in (data, *others)}) == 4


def test_what_changed_is_said_in_one_line(photos: Path) -> None:
    (photos / "metadata.jsonl").write_text('{"file_name": "cat/0.png"}\n{"file_name": "cat/2.png"}')
    old = _open(photos).listing
    assert set(old) == {"cat/0.png", "cat/2.png", "metadata.jsonl"}
    assert changed(old, old) is None and changed(old, dict(reversed(old.items()))) is None
    (photos / "metadata.jsonl").unlink()
    new = _open(photos).listing
    assert changed(old, new) == "+7 added (cat/4.png, cat/6.png, cat/8.png ...), -1 removed (metadata.jsonl)"
    _picture(photos / "cat" / "0.png", 6, 8, 3)
    assert changed(new, _open(photos).listing) == "~1 changed (cat/0.png)"
    data = Dataset(torch.zeros(2, 1, 2, 2))
    other = Dataset(torch.cat([torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)]))
    assert changed(data.listing, other.listing) == "~1 changed (picture 1)"


def test_an_odd_name_does_not_break_the_line_that_tells_of_a_change() -> None:
    assert changed({}, {"a\nb.png": [1, 2]}) == "+1 added (a\\nb.png)"


def test_names_captions_and_attributes_must_be_as_many_as_the_pictures() -> None:
    for name in ("names", "captions", "attributes"):
        with pytest.raises(ValueError, match=f"{name} must be one for each of 2 pictures, but are 1"):
            Dataset(torch.zeros(2, 1, 2, 2), **{name: ("a",)})  # type: ignore[arg-type]
