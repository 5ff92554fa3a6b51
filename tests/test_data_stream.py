"""What a training step sees is a function of (seed, sample): not of workers, of where a run began, or of what is broken."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from noisepath import noise
from noisepath.data import Bad, Batch, Data, DataConfig, Dataset, Steps, Stream, digits, open_data, show
from noisepath.data import files as files_module

COUNT, BAD = 120, (17,)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """120 pictures in two classes, one of them broken."""
    random = np.random.default_rng(0)
    for i in range(COUNT):
        path = tmp_path / "photos" / f"class {i % 2}" / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (6, 6), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def _broken(photos: Path, *indices: int) -> Data:
    data = open_data(DataConfig(str(photos)))
    for index in indices:
        (photos / data.names[index]).write_bytes(b"broken")
    return open_data(DataConfig(str(photos)))


def _same(one: Batch, two: Batch) -> bool:
    labels = one.labels is two.labels or torch.equal(one.labels, two.labels)  # type: ignore[arg-type]
    return torch.equal(one.x, two.x) and labels and one.shown == two.shown and one.bad == two.bad


def _samples(count: int, size: int = 8) -> list[list[int]]:
    return [list(range(i * size, (i + 1) * size)) for i in range(count)]


def test_a_sample_shows_the_picture_of_its_place_in_the_epoch(photos: Path) -> None:
    for data in (open_data(DataConfig(str(photos))), digits()):
        batch = show(data, 3, [5, 900, 2, 2])
        assert batch.shown == tuple(data.shown(3, [5, 900, 2, 2])) and not batch.bad
        x, labels = data.batch(batch.shown)
        assert torch.equal(batch.x, x) and batch.labels is not None and labels is not None and torch.equal(batch.labels, labels)


def test_half_of_the_samples_are_mirrored_by_a_rule_of_their_own_key() -> None:
    data, samples = digits(), list(range(600))
    plain, flipped = show(data, 1, samples), show(data, 1, samples, flip=True)
    turned = noise.uniform(noise.key(1, "flip"), samples) < 0.5
    assert torch.equal(flipped.x[turned], plain.x[turned].flip(-1)) and torch.equal(flipped.x[~turned], plain.x[~turned])
    assert 250 < int(turned.sum()) < 350
    assert torch.equal(show(data, 1, samples[77:99], flip=True).x, flipped.x[77:99])


def test_a_bad_picture_is_replaced_by_the_first_good_one_of_its_key_s_row(photos: Path) -> None:
    """With 90 of 120 bad, several tries are needed; the row is worked out here from the key once more."""
    data = open_data(DataConfig(str(photos)))
    bad = set(range(90))
    for index in bad:
        (photos / data.names[index]).write_bytes(b"")
    data = open_data(DataConfig(str(photos)), strict=False)
    batch = show(data, 2, range(60))
    met: set[int] = set()
    for n, found in zip(range(60), batch.shown, strict=True):
        row = [data.shown(2, [n])[0], *(noise.key(2, n, "instead", k) % COUNT for k in range(1, 101))]
        tried = row[: [index in bad for index in row].index(False) + 1]
        assert found == tried[-1]
        met.update(tried[:-1])
    assert {index for index, _ in batch.bad} == met and {reason for _, reason in batch.bad} == {"the file is empty"}
    assert torch.equal(batch.x, data.batch(batch.shown)[0])
    for n in (0, 31):  # alone as in company
        alone = show(data, 2, [n])
        assert alone.shown == batch.shown[n : n + 1] and torch.equal(alone.x[0], batch.x[n])


def test_after_a_hundred_bad_tries_the_last_is_named(photos: Path) -> None:
    data = open_data(DataConfig(str(photos)))
    for name in data.names:
        (photos / name).write_bytes(b"")
    data.memory.held[:] = 0  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"^100 pictures tried .* the last 'class \d/\d+\.png': the file is empty$"):
        show(data, 0, [0, 1])


def test_a_hundred_tries_are_made_and_no_more(photos: Path) -> None:
    data = open_data(DataConfig(str(photos)))

    def row(n: int) -> list[int]:
        return [data.shown(0, [n])[0], *(noise.key(0, n, "instead", k) % COUNT for k in range(1, 102))]

    for tries, reached in ((100, True), (101, False)):
        n = next(n for n in range(999) if row(n).index(row(n)[tries]) == tries)
        good = row(n)[tries]
        data.memory.bad.update({i: "broken" for i in range(COUNT)})  # type: ignore[attr-defined]
        del data.memory.bad[good]  # type: ignore[attr-defined]
        if reached:
            assert show(data, 0, [n]).shown == (good,)
        else:
            with pytest.raises(ValueError, match="100 pictures tried"):
                show(data, 0, [n])


@pytest.mark.parametrize("flip", [False, True])
def test_batches_are_equal_to_the_bit_with_any_number_of_workers(photos: Path, flip: bool) -> None:
    wanted = _samples(12)
    data = _broken(photos, *BAD)
    expected = [show(data, 4, samples, flip) for samples in wanted]
    assert any(batch.bad for batch in expected)
    for workers in (0, 1, 2):
        with Stream(open_data(DataConfig(str(photos))), 4, wanted, flip=flip, workers=workers) as stream:
            found = list(stream)
        assert stream.workers == workers and len(found) == len(expected)
        assert all(_same(one, two) for one, two in zip(found, expected, strict=True))


def test_data_in_memory_streams_as_well_and_workers_leave_torch_s_global_draws_alone() -> None:
    data = Dataset(torch.rand(20, 1, 3, 3) * 2 - 1)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    with Stream(data, 0, _samples(4), workers=1) as stream:
        found = list(stream)
    assert torch.equal(torch.rand(3), expected)
    assert all(_same(one, show(data, 0, samples)) for one, samples in zip(found, _samples(4), strict=True))


def _eight_from(step: int) -> list[int]:
    return list(range(8 * step, 8 * step + 8))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_goes_on_at_a_step_sees_what_it_would_have_seen(photos: Path, workers: int) -> None:
    data = open_data(DataConfig(str(photos)))
    whole = list(Stream(data, 0, Steps(_eight_from, 0, 10)))
    rest = list(Stream(data, 0, Steps(_eight_from, 6, 10), workers=workers))
    assert len(whole) == 10 and all(_same(one, two) for one, two in zip(rest, whole[6:], strict=True))


def test_what_workers_decode_is_in_the_run_s_memory(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "SAMPLE", 2)
    data = open_data(DataConfig(str(photos)))
    with Stream(data, 0, _samples(15), workers=2) as stream:
        for _ in stream:
            pass
    assert data.memory.held.all()  # type: ignore[attr-defined]


def _ends(process: int, seconds: float = 10.0) -> bool:
    """Whether a process has gone, or goes soon."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(child.pid == process for child in multiprocessing.active_children()):
            return True
        time.sleep(0.01)
    return False


def test_workers_ignore_signals_and_end_when_the_stream_is_closed(photos: Path) -> None:
    stream = Stream(open_data(DataConfig(str(photos))), 0, _samples(40), workers=2)
    first = next(stream)
    workers = [child.pid for child in multiprocessing.active_children()]
    assert len(workers) == 2
    for worker in workers:
        assert worker is not None
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
    rest = list(stream)
    assert len([first, *rest]) == 40
    stream.close()
    assert all(worker is not None and _ends(worker) for worker in workers)
    again = Stream(open_data(DataConfig(str(photos))), 0, _samples(40), workers=1)
    next(again)
    worker = multiprocessing.active_children()[0].pid
    again.close()
    assert worker is not None and _ends(worker) and list(again) == []


def test_starting_workers_leaves_the_run_s_own_answers_to_signals(photos: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with Stream(open_data(DataConfig(str(photos))), 0, _samples(2), workers=1):
        after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert before == after


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_is_the_run_s_own_error(photos: Path, workers: int) -> None:
    data = open_data(DataConfig(str(photos)))
    for name in data.names:
        (photos / name).write_bytes(b"")
    data.memory.held[:] = 0  # type: ignore[attr-defined]
    stream = Stream(data, 0, _samples(3), workers=workers)
    with pytest.raises(ValueError, match="^100 pictures tried in place of a bad one are bad as well"):
        next(stream)
    assert list(stream) == []


def test_without_shared_semaphores_the_run_reads_its_pictures_itself(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("multiprocessing.synchronize.Lock", refuse)
    data = open_data(DataConfig(str(photos)))
    with pytest.warns(RuntimeWarning, match="no worker processes"), Stream(data, 0, _samples(3), workers=2) as stream:
        assert stream.workers == 0 and len(list(stream)) == 3


def _batch(*bad: tuple[int, str]) -> Batch:
    return Batch(torch.zeros(1, 1, 2, 2), None, (0,), bad)


def test_the_ledger_counts_each_bad_picture_once_and_ends_a_run_at_more_than_one_percent() -> None:
    data = Dataset(torch.zeros(300, 1, 2, 2))
    ledger = Bad(data)
    assert ledger.note(_batch()) == [] and len(ledger) == 0
    assert ledger.note(_batch((7, "x"), (9, "y"))) == ["picture 7", "picture 9"]
    assert ledger.note(_batch((7, "x"))) == [] and len(ledger) == 2
    assert ledger.note(_batch((8, "z"))) == ["picture 8"] and ledger.names() == ["picture 7", "picture 9", "picture 8"]
    again = Bad(data)
    again.restore(ledger.state())
    for one in (ledger, again):
        with pytest.raises(ValueError, match=r"^4 of 300 .*picture 7: x; picture 9: y; picture 8: z; picture 0: w$"):
            one.note(_batch((0, "w")))


def test_steps_are_a_sequence_of_the_steps_asked_for() -> None:
    steps = Steps(_eight_from, 3, 5)
    assert len(steps) == 2 and list(steps) == [_eight_from(3), _eight_from(4)]
    assert len(Steps(_eight_from, 5, 3)) == 0
    with pytest.raises(IndexError):
        steps[2]
