"""Small Thera models with the official code's outputs, and the layout of its checkpoints."""

import numpy as np

from helpers.paths import GOLDEN


def golden(size):
    """The golden data of a small model, and its parameters as nested dictionaries."""
    data = np.load(GOLDEN / f"thera-{size}-small.npz")
    tree = {}
    for path in data.files:
        if path.startswith("params/"):
            *folders, last = path.split("/")
            at = tree
            for folder in folders:
                at = at.setdefault(folder, {})
            at[last] = data[path].astype("f4")
    return data, tree
