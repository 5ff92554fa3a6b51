"""The one loop that runs every tableau, and the wrappers around its iterator.

:func:`iterate` yields an :class:`Event` for each node.  Progress, callbacks, cancelling and the finite check take such
an iterator and give one back, so the loop itself knows none of them.  A run, its denoiser's side, is a callable
``run(x, level) -> D`` or ``Moved(x', D)``, with x and D of one shape (B, *).

Before it starts, the table is turned into a flat list of operations: which state dies where (its memory becomes the next
one's), which output and draw is let go when.  Between two calls of the denoiser there is then nothing but the
arithmetic, in place; nothing waits for the device, and nothing is kept outside the iterator, so runs may interleave.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ._lazy import torch
from .denoiser import Moved, WrongOutput
from .errors import shown
from .levels import Level
from .tableau import Draw, Tableau, check, draws

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Cancelled",
    "Event",
    "Noise",
    "Plan",
    "Run",
    "cancellable",
    "iterate",
    "observed",
    "places",
    "plan",
    "proven_finite",
    "reported",
    "run_loop",
]

Run = Callable[["Tensor", Level], "Tensor | Moved"]
Noise = Callable[[Draw], "Tensor"]


class Event(NamedTuple):
    """A node that has just been computed.  ``x`` and ``output`` are the run's own memory: clone what is to be kept."""

    node: int
    level: Level
    x: Tensor
    output: Tensor | None  # None where the denoiser is not asked
    nfe: int = 0
    """How often the denoiser has been evaluated so far in this run, this node's evaluation included."""
    total_nfe: int = 0
    """How often it is in the whole run."""


class Cancelled(RuntimeError):
    """A run was stopped on request: ``event`` is the last node it made, ``finished`` the pictures made before this batch."""

    def __init__(self, event: Event, finished: Tensor | None = None) -> None:
        super().__init__(f"cancelled at node {event.node} (alpha={event.level.alpha:g}, sigma={event.level.sigma:g})")
        self.event = event
        self.finished = finished


def run_loop(tableau: Tableau | Plan, run: Run, x: Tensor, noise: Noise | None = None) -> Tensor:
    """The state of the last node; arguments as for :func:`iterate`."""
    for event in iterate(tableau, run, x, noise):
        x = event.x
    return x


def iterate(
    tableau: Tableau | Plan, run: Run, x: Tensor, noise: Noise | None = None, *, overwrite: bool = False
) -> Iterator[Event]:
    """Run the table from the start x (B, *), yielding an Event for each node, node 0 first.

    tableau: or its :func:`plan`, where many runs follow one table.
    run: the denoiser's side, ``(x, level) -> D`` or ``Moved(x', D)``.  The x it is given is overwritten after the call's
        event; an output it gives is never written to, and must stay as it is for as long as the table looks back at it.
    noise: ``place -> unit normals`` of x's shape; needed where the table draws.  One that takes ``out=`` gets memory
        to fill that the run no longer needs.
    overwrite: whether x itself may be overwritten; otherwise it is left as it is.

    Where autograd is on, a gradient reaches all that requires one: x, the draws, and what the denoiser is made of.  From the
    first tensor on that does, nothing is overwritten; a run without one costs the same in either mode.

    States keep x's dtype and device.  ValueError at once where the table can't be run, where it needs noise and there is
    none, and where an output or a draw has not x's shape.
    """
    plans = tableau if isinstance(tableau, Plan) else plan(tableau)
    if plans.draws and noise is None:
        raise ValueError("this tableau draws noise: hand in noise=, a callable from the place of a draw to a tensor")
    return _walk(plans.nodes, run, x, noise, overwrite)


# From table to operations --------------------------------------------------------------------------------------------


class _Made(NamedTuple):
    """How one node is made: ``base * scale`` plus the rest, and what is let go afterwards."""

    source: str  # the base: "x", a state; "D", an output; "", nothing
    base: int
    scale: float
    in_place: bool  # the base is a state that dies here: its memory becomes the new state
    into: int  # else, a dead state whose memory may be taken, or -1
    states: Iterable[tuple[int, float]]
    outputs: Iterable[tuple[int, float]]
    draws: Iterable[tuple[Draw, float, bool]]  # place, weight, is this its last use?
    drop_states: Sequence[int]
    drop_outputs: Sequence[int]


@dataclass(frozen=True)
class Plan:
    """A table as operations, checked and ready to run any number of times."""

    nodes: list[tuple[Level, bool, _Made | None]]  # level, is the denoiser asked, how it is made (node 0: given)
    draws: list[Draw]


def plan(tableau: Tableau) -> Plan:
    """The operations of a table; ValueError where it can't be run."""
    check(tableau)
    return Plan(_operations(tableau), draws(tableau))


def _operations(tableau: Tableau) -> list[tuple[Level, bool, _Made | None]]:
    last_state, last_output, last_draw = list(range(len(tableau))), [0] * len(tableau), dict[Draw, int]()
    for n, node in enumerate(tableau):
        for k in node.states:
            last_state[k] = n
        for k in node.outputs:
            last_output[k] = n
        for draw in node.draws:
            last_draw[draw] = n
    nodes: list[tuple[Level, bool, _Made | None]] = [(tableau[0].level, tableau[0].evaluate, None)]
    held = [0]
    for n, node in enumerate(tableau[1:], 1):
        states, outputs = dict(node.states), dict(node.outputs)
        dying = [k for k in states if last_state[k] == n]
        source, base, scale, into = "", -1, 0.0, -1
        if states:
            base = max(dying or states)
            source, scale = "x", states.pop(base)
        elif outputs:
            base = max(outputs)
            source, scale = "D", outputs.pop(base)
        if not dying:  # a state that only the denoiser still wanted
            into = next((k for k in held if last_state[k] < n), -1)
        gone = [k for k in held if last_state[k] <= n]
        drop = [k for k in node.outputs if last_output[k] == n]
        made = [(draw, w, last_draw[draw] == n) for draw, w in node.draws.items()]
        rest = states.items(), outputs.items()
        nodes.append((node.level, node.evaluate, _Made(source, base, scale, bool(dying), into, *rest, made, gone, drop)))
        held = [k for k in held if last_state[k] > n]
        held.append(n)
    return nodes


# The loop ------------------------------------------------------------------------------------------------------------


def _walk(
    nodes: list[tuple[Level, bool, _Made | None]], run: Run, x: Tensor, noise: Noise | None, overwrite: bool
) -> Iterator[Event]:
    states: list[Tensor | None] = [None] * len(nodes)
    outputs: list[Tensor | None] = [None] * len(nodes)
    foreign = set() if overwrite else {0}  # states whose memory is not the run's own
    drawn = _Draws(noise, x) if noise is not None else None
    shape, nfe, total = x.shape, 0, sum(asked for _, asked, _ in nodes)
    tracked = _tracked(x)  # whether autograd has seen any of the run's tensors, which must stay as they are then
    for index, (level, asked, made) in enumerate(nodes):
        if made is not None:
            make = _make_anew if tracked else _make
            x = make(made, states, outputs, foreign, x)
            for place, weight, last in made.draws:
                assert drawn is not None
                draw = drawn.take(place, last)
                if tracked or _tracked(draw):
                    x, tracked = torch.add(x, draw, alpha=weight), True
                else:
                    x.add_(draw, alpha=weight)
        output = None
        if asked:
            nfe += 1
            try:
                answer = run(x, level)
            except WrongOutput as error:
                raise ValueError(f"{error}: at {_place(index, level, nodes)}") from None
            if isinstance(answer, Moved):
                if answer.x is not x:
                    foreign.add(index)
                x, output = answer
                if x.shape != shape:
                    raise _wrong_shape("a moved state", x, shape, index, level, nodes)
            else:
                output = answer
            if not isinstance(output, torch.Tensor) or output.shape != shape or output.device != x.device:
                raise _wrong_shape("the denoiser's output", output, shape, index, level, nodes)
            if output.untyped_storage().data_ptr() == x.untyped_storage().data_ptr() and index not in foreign:
                output = output.clone()  # x is overwritten in place, its belief must not be
            outputs[index] = output
            tracked = tracked or _tracked(output) or _tracked(x)
        states[index] = x
        yield Event(index, level, x, output, nfe, total)


def _tracked(x: Tensor) -> bool:
    """Whether autograd records what is done with a tensor."""
    return x.requires_grad and torch.is_grad_enabled()


def _make_anew(
    made: _Made, states: list[Tensor | None], outputs: list[Tensor | None], foreign: set[int], like: Tensor
) -> Tensor:
    """What :func:`_make` gives, in memory of its own throughout."""
    source, base, scale, *_, more_states, more_outputs, _, drop_states, drop_outputs = made
    old = states[base] if source == "x" else outputs[base] if source else None
    x = torch.zeros_like(like) if old is None else torch.mul(old, scale).to(like.dtype)
    for terms, more in ((states, more_states), (outputs, more_outputs)):
        for k, weight in more:
            x = torch.add(x, terms[k], alpha=weight)  # type: ignore[arg-type]
    for k in drop_states:
        states[k] = None
    for k in drop_outputs:
        outputs[k] = None
    return x


def _make(made: _Made, states: list[Tensor | None], outputs: list[Tensor | None], foreign: set[int], like: Tensor) -> Tensor:
    """The new state but for its draws; lets go of what no later node looks at."""
    source, base, scale, in_place, into, more_states, more_outputs, _, drop_states, drop_outputs = made
    old = states[base] if source == "x" else outputs[base] if source else None
    if in_place and base not in foreign:
        assert old is not None
        x = old if scale == 1.0 else old.mul_(scale)
    elif old is None:
        x = torch.zeros_like(like)
    elif into >= 0 and into not in foreign:
        x = torch.mul(old, scale, out=states[into])
    else:
        x = torch.mul(old, scale).to(like.dtype)
    for k, weight in more_states:
        x.add_(states[k], alpha=weight)  # type: ignore[arg-type]
    for k, weight in more_outputs:
        x.add_(outputs[k], alpha=weight)  # type: ignore[arg-type]
    for k in drop_states:
        states[k] = None
    for k in drop_outputs:
        outputs[k] = None
    return x


class _Draws:
    """The draws of one run: each is made once, kept until its last use, and its memory made use of again."""

    def __init__(self, noise: Noise, like: Tensor) -> None:
        self._noise: Callable[..., Tensor] = noise
        self._shape, self._device = like.shape, like.device
        self._fills = _takes_out(noise)
        self._kept: dict[Draw, Tensor] = {}
        self._free: list[Tensor] = []

    def take(self, place: Draw, last: bool) -> Tensor:
        """The draw of a place, on the run's device; after its ``last`` use the next one may overwrite it."""
        drawn = self._kept.pop(place, None)
        if drawn is None:
            drawn = self._noise(place, out=self._free.pop()) if self._free else self._noise(place)
            if not isinstance(drawn, torch.Tensor):
                raise TypeError(f"noise gives a tensor for each draw, but gave {shown(drawn)} for {place}")
            if drawn.shape != self._shape:
                raise ValueError(
                    f"the draw for {place} has shape {tuple(drawn.shape)}, but the states have {tuple(self._shape)}"
                )
        if not last:
            self._kept[place] = drawn
        elif self._fills and not drawn.requires_grad:
            self._free.append(drawn)
        return drawn if drawn.device == self._device else drawn.to(self._device)


def _takes_out(noise: Noise) -> bool:
    try:
        return "out" in inspect.signature(noise).parameters
    except (TypeError, ValueError):  # some builtins have no signature
        return False


def _wrong_shape(
    what: str, got: object, shape: torch.Size, index: int, level: Level, nodes: Sequence[tuple[Level, bool, object]]
) -> ValueError:
    found = f"shape {tuple(got.shape)}" if isinstance(got, torch.Tensor) else f"type {type(got).__name__}"
    if isinstance(got, torch.Tensor) and got.shape == shape:
        return ValueError(f"{what} is on {got.device}, where the states are not: at {_place(index, level, nodes)}")
    return ValueError(f"{what} has {found}, but the states have shape {tuple(shape)}: at {_place(index, level, nodes)}")


def _place(index: int, level: Level, nodes: Sequence[tuple[Level, bool, object]]) -> str:
    call, total = sum(asked for _, asked, _ in nodes[: index + 1]), sum(asked for _, asked, _ in nodes)
    return f"call {call} of {total} (node {index}, alpha={level.alpha:g}, sigma={level.sigma:g})"


# Wrappers: from one iterator of events to another ---------------------------------------------------------------------


def observed(events: Iterable[Event], *callbacks: Callable[[Event], Any]) -> Iterator[Event]:
    """Call each callback with each event, in order."""
    for event in events:
        for callback in callbacks:
            callback(event)
        yield event


def places(events: Iterable[Event], last: int) -> Iterator[Event]:
    """The events where the denoiser is asked, and the end, node ``last``: what is in between (corrected states, slopes that are
    kept for later steps) is a solver's own affair."""
    for event in events:
        if event.output is not None or event.node == last:
            yield event


def reported(events: Iterable[Event], bar: Any) -> Iterator[Event]:
    """Count the calls of the denoiser on a progress bar (tqdm's ``update``)."""
    for event in events:
        if event.output is not None:
            bar.update()
        yield event


def cancellable(events: Iterable[Event], cancel: Callable[[], bool]) -> Iterator[Event]:
    """Ask ``cancel()`` after each node, and raise :class:`Cancelled` once it says so."""
    for event in events:
        yield event
        if cancel():
            raise Cancelled(event)


def proven_finite(events: Iterable[Event]) -> Iterator[Event]:
    """At the end of the run, raise ValueError naming the first node where an output or the state was NaN or infinite.

    Each node leaves one number on the device, the sum of what it made, and they are looked at once, after the last: so
    nothing is waited for while the run goes on.  A sum is finite just where all its terms are (up to 1e38).
    """
    seen: list[tuple[int, Level, str]] = []
    sums: list[Tensor] = []
    for event in events:
        what, made = ("state", event.x) if event.output is None else ("denoiser's output", event.output)
        seen.append((event.node, event.level, what))
        sums.append(made.detach().sum(dtype=torch.float64 if made.dtype == torch.float64 else torch.float32))
        yield event
    bad = [] if not sums else torch.stack([s.double() if s.device.type != "mps" else s for s in sums]).tolist()
    for (index, level, what), value in zip(seen, bad, strict=True):
        if not math.isfinite(value):
            raise ValueError(
                f"the {what} at node {index} (alpha={level.alpha:g}, sigma={level.sigma:g}) is not finite: the first "
                f"NaN or infinity of this run is there"
            )
