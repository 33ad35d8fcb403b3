"""The folder of a data set on this machine."""

import os
from pathlib import Path


def data_path(root: str | None, path: str) -> Path:
    """Resolve a path of a configuration: absolute, `builtin:NAME` for the photographs in the
    package, or relative to the data root, which is `root`, else $LIIF_DATA, else datasets/."""
    if path.startswith("builtin:"):
        return Path(__file__).parent.parent / "photos" / path.removeprefix("builtin:")
    base = os.path.expanduser(root or os.environ.get("LIIF_DATA") or "datasets")
    return Path(base, os.path.expanduser(path))
