"""A picture file is read as a person would see it, by formulas written down here once more."""

from __future__ import annotations

import io
import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisepath.data import decode as decoding
from noisepath.data.config import RESIZES
from noisepath.data.decode import BadPicture, Form, decode, head, picture_size, quietly

RANDOM = np.random.default_rng(0)


def _bytes(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)  # type: ignore[arg-type]
    return file.getvalue()


def _colours(height: int, width: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("background", ["white", "black"])
def test_transparency_shows_the_background_asked_for(background: str) -> None:
    rgba = np.concatenate([_colours(5, 7), RANDOM.integers(0, 256, (5, 7, 1), dtype=np.uint8)], axis=2)
    behind = 255 if background == "white" else 0
    alpha = rgba[..., 3:].astype(float) / 255
    expected = rgba[..., :3] * alpha + behind * (1 - alpha)
    found = decode(_bytes(Image.fromarray(rgba)), "a", Form(5, 7, False, "cover", background))
    assert np.abs(found - expected).max() <= 1


def test_sixteen_bits_with_a_transparent_grey_show_the_background() -> None:
    values = np.array([[0, 1000], [65535, 1000]], np.uint16)
    file = _bytes(Image.fromarray(values), transparency=1000)
    found = decode(file, "a", Form(2, 2, True, "cover", "black"))[..., 0]
    assert found.tolist() == [[0.0, 0.0], [255.0, 0.0]]


def test_cmyk_is_ink_on_white_paper() -> None:
    ink = np.zeros((1, 4, 4), np.uint8)
    ink[0, 1] = (255, 0, 0, 0)  # cyan takes the red away
    ink[0, 2] = (0, 0, 255, 0)  # yellow takes the blue away
    ink[0, 3] = (0, 0, 0, 255)
    found = decode(_bytes(Image.fromarray(ink, "CMYK"), "TIFF"), "a", Form(1, 4, False))[0]
    assert np.abs(found - np.array([[255, 255, 255], [0, 255, 255], [255, 255, 0], [0, 0, 0]])).max() <= 1


def test_one_bit_and_palettes_of_greys_are_grey() -> None:
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    for form in ("PNG", "BMP", "TIFF", "GIF"):
        file = _bytes(bits, form)
        assert head(file, "a").grey
        assert decode(file, "a", Form(1, 2, True))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_read(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    options: dict[str, object] = {"lossless": True} if form == "WEBP" else {}
    file = _bytes(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert decode(file, "a", Form(8, 8, False))[4, 4].tolist() == [200, 0, 0]
    assert head(file, "a").frames and not head(_bytes(frames[0], form), "a").frames


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "TIFF", "WEBP", "PNG"])
def test_every_format_is_turned_upright_and_tells_the_size_seen_upright(form: str, orientation: int, tmp_path: Path) -> None:
    stored = np.kron(np.array([[0, 80, 160], [240, 120, 40]], np.uint8), np.ones((16, 16), np.uint8))
    upright = {1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1]}.get(orientation)
    if upright is None:  # the camera lay on its side: rows and columns change places, then one or both are mirrored
        turned = stored.T
        upright = {5: turned, 6: turned[:, ::-1], 7: turned[::-1, ::-1], 8: turned[::-1]}[orientation]
    notes = Image.Exif()
    notes[0x0112] = orientation
    file = _bytes(Image.fromarray(stored), form, exif=notes, **({"lossless": True} if form == "WEBP" else {}))
    found = head(file, "a")
    assert (found.height, found.width) == upright.shape
    (tmp_path / "a.x").write_bytes(file)
    assert picture_size(tmp_path / "a.x") == upright.shape
    pixels = decode(file, "a", Form(*upright.shape, True))[..., 0].astype(int)
    assert np.abs(pixels - upright).max() <= (8 if form == "JPEG" else 0)


def _block(height: int, width: int) -> Image.Image:
    """The left half dark, the right half light."""
    values = np.full((height, width), 40, np.uint8)
    values[:, width // 2 :] = 220
    return Image.fromarray(values)


@pytest.mark.parametrize("resize", RESIZES)
def test_each_way_to_resize_shows_what_it_says(resize: str) -> None:
    """A picture of 20 x 40 is brought to 20 x 20: its middle, all of it with bars above and below, or all of it squeezed."""
    found = decode(_bytes(_block(20, 40)), "a", Form(20, 20, True, resize, "black"))[..., 0].astype(int)
    assert found.shape == (20, 20)
    assert (found[10, 2], found[10, 17]) == pytest.approx((40, 220), abs=2)
    bars = found[:5].max() == 0 and found[15:].max() == 0
    assert bars == (resize == "contain")


def test_contain_keeps_every_row_and_column_of_extreme_pictures() -> None:
    for height, width in ((1, 500), (500, 1), (3, 200)):
        found = decode(_bytes(Image.new("L", (width, height), 100)), "a", Form(8, 8, True, "contain", "black"))
        assert (found == 100).sum() == 8 and (found == 0).sum() == 56


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("mode", ["L", "RGB", "F"])
def test_a_flat_picture_stays_flat_and_keeps_its_value(resize: str, mode: str) -> None:
    image = Image.new("F", (9, 9), 0.5) if mode == "F" else Image.new(mode, (9, 9), 77 if mode == "L" else (77, 77, 77))
    form = "TIFF" if mode == "F" else "PNG"
    found = decode(_bytes(image, form), "a", Form(5, 5, mode != "RGB", resize))
    assert np.allclose(found, 127.5 if mode == "F" else 77, atol=1e-3)


def test_a_large_jpeg_that_is_scaled_down_is_as_without_the_shortcut() -> None:
    down, right = np.mgrid[0:400, 0:400]
    image = Image.fromarray((127 + 90 * np.sin(down / 30) * np.cos(right / 40)).astype(np.uint8))
    short = decode(_bytes(image, "JPEG", quality=95), "a", Form(40, 40, True)).astype(int)
    full = decode(_bytes(image, "PNG"), "a", Form(40, 40, True)).astype(int)
    assert np.abs(short - full).max() <= 4


def test_a_picture_that_says_it_is_huge_is_refused_by_its_head_alone() -> None:
    for width, height in ((9_000, 9_000), (9_500, 9_500), (60_000, 60_000)):
        about = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(BadPicture, match=r"pixels, but at most 64,000,000|more than 64,000,000 pixels"):
                decode(b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + about, "a", Form(8, 8, True))


def test_pillows_warnings_are_not_printed_and_its_settings_are_as_before(recwarn: pytest.WarningsRecorder) -> None:
    before = list(warnings.filters)
    cut = _bytes(Image.fromarray(_colours(9, 9)), "TIFF", compression="tiff_lzw")[:40]
    with quietly(), pytest.raises(BadPicture):
        head(cut, "a")
    assert not recwarn.list and list(warnings.filters) == before


def test_damaged_tiffs_leave_the_standard_error_alone(capfd: pytest.CaptureFixture[str]) -> None:
    good = bytearray(_bytes(Image.fromarray(_colours(24, 24)), "TIFF", compression="tiff_adobe_deflate"))
    for place in range(8, 60):
        good[place] ^= 0x55
    with pytest.raises(BadPicture, match="can't read the picture 'a'"):
        decode(bytes(good), "a", Form(24, 24, False))
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_standard_error_is_everybody_elses_while_a_tiff_is_read(capfd: pytest.CaptureFixture[str]) -> None:
    with decoding._libtiff_silent():
        os.write(2, b"another thread's line")
    assert capfd.readouterr().err == "another thread's line"


def test_what_is_no_picture_is_told_by_what_it_should_be() -> None:
    with pytest.raises(BadPicture, match="'x': it is no PNG, JPEG, WEBP, BMP, GIF or TIFF") as caught:
        head(b"%!PS-Adobe-3.0", "x")
    assert (caught.value.name, caught.value.reason) == ("x", "it is no PNG, JPEG, WEBP, BMP, GIF or TIFF")
    for form in ("PPM", "ICO", "TGA", "PCX", "SGI"):  # Pillow could, but is never asked
        with pytest.raises(BadPicture, match="it is no PNG"):
            head(_bytes(Image.new("L", (16, 16)), form), "x")
    with pytest.raises(BadPicture, match="the file is empty"):
        head(b"", "x")
    with pytest.raises(BadPicture, match="No such file"):
        picture_size(Path("nowhere.png"))
