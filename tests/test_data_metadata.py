"""A metadata file with an error is refused by the number of the line and what is wrong in it."""

from __future__ import annotations

import json

import pytest

from noisepath.data.metadata import class_order, read_lines

PICTURES = {"a.png", "b/c.png", "d.jpg"}
FIRST = '{"file_name": "a.png", "label": "x"}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON: .* at character 2"),
        ("[1]", "not a JSON object"),
        ('{"label": "x"}', "no file_name"),
        ('{"file_name": 7}', "file_name must be text, but is 7"),
        ('{"file_name": "missing.png"}', "there is no picture 'missing.png'"),
        ('{"file_name": "notes.txt"}', r"there is no picture 'notes.txt' \(pictures end in \.bmp"),
        ('{"file_name": "../a.png"}', "'../a.png' is no plain path inside"),
        ('{"file_name": "./a.png", "label": "x"}', "'a.png' is named in line 1 already"),
        ('{"file_name": "d.jpg", "label": 1.5}', "label must be text or a whole number, but is 1.5"),
        ('{"file_name": "d.jpg", "label": true}', "label must be text or a whole number, but is True"),
        ('{"file_name": "d.jpg", "label": "x", "text": ["a"]}', "a caption must be text, but is"),
        ('{"file_name": "d.jpg", "label": "x", "label": "y"}', "a name stands twice in one object"),
        ('{"file_name": "d.jpg", "label": "\\ud800"}', "half a character"),
        ('{"file_name": "d.jpg", "label": "x", "n": Infinity}', "Infinity is no JSON"),
        ("[" * 100_000, "too many brackets"),
    ],
)
def test_an_error_names_its_line(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^'metadata.jsonl' line 3: .*{message}") as caught:
        read_lines(f"{FIRST}\n\n{line}\n".encode(), "metadata.jsonl", PICTURES)
    assert "\n" not in str(caught.value)


def test_a_line_that_is_no_utf8_is_named() -> None:
    with pytest.raises(ValueError, match="^'m' line 2: not UTF-8$"):
        read_lines(FIRST.encode() + b"\n\xff\xfe", "m", PICTURES)


@pytest.mark.parametrize("content", [b"", b"\n \n\r\n", b"\xef\xbb\xbf"])
def test_a_file_without_lines_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="'m' has no lines"):
        read_lines(content, "m", PICTURES)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("x", None), "^'m' line 2 has no label, but line 1 has one \\('x'\\)$"),
        ((None, 3), "^'m' line 1 has no label, but line 2 has one \\(3\\)$"),
        (("x", 3), "^'m': labels must be all text or all whole numbers, but there are 'x' in line 1 and 3 in line 2$"),
    ],
)
def test_labels_are_for_all_lines_and_of_one_kind(labels: tuple[object, object], message: str) -> None:
    told = [{"file_name": name, "label": label} for name, label in zip(("a.png", "d.jpg"), labels, strict=True)]
    with pytest.raises(ValueError, match=message):
        read_lines("\n".join(json.dumps(line) for line in told).encode(), "m", PICTURES)


def test_everything_that_is_said_is_kept() -> None:
    content = '{"file_name": "b/c.png", "label": 3, "text": "\u2603", "caption": "c", "n": {"x": [1, null]}}\r\n'
    (line,) = read_lines(b"\xef\xbb\xbf" + content.encode(), "m", PICTURES)
    assert (line.number, line.name, line.label, line.caption) == (1, "b/c.png", 3, "\u2603")
    assert line.attributes == {"caption": "c", "n": {"x": [1, None]}}


def test_classes_are_in_the_order_of_their_numbers_or_bytes() -> None:
    assert class_order({"10", "9", "01", "1"}) == ["01", "1", "9", "10"]
    assert class_order({10, -3, 9}) == [-3, 9, 10]
    assert class_order({"b", "B", "\u00e9", "10", "9"}) == ["10", "9", "B", "b", "\u00e9"]
