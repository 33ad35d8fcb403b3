"""Options of `liif download`, the earlier name of `liif data download`."""

import argparse

EXAMPLE = "div2k"


def arguments(parser: argparse.ArgumentParser) -> None:
    name_arguments(parser)
    parser.add_argument("--list", action="store_true", help="only list the data sets")


def name_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `liif data download`."""
    text = "data sets or parts of them, e.g. div2k, div2k-valid, benchmark (see liif data list)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=text)
    text = "folder of the data sets (default: $LIIF_DATA, else datasets/)"
    parser.add_argument("--data-root", metavar="DIR", help=text)
    text = "download the archives from this web folder instead of the known mirrors"
    parser.add_argument("--from", dest="mirror", metavar="URL", help=text)
    parser.add_argument("--keep", action="store_true", help="keep the archives after unpacking")
