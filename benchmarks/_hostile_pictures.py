"""Picture files that are broken, lying or odd, made from a seed."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

SIDE = 24


@dataclass(frozen=True)
class Picture:
    """A file's name and bytes, and whether reading it must fail."""

    name: str
    file: str
    content: bytes
    must_fail: bool = True


@cache
def good_picture(i: int) -> bytes:
    """A small good PNG, another one for each i."""
    return _saved(Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)), "PNG")


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)  # type: ignore[arg-type]
    return file.getvalue()


def _bases(random: np.random.Generator) -> dict[str, bytes]:
    """Good files of every format and many modes; noise, so that none is small when packed."""
    colours = Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    fine = Image.fromarray(random.integers(0, 65536, (SIDE, SIDE), dtype=np.uint16))
    return {
        "grey.png": _saved(colours.convert("L"), "PNG"),
        "colour.png": _saved(colours, "PNG"),
        "alpha.png": _saved(colours.convert("RGBA"), "PNG"),
        "palette.png": _saved(colours.convert("P"), "PNG"),
        "fine.png": _saved(fine, "PNG"),
        "colour.jpg": _saved(colours, "JPEG", quality=90),
        "grey.jpeg": _saved(colours.convert("L"), "JPEG"),
        "cmyk.jpg": _saved(colours.convert("CMYK"), "JPEG"),
        "progressive.jpg": _saved(colours, "JPEG", progressive=True),
        "lossy.webp": _saved(colours, "WEBP"),
        "lossless.webp": _saved(colours.convert("RGBA"), "WEBP", lossless=True),
        "colour.bmp": _saved(colours, "BMP"),
        "frames.gif": _saved(colours, "GIF", save_all=True, append_images=[colours.rotate(90)]),
        "raw.tif": _saved(colours, "TIFF"),
        "lzw.tiff": _saved(colours, "TIFF", compression="tiff_lzw"),
        "deflate.tiff": _saved(fine, "TIFF", compression="tiff_adobe_deflate"),
    }


def pictures(seed: int) -> Iterator[Picture]:
    """Every kind of damage to every kind of file, and files that were never pictures."""
    random = np.random.default_rng(seed)
    for file, content in _bases(random).items():
        for share in (0.02, 0.3, 0.6, 0.85):
            whole_frame = file == "frames.gif" and share > 0.5  # the first frame is all that is read
            yield Picture(f"{file} cut off at {share:.0%}", file, content[: int(share * len(content))], not whole_frame)
        half = len(content) // 2
        yield Picture(f"{file} zeros after the middle", file, content[:half] + bytes(len(content) - half), False)
        for flips in (1, 1, 1, 3, 3, 10, 10, 40, 100):
            damaged = bytearray(content)
            for place in random.integers(0, len(content), flips):
                damaged[place] ^= 1 << int(random.integers(0, 8))
            yield Picture(f"{file} with {flips} bits flipped", file, bytes(damaged), False)
        head = bytearray(content)
        head[: len(head) // 8] = random.bytes(len(head) // 8)
        yield Picture(f"{file} with noise for a head", file, bytes(head))
    yield from _no_pictures(random)
    yield from _bombs()
    yield from _odd_values()


def _no_pictures(random: np.random.Generator) -> Iterator[Picture]:
    others = {
        "nothing": b"",
        "one byte": b"\x89",
        "text": b"I am no picture",
        "noise": random.bytes(5000),
        "zeros": bytes(5000),
        "a page": b"<!doctype html><html><body>404</body></html>",
        "a drawing": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "PDF": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
        "PPM": b"P6 2 2 255\n" + bytes(12),
        "FITS": b"SIMPLE  =                    T".ljust(80) + b"BITPIX  =                    8".ljust(80) + b"END".ljust(2720),
        "ICO": b"\0\0\1\0\1\0\1\1\0\0\1\0\x20\0\4\0\0\0\x16\0\0\0" + bytes(4),
        "Photoshop": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64),
        "a program": b"\x7fELF\x02\x01\x01" + bytes(57),
        "a zip": b"PK\3\4" + bytes(40),
        "two magic bytes of JPEG": b"\xff\xd8\xff",
        "two magic bytes of BMP": b"BM",
        "the magic of GIF": b"GIF89a",
        "the magic of TIFF": b"II*\0",
        "the magic of WEBP": b"RIFF\x20\0\0\0WEBPVP8 ",
        "the magic of PNG": b"\x89PNG\r\n\x1a\n",
    }
    for i, (name, content) in enumerate(others.items()):
        yield Picture(f"{name} that is called a picture", f"bad{(i)}{('.png', '.jpg', '.gif', '.bmp', '.tif')[i % 5]}", content)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + _chunk(b"IEND", b"")


def _tiff(width: int, height: int) -> bytes:
    tags = ((256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 10))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in tags)


def _bombs() -> Iterator[Picture]:
    """Files of a few bytes that say they are huge, and real pixels that were packed very small."""
    for width, height in ((60_000, 60_000), (9_000, 9_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (0, 5), (10_000, 6_401)):
        yield Picture(f"a PNG of {width} x {height}", "bomb.png", _png(width, height, _chunk(b"IDAT", zlib.compress(b""))))
    real = _chunk(b"IDAT", zlib.compress(bytes(65_001_000)))
    yield Picture("a PNG of 65 million real pixels", "real.png", _png(65_000, 1_000, real))
    for width, height in ((60_000, 60_000), (9_500, 9_500)):
        about = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)
        bmp = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + about
        yield Picture(f"a BMP of {width} x {height}", "bomb.bmp", bmp)
        gif = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0)
        yield Picture(f"a GIF of {width} x {height}", "bomb.gif", gif + b"\x02\x02\x4c\x01\0;")
        jpeg = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0\xff\xd9"
        yield Picture(f"a JPEG of {width} x {height}", "bomb.jpg", jpeg)
        yield Picture(f"a TIFF of {width} x {height}", "bomb.tif", _tiff(width, height))
    text = zlib.compress(bytes(70_000_000))
    row = _chunk(b"IDAT", zlib.compress(b"\0\0"))
    yield Picture("70 MB of text in a PNG", "text.png", _png(1, 1, _chunk(b"zTXt", b"a\0\0" + text), row))
    yield Picture("70 MB of colour profile in a PNG", "profile.png", _png(1, 1, _chunk(b"iCCP", b"a\0\0" + text), row), False)


def _odd_values() -> Iterator[Picture]:
    """Values that nobody can tell the white of, and things beside the pixels that are broken."""
    flat = np.full((4, 4), 0.5, np.float32)
    for name, value in {"NaN": np.nan, "infinity": np.inf, "below black": -0.5, "above white": 1.5, "0 to 255": 255.0}.items():
        values = flat.copy()
        values[1, 1] = value
        yield Picture(f"a float picture with {name}", "float.tif", _saved(Image.fromarray(values), "TIFF"))
    for name, integer in {"large": 2**20, "small": 7, "negative": -1}.items():
        values = np.full((4, 4), integer, np.int32)
        yield Picture(f"32-bit whole numbers that are {name}", "int.tif", _saved(Image.fromarray(values), "TIFF"))
    grey = Image.new("L", (4, 4), 99)
    for name, exif in {"noise": b"Exif\0\0" + bytes(range(60)), "an empty table": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}.items():
        yield Picture(f"camera notes that are {name}", "notes.jpg", _saved(grey, "JPEG", exif=exif), False)
    for orientation in (0, 9, 65535):
        notes = Image.Exif()
        notes[0x0112] = orientation
        yield Picture(f"a camera held in way {orientation}", "held.jpg", _saved(grey, "JPEG", exif=notes), False)
    for width, height in ((1, 1), (1, 5000), (5000, 1), (3, 2000)):
        yield Picture(f"{width} x {height} pixels", "odd.png", _saved(Image.new("L", (width, height), 9), "PNG"), False)
    yield Picture("Lab colours", "lab.tif", _saved(Image.new("LAB", (4, 4)), "TIFF"), False)
