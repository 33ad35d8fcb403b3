"""`python scripts/tables.py …` is `liif tables …`."""

import sys

from liif.cli import main

if __name__ == "__main__":
    sys.exit(main(["tables", *sys.argv[1:]]))
