"""What a training step sees: batches of pictures that are functions of (seed, sample) alone, read ahead by workers or not.

A picture that can't be read is replaced by another one, chosen by a hash of (seed, sample): so a run that is resumed shows
what the first one would have shown, with any number of workers.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

import torch
from torch import Tensor

from noisepath import noise
from noisepath.data.dataset import Data
from noisepath.data.files import refuse_if_too_many

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Bad", "Batch", "Steps", "Stream", "show"]

MOST_TRIES = 100

_Sent: TypeAlias = "tuple[NDArray[Any], NDArray[Any] | None, tuple[int, ...], tuple[tuple[int, str], ...]]"


@dataclass(frozen=True)
class Batch:
    """Pictures of a step, their labels, which ones they are, and which could not be shown in their place (index, why)."""

    x: Tensor
    labels: Tensor | None
    shown: tuple[int, ...]
    bad: tuple[tuple[int, str], ...] = ()


def show(data: Data, seed: int, samples: Sequence[int], flip: bool = False) -> Batch:
    """What a run with this seed sees as its n-th pictures, for each n of ``samples``.

    Raises:
        ValueError: a hundred pictures tried in place of a bad one are bad as well.
    """
    wanted = data.shown(seed, samples)
    bad: dict[int, str] = {}
    try:
        x, labels = data.batch(wanted)
    except ValueError:
        found = [_good(data, seed, n, index, bad) for n, index in zip(samples, wanted, strict=True)]
        wanted = [index for index, _ in found]
        x = torch.cat([picture for _, picture in found])
        labels = None if data.labels is None else data.labels[wanted]
    if flip:
        turned = noise.uniform(noise.key(seed, "flip"), samples) < 0.5
        x = torch.where(turned[:, None, None, None], x.flip(-1), x)
    return Batch(x, labels, tuple(wanted), tuple(bad.items()))


def _good(data: Data, seed: int, n: int, index: int, bad: dict[int, str]) -> tuple[int, Tensor]:
    """What sample n shows: picture ``index``, or if it is bad the first good one of a row that (seed, n) determines."""
    for k in range(1, MOST_TRIES + 2):
        try:
            return index, data.batch([index])[0]
        except ValueError as error:
            bad[index] = getattr(error, "reason", str(error))
            index = noise.key(seed, n, "instead", k) % len(data)
    name, reason = data.names[next(reversed(bad))], bad[next(reversed(bad))]
    raise ValueError(f"{MOST_TRIES} pictures tried in place of a bad one are bad as well, the last {name!r}: {reason}")


@dataclass(frozen=True)
class Steps(Sequence[Sequence[int]]):
    """The batches of the steps first .. last - 1, of which ``samples(step)`` says which samples are in it."""

    samples: Callable[[int], Sequence[int]]
    first: int
    last: int

    def __len__(self) -> int:
        return max(0, self.last - self.first)

    def __getitem__(self, place: Any) -> Any:
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self.samples(self.first + place)


class Stream:
    """The batches of a run, one after another; the same ones, to the bit, with any number of workers.

    Args:
        data: what is shown.
        seed: the run's.
        batches: the samples of each batch: a list of lists, or :class:`Steps`.
        flip: show half of the samples mirrored.
        workers: processes that prepare batches meanwhile; they ignore SIGINT and SIGTERM, which are the run's to answer.
    """

    def __init__(
        self, data: Data, seed: int, batches: Sequence[Sequence[int]], *, flip: bool = False, workers: int = 0
    ) -> None:
        self._shown = _Shown(data, seed, batches, flip)
        self.workers = workers if workers and _processes_can_talk() else 0
        self._items: Iterator[Any] | None = self._begin()

    def _begin(self) -> Iterator[Any]:
        if not self.workers:
            return (self._shown.answer(place) for place in range(len(self._shown)))
        from torch.utils.data import DataLoader

        loader: DataLoader[Any] = DataLoader(
            cast(Any, self._shown),
            batch_size=None,
            sampler=range(len(self._shown)),
            num_workers=self.workers,
            prefetch_factor=2,
            worker_init_fn=_begin_worker,
            # forked workers fill the memory of decoded pictures for all; elsewhere each process has its own
            multiprocessing_context="fork" if sys.platform == "linux" else None,
            collate_fn=cast(Any, _as_it_is),
            generator=torch.Generator(),  # its own, so that torch's global draws stay where they are
        )
        with _signals_held_back():
            return iter(loader)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if self._items is None:
            raise StopIteration
        try:
            answer = next(self._items)
        except StopIteration:
            self.close()
            raise
        if isinstance(answer, str):
            self.close()
            raise ValueError(answer)
        return answer if isinstance(answer, Batch) else _received(*answer)

    def close(self) -> None:
        """End the workers; there are no more batches."""
        self._items = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Shown:
    """Place in the run -> batch; a request that can't be met is answered with its text, which any process can send."""

    def __init__(self, data: Data, seed: int, batches: Sequence[Sequence[int]], flip: bool) -> None:
        self.data, self.seed, self.batches, self.flip = data, seed, batches, flip

    def __len__(self) -> int:
        return len(self.batches)

    def answer(self, place: int) -> Batch | str:
        """The batch at this place of the run, or why there is none."""
        try:
            return show(self.data, self.seed, self.batches[place], self.flip)
        except ValueError as error:
            return str(error)

    def __getitem__(self, place: int) -> _Sent | str:
        answer = self.answer(place)
        if isinstance(answer, str):
            return answer
        labels = None if answer.labels is None else answer.labels.numpy()
        return answer.x.numpy(), labels, answer.shown, answer.bad


def _received(x: NDArray[Any], labels: NDArray[Any] | None, shown: tuple[int, ...], bad: tuple[tuple[int, str], ...]) -> Batch:
    return Batch(torch.from_numpy(x), None if labels is None else torch.from_numpy(labels), shown, bad)


def _as_it_is(answer: _Sent | str) -> _Sent | str:
    """In place of torch's conversion to tensors, which would go through shared-memory files: numpy's arrays need none."""
    return answer


def _begin_worker(_: int) -> None:
    """A worker leaves signals to the run, which ends its workers itself, and leaves the other cores to the network."""
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """SIGINT and SIGTERM wait until this is over, so that a worker that is just being started does not die of them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _processes_can_talk() -> bool:
    """Whether worker processes can be had: without shared semaphores (no /dev/shm) the run reads its pictures itself."""
    try:
        multiprocessing.get_context("fork" if sys.platform == "linux" else None).Lock()
    except (OSError, ImportError) as error:
        warnings.warn(f"no worker processes ({error}): the run reads its pictures itself", RuntimeWarning, stacklevel=3)
        return False
    return True


class Bad:
    """The ledger of pictures that could not be shown; more than 1 % of them end the run."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._found: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._found)

    def note(self, batch: Batch) -> list[str]:
        """Write down a batch's bad pictures; gives the names of those not seen before.

        Raises:
            ValueError: more than 1 % of all pictures are bad; the first 20 are listed.
        """
        new = [(index, reason) for index, reason in batch.bad if index not in self._found]
        self._found.update(new)
        names = self._data.names
        if new:
            refuse_if_too_many([(names[index], reason) for index, reason in self._found.items()], len(self._data))
        return [names[index] for index, _ in new]

    def names(self) -> list[str]:
        """The bad pictures so far, in the order they were met."""
        return [self._data.names[index] for index in self._found]

    def state(self) -> list[list[int | str]]:
        """For a checkpoint: index and reason of each."""
        return [[index, reason] for index, reason in self._found.items()]

    def restore(self, state: Sequence[Sequence[int | str]]) -> None:
        """Go on from a checkpoint's state."""
        self._found = {int(index): str(reason) for index, reason in state}
