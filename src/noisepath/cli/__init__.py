"""The ``noisepath`` command: ``options`` what can be said (no torch needed), ``commands`` and ``demo`` what is then done.

A request that can't be met ends in one line on standard error and exit code 2; Ctrl-C ends with 130, SIGTERM with 143, and
a run whose last checkpoint could not be written with 3.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command with ``args`` (the process's own if not given); the exit code is given back."""
    try:
        from noisepath.training.signals import terminable

        with terminable():
            _run(sys.argv[1:] if args is None else args)
    except BrokenPipeError:  # whoever read the output has gone, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except (ValueError, OSError) as error:
        print(f"noisepath: {printable(_shortened(' '.join(str(error).split())))}", file=sys.stderr)
        return int(getattr(error, "exit_code", 2))
    except KeyboardInterrupt as stop:
        print(f"\nnoisepath: {str(stop) or 'stopped'}", file=sys.stderr)
        return 128 + int(getattr(stop, "signum", 2))
    return 0


def _run(args: Sequence[str]) -> None:
    from noisepath.cli.options import Doctor
    from noisepath.cli.parsing import parse

    command = parse(args)
    if isinstance(command, Doctor):  # works where torch itself is broken
        from noisepath.cli import doctor

        doctor.run(command)
        return
    from noisepath.cli import commands  # torch comes in here: --help and typing errors need not wait for it

    commands.run(command)


def _shortened(text: str, most: int = 2000) -> str:
    """Both ends of a line that is too long to be read: what was given may be a file's worth."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def printable(text: str) -> str:
    """Text that any terminal takes: names of files can hold bytes that are no characters."""
    encoding = sys.stderr.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
