"""`python -m trireid`: the command line."""

import sys

from trireid.cli import main

sys.exit(main())
