"""`python -m liif` is the command `liif`."""

import sys

from liif.cli import main

sys.exit(main())
