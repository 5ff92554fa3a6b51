"""The ``noisepath`` command: ``options`` what can be said (no torch needed), ``commands`` and ``demo`` what is then done.

A request that can't be met ends in one line on standard error and exit code 2; Ctrl-C ends with 130.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command with ``args`` (the process's own if not given); the exit code is given back."""
    try:
        from noisepath.cli.options import parse

        command = parse(sys.argv[1:] if args is None else args)
        from noisepath.cli import commands  # torch comes in here: --help and typing errors need not wait for it

        commands.run(command)
    except (ValueError, OSError) as error:
        print(f"noisepath: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nnoisepath: stopped", file=sys.stderr)
        return 130
    return 0
