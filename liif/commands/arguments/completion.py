"""Options of `liif completion`."""

import argparse

EXAMPLE = "bash > ~/.local/share/bash-completion/completions/liif"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "where the script belongs: for bash see the example; for zsh a file _liif in a folder "
    text += "of $fpath; for fish ~/.config/fish/completions/liif.fish"
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help=text)
