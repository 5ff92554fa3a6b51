"""``python -m noisepath`` is the ``noisepath`` command."""

import sys

from noisepath.cli import main

if __name__ == "__main__":
    sys.exit(main())
