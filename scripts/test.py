"""`python scripts/test.py …` is `liif test …`."""

import sys

from liif.cli import main

if __name__ == "__main__":
    sys.exit(main(["test", *sys.argv[1:]]))
