"""`python scripts/train.py …` is `liif train …`."""

import sys

from liif.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
