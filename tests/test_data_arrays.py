"""Images that are in memory already are a run's data: their shape and their range are looked at before any work."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from noisepath.data import Dataset, as_data, digits
from noisepath.training import TrainConfig, resume, train

IMAGES = torch.linspace(-1.0, 1.0, 6 * 3 * 4 * 4).view(6, 3, 4, 4)
LABELS = torch.tensor([0, 1, 2, 0, 1, 3])


@pytest.mark.parametrize(
    "images", [IMAGES, IMAGES.double(), IMAGES.numpy(), IMAGES.clone().requires_grad_(), IMAGES.to("cpu", torch.float16)]
)
def test_floats_are_taken_as_they_are(images: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = as_data(images)
    assert data.shape == (3, 4, 4) and len(data) == 6 and data.labels is None and data.classes == 0
    # half precision has 11 digits
    torch.testing.assert_close(data.batch(range(6))[0], IMAGES, rtol=0, atol=0 if str(images.dtype)[-2:] != "16" else 5e-4)


def test_bytes_lie_in_0_to_255_by_their_type() -> None:
    whole = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    for images in (whole, whole.numpy()):
        torch.testing.assert_close(as_data(images).batch(range(4))[0], whole.float() / 127.5 - 1)


@pytest.mark.parametrize("labels", [LABELS, LABELS.numpy(), LABELS.to(torch.uint8)])
def test_labels_come_beside_the_images(labels: Any) -> None:
    data = as_data((IMAGES, labels))
    assert data.classes == 4 and data.class_names == ("0", "1", "2", "3")
    assert data.labels is not None and data.labels.tolist() == LABELS.tolist() and data.labels.dtype == torch.int64


def test_the_range_0_to_1_is_warned_of_and_what_to_do() -> None:
    for images in (IMAGES.abs(), (IMAGES.numpy() + 1) / 2):
        with pytest.warns(UserWarning, match=r"no value below 0 .* x \* 2 - 1") as seen:
            assert len(as_data(images)) == 6
        assert len(seen) == 1 and seen[0].filename == __file__


def test_bytes_without_a_value_above_1_are_warned_of_and_what_to_do() -> None:
    for images in (torch.eye(8, dtype=torch.uint8).view(1, 1, 8, 8), np.zeros((2, 1, 4, 4), dtype=np.uint8)):
        with pytest.warns(UserWarning, match=r"no value above 1, .* x.float\(\) \* 2 - 1") as seen:
            assert as_data(images).shape[0] == 1
        assert len(seen) == 1 and seen[0].filename == __file__


def test_labels_may_be_some_of_many_classes() -> None:
    """Sixteen images of ImageNet's thousand classes are training data."""
    data = as_data((IMAGES, torch.tensor([0, 1, 2, 0, 1, 999])))
    assert data.classes == 1000


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ((IMAGES + 1) * 127.5, ValueError, r"from 0 to 255: train\(x / 127.5 - 1, ...\)"),
        (IMAGES * 3, ValueError, r"from -3 to 3: train\(\(x - x.min\(\)\)"),
        (IMAGES[:, 0], ValueError, r"got shape \(6, 4, 4\): of grey images without a channel x\[:, None\] has one"),
        (IMAGES.flatten(1), ValueError, r"\(N, C, H, W\) .* but got shape \(6, 48\)"),
        (torch.zeros(0, 3, 4, 4), ValueError, r"but got shape \(0, 3, 4, 4\)"),
        (torch.zeros(2, 16, 16, 3), ValueError, r"channels last: .*permute\(0, 3, 1, 2\)"),
        (torch.full((2, 1, 4, 4), float("nan")), ValueError, "hold NaN or infinity"),
        (torch.full((2, 1, 4, 4), 7), TypeError, r"got torch.int64: .* x.to\(torch.uint8\)"),
        (torch.ones(2, 1, 4, 4, dtype=torch.int64), TypeError, r"got torch.int64: a mask .* x.float\(\) \* 2 - 1"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.bool), TypeError, r"got torch.bool: a mask .* x.float\(\) \* 2 - 1"),
        (torch.full((2, 1, 4, 4), -7), TypeError, r"got torch.int64: these go from -7 to -7: \(x - x.min"),
        (IMAGES.to("meta"), ValueError, "on the meta device, which holds no values"),
        ((IMAGES, LABELS.to("meta")), ValueError, "on the meta device, which holds no values"),
        ((IMAGES[:0], LABELS[:0]), ValueError, r"but got shape \(0, 3, 4, 4\)"),
        ((IMAGES, torch.full((6,), 10**6)), ValueError, r"makes 1,000,001 classes of 6 images: .*labels.unique"),
        ([IMAGES[0], IMAGES[1]], TypeError, r"but got 2 of them in a list: train\(torch.stack\(list\(images\)\)"),
        ((IMAGES, [0] * 6), TypeError, r"beside the images, but got a list: train\(\(images, torch.tensor\(labels\)\)"),
        (np.array([["a"]]), TypeError, "but got an array of <U1"),
        ((IMAGES, LABELS[:5]), ValueError, "one for each of 6 images, but got torch.int64 of shape"),
        ((IMAGES, LABELS.float()), ValueError, "one for each of 6 images, but got torch.float32"),
        ((IMAGES, LABELS - 1), ValueError, "labels are whole numbers from 0, but one is -1"),
        (TensorDataset(IMAGES), TypeError, r"not a TensorDataset: train\(torch.stack\(\[item\[0\] for item in dataset\]\)"),
        (DataLoader(TensorDataset(IMAGES)), TypeError, r"not a DataLoader: train\(torch.cat\(\[batch\[0\] for batch in load"),
        ([1, 2], TypeError, "training takes a folder, a zip, .* but got"),
        (None, TypeError, "training takes a folder, a zip, .* but got None"),
    ],
)  # fmt: skip
def test_what_training_can_not_use_is_refused_before_any_work(given: Any, error: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=says):
        train(given, tmp_path / "run", TrainConfig(steps=1), progress=False)
    assert not (tmp_path / "run").exists()


def test_data_of_the_librarys_own_are_left_as_they_are() -> None:
    data = digits()
    assert as_data(data) is data


def test_a_run_on_arrays_is_the_run_on_the_same_data(tmp_path: Path) -> None:
    """Whatever torch's default dtype and device are at the time."""
    whole = digits()
    data = Dataset(whole.pictures[:20], whole.labels[:20], tuple("0123456789"))  # type: ignore[index]
    config = TrainConfig(steps=2, batch_size=4, channels=(8,), blocks=1, attention=(), precision="float32", seed=np.int64(1))
    given = (data.pictures.numpy(), data.labels)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            one = train(given, tmp_path / "one", config, progress=False)
        assert torch.get_default_dtype() == torch.bfloat16
    finally:
        torch.set_default_dtype(torch.float32)
    two = train(data, tmp_path / "two", config, progress=False)
    for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True):  # type: ignore[attr-defined]
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="not those that the run began with"):
        resume(tmp_path / "one", -data.pictures, progress=False)
