"""``python -m edgepart`` is the command line."""

import sys

from edgepart.cli import main

sys.exit(main())
