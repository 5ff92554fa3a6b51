"""A condition is a named set of tensors with a row for each picture."""

import numpy as np
import pytest
import torch

from noisepath.denoiser import Condition

BOTH = Condition(label=torch.tensor([3, 1, 2]), text=torch.arange(6.0).view(3, 2))
NULL = Condition(label=torch.tensor([9]), text=torch.full((1, 2), -1.0))


def test_rows_expand_and_cat_keep_the_parts_together() -> None:
    some = BOTH.rows([2, 0])
    assert some["label"].tolist() == [2, 3] and some["text"].tolist() == [[4, 5], [0, 1]] and some.batch == 2
    assert BOTH.rows(slice(1, 2))["label"].tolist() == [1]
    joined = Condition.cat([BOTH, NULL.expand(2)])
    assert joined["label"].tolist() == [3, 1, 2, 9, 9] and joined.batch == 5
    assert set(joined) == {"label", "text"} and len(joined) == 2 and "label: (5,)" in repr(joined)


def test_dropping_puts_the_null_into_the_chosen_rows_alone() -> None:
    dropped = BOTH.drop(NULL, torch.tensor([False, True, False]))
    assert dropped["label"].tolist() == [3, 9, 2] and dropped["text"].tolist() == [[0, 1], [-1, -1], [4, 5]]
    assert dropped["label"].dtype == torch.int64


def test_conditions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Condition()
    with pytest.raises(ValueError, match="same number of rows"):
        Condition(a=torch.zeros(2), b=torch.zeros(3))
    for wrong in ("one", ["one"], [[1], [2, 3]], None):
        with pytest.raises(ValueError, match="row for each picture"):
            Condition(a=wrong)
    with pytest.raises(ValueError, match="same names"):
        Condition.cat([BOTH, Condition(label=torch.tensor([1]))])
    with pytest.raises(ValueError, match="null condition has"):
        BOTH.drop(Condition(label=torch.tensor([9])), torch.tensor([True, True, True]))
    with pytest.raises(ValueError, match="can't be had for 5"):
        BOTH.expand(5)


def test_a_list_is_read_in_float32_whatever_torchs_default_type_is() -> None:
    for dtype in (torch.bfloat16, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            read = [Condition(t=given)["t"] for given in ([0.1, 1001.0], (0.1, 1001.0), [np.float64(0.1), np.float64(1001.0)])]
        finally:
            torch.set_default_dtype(torch.float32)
        for t in read:
            assert t.dtype == torch.float32 and torch.equal(t, torch.tensor([0.1, 1001.0]))


def test_a_condition_on_the_meta_device_is_refused() -> None:
    with pytest.raises(ValueError, match="condition 'label' is on the meta device"):
        Condition(label=torch.zeros(2, dtype=torch.int64, device="meta"))
