"""Pictures to learn from: read as a person would see them, refused by name where they can't be read."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from noisepath.data import Dataset, digits, folder
from noisepath.data.dataset import order
from noisepath.data.decode import SUFFIXES


def _colours(height: int = 8, width: int = 8) -> np.ndarray:
    """A smooth picture with a different colour in each corner, so that turning and mixing up channels shows."""
    down, right = np.mgrid[0:height, 0:width].astype(float)
    down, right = down / max(1, height - 1), right / max(1, width - 1)
    return np.stack([255 * down, 255 * right, 128 * (down + right) / 2 + 60], axis=2).round().astype(np.uint8)


def _save(path: Path, array: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)  # type: ignore[arg-type]
    return path


def _one(path: Path, **options: object) -> torch.Tensor:
    """The only picture of a folder, (C, H, W) in [-1, 1]."""
    data = folder(path, **options)  # type: ignore[arg-type]
    assert len(data) == 1
    return data.batch([0])[0][0]


def _as_read(array: np.ndarray) -> torch.Tensor:
    values = torch.tensor(array.astype(np.float32)) / 127.5 - 1
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1)


def test_digits_are_scikit_learns() -> None:
    data = digits()
    assert (len(data), data.shape, data.classes) == (1797, (1, 8, 8), 10)
    assert data.class_names == tuple("0123456789")
    pictures, labels = data.batch(range(1797))
    assert torch.equal(torch.unique(pictures), torch.arange(17) / 8 - 1)  # whole grey values 0 .. 16
    assert labels is not None and labels[:4].tolist() == [0, 1, 2, 3]
    assert data.sigma_data == pytest.approx(float(pictures.std()), rel=1e-3)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    array = _colours(16, 16)
    _save(tmp_path / f"a{suffix}", array)
    # JPEG, WEBP and GIF's palette lose something: on a smooth picture about 10 of 255 at most on average
    lossy = suffix in {".jpg", ".jpeg", ".webp", ".gif"}
    found = _one(tmp_path)
    assert found.shape == (3, 16, 16)
    assert (found - _as_read(array)).abs().mean() <= (12 / 127.5 if lossy else 1e-6)


def test_class_folders_give_labels_in_the_order_of_their_names(tmp_path: Path) -> None:
    grey = np.full((4, 4), 100, np.uint8)
    for name, count in (("dog", 2), ("cat", 3), ("ant", 1)):
        for i in range(count):
            _save(tmp_path / name / "more" / f"{i}.png", grey)
    (tmp_path / ".hidden").mkdir()
    _save(tmp_path / ".hidden" / "x.png", grey)
    _save(tmp_path / "cat" / ".thumbs" / "x.png", grey)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no picture")
    data = folder(tmp_path)
    assert data.class_names == ("ant", "cat", "dog")
    assert data.labels is not None and data.labels.tolist() == [0, 1, 1, 1, 2, 2]


def test_a_flat_folder_has_no_classes(tmp_path: Path) -> None:
    _save(tmp_path / "b.PNG", _colours())
    _save(tmp_path / "a.png", _colours())
    data = folder(tmp_path)
    assert data.labels is None and data.classes == 0 and len(data) == 2 and data.pictures.dtype == torch.uint8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    """A camera that was held otherwise stores the turned picture and says how; undo by the standard's table."""
    upright = _colours(6, 10)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    _save(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)
    assert torch.allclose(_one(tmp_path), _as_read(upright), atol=1e-6)


def test_transparency_is_set_on_white(tmp_path: Path) -> None:
    array = np.zeros((2, 2, 4), np.uint8)
    array[0, 1] = (0, 0, 0, 255)
    array[1, 0] = (200, 0, 0, 128)  # half seen through
    _save(tmp_path / "a.png", array)
    found = ((_one(tmp_path) + 1) * 127.5).round()
    assert found[:, 0, 0].tolist() == [255, 255, 255]
    assert found[:, 0, 1].tolist() == [0, 0, 0]
    # 200 * 128/255 + 255 * 127/255 = 227.4, 255 * 127/255 = 127
    assert torch.allclose(found[:, 1, 0], torch.tensor([227.0, 127.0, 127.0]), atol=1.0)


def test_grey_with_transparency_and_a_transparent_palette_entry_are_set_on_white(tmp_path: Path) -> None:
    _save(tmp_path / "one" / "a.png", np.array([[[10, 255], [10, 0]]], np.uint8))
    assert ((_one(tmp_path / "one") + 1) * 127.5).round().tolist() == [[[10, 255]]]
    image = Image.new("P", (2, 1), 0)
    image.putpalette([50, 60, 70, 80, 90, 100])
    image.putpixel((1, 0), 1)
    (tmp_path / "two").mkdir()
    image.save(tmp_path / "two" / "a.gif", transparency=1)
    assert ((_one(tmp_path / "two") + 1) * 127.5).round()[:, 0].T.tolist() == [[50, 60, 70], [255, 255, 255]]


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path: Path) -> None:
    array = np.array([[0, 257], [32768, 65535]], np.uint16)
    _save(tmp_path / "a.png", array)
    _save(tmp_path / "b.tiff", array)
    data = folder(tmp_path)
    assert data.shape == (1, 2, 2) and data.pictures.dtype == torch.float32
    for picture in data.batch([0, 1])[0]:
        assert torch.allclose(picture[0], torch.tensor(array.astype(np.float64) / 65535 * 2 - 1).float(), atol=1e-6)


def test_one_colour_picture_makes_all_of_them_colour_and_greys_alone_stay_grey(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", np.full((4, 4), 40, np.uint8))
    _save(tmp_path / "b.png", (np.full((4, 4), 40) * 257).astype(np.uint16))
    Image.fromarray(np.full((4, 4), 40, np.uint8)).save(tmp_path / "c.gif")
    Image.new("1", (4, 4), 1).save(tmp_path / "d.bmp")
    data = folder(tmp_path)
    assert data.shape == (1, 4, 4)
    assert torch.allclose((data.batch(range(4))[0][:, 0, 0, 0] + 1) * 127.5, torch.tensor([40.0, 40.0, 40.0, 255.0]), atol=1e-3)
    _save(tmp_path / "e.png", _colours(4, 4))
    data = folder(tmp_path)
    assert data.shape == (3, 4, 4)
    assert torch.allclose((data.batch([1])[0] + 1) * 127.5, torch.full((1, 3, 4, 4), 40.0), atol=1e-3)


def test_pictures_are_scaled_to_cover_the_size_and_cut_around_their_middle(tmp_path: Path) -> None:
    array = np.zeros((10, 30), np.uint8)
    array[:, 10:20] = 200  # the middle third
    _save(tmp_path / "a.png", array)
    assert set(((_one(tmp_path, size=10) + 1) * 127.5).round().flatten().tolist()) == {200}
    found = (_one(tmp_path, size=(20, 40)) + 1) * 127.5
    assert found.shape == (1, 20, 40)
    assert found[0, :, 12:28].min() > 180 and found[0, :, :8].max() < 20  # twice as large: 20 columns of 200 in the middle


def test_a_picture_of_the_right_size_is_untouched_and_the_most_common_size_is_the_size(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)
    _save(tmp_path / "a.png", array)
    _save(tmp_path / "b.png", array)
    _save(tmp_path / "c.png", np.zeros((20, 20), np.uint8))
    data = folder(tmp_path)
    assert data.shape == (1, 6, 9)
    assert np.array_equal(data.pictures[0, 0].numpy(), array)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "bomb"])
def test_a_picture_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, damage: str) -> None:
    good = _save(tmp_path / "good.png", _colours(64, 64)).read_bytes()
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0))
    content = {"cut": good[: len(good) // 2], "noise": b"no picture at all", "empty": b"", "bomb": head}[damage]
    (tmp_path / "bad one.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"can't read the picture .*bad one\.png") as caught:
        folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_floats_from_0_to_1_are_read_with_white_at_1(tmp_path: Path) -> None:
    array = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32)
    Image.fromarray(array).save(tmp_path / "a.tiff")
    assert torch.allclose(_one(tmp_path)[0], torch.tensor(array * 2 - 1), atol=1e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [(1.5, "from 0 to 1.5"), (-0.25, "from -0.25 to 0"), (255.0, "to 255"), (np.nan, "NaN"), (np.inf, "infinite")],
)
def test_other_floats_are_refused_since_nobody_knows_their_white(tmp_path: Path, value: float, message: str) -> None:
    Image.fromarray(np.array([[0.0, value]], np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=rf"a\.tiff.*{message}"):
        folder(tmp_path)


def test_whole_numbers_of_32_bits_are_refused_since_nobody_knows_their_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 70_000]], np.int32)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=r"a\.tiff.*32-bit whole numbers from 0 to 70000"):
        folder(tmp_path)


def test_folders_without_pictures_or_with_two_kinds_of_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        folder(tmp_path / "nowhere")
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match="it is a file"):
        folder(tmp_path / "text.txt")
    with pytest.raises(ValueError, match="no pictures in"):
        folder(tmp_path)
    _save(tmp_path / "a.png", _colours())
    _save(tmp_path / "cats" / "b.png", _colours())
    with pytest.raises(ValueError, match=r"holds pictures \(a\.png \.\.\.\) beside folders of pictures \(cats"):
        folder(tmp_path)


@pytest.mark.parametrize("size", [0, (3,), (4, -1), "8"])
def test_sizes_that_are_none_are_refused(tmp_path: Path, size: object) -> None:
    _save(tmp_path / "a.png", _colours())
    with pytest.raises(ValueError, match="size must be a whole number"):
        folder(tmp_path, size=size)  # type: ignore[arg-type]


def test_each_epoch_shows_every_picture_once_in_an_order_of_its_own() -> None:
    data = Dataset(torch.zeros(7, 1, 2, 2))
    shown = data.shown(3, range(28))
    epochs = [shown[i : i + 7] for i in range(0, 28, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert data.shown(3, range(10, 20)) == shown[10:20]  # a function of (seed, n), wherever one starts
    assert data.shown(4, range(28)) != shown
    assert order(3, 0, 7).tolist() == epochs[0]


def test_eight_bits_and_floats_are_the_same_pictures() -> None:
    eight = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
    one, two = Dataset(eight), Dataset(eight.float() / 127.5 - 1)
    assert torch.equal(one.batch([1, 3])[0], two.batch([1, 3])[0])
    assert one.sigma_data == pytest.approx(two.sigma_data)
    assert Dataset(torch.zeros(2, 1, 2, 2)).sigma_data == 0.01


@pytest.mark.parametrize(
    ("pictures", "labels", "names", "message"),
    [
        (torch.zeros(2, 4, 4), None, (), "pictures must be"),
        (torch.zeros(0, 1, 4, 4), None, (), "pictures must be"),
        (torch.zeros(2, 1, 4, 4).double(), None, (), "float32 in"),
        (torch.full((2, 1, 4, 4), 1.5), None, (), "some values are outside"),
        (torch.full((2, 1, 4, 4), float("nan")), None, (), "some values are outside, or NaN"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), (), "come together"),
        (torch.zeros(2, 1, 4, 4), None, ("a",), "come together"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0]), ("a",), "labels must be int64"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0.0, 1.0]), ("a", "b"), "labels must be int64"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 2]), ("a", "b"), r"labels must be in 0 \.\. 1, but are in 0 \.\. 2"),
    ],
)
def test_a_data_set_that_does_not_fit_together_is_refused(
    pictures: torch.Tensor, labels: torch.Tensor | None, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset(pictures, labels, names)
