"""`python -m liif` is the same as the command `liif`."""

import sys

from liif.cli import main

sys.exit(main())
