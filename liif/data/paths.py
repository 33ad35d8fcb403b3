"""Where data lies."""

import os
from pathlib import Path


def data_path(root: str | None, path: str) -> Path:
    """A path of a configuration: absolute, `builtin:NAME` for the photographs that come with the
    package, or relative to the data root, which is `root`, else $LIIF_DATA, else datasets/."""
    if path.startswith("builtin:"):
        return Path(__file__).parent.parent / "photos" / path.removeprefix("builtin:")
    base = os.path.expanduser(root or os.environ.get("LIIF_DATA") or "datasets")
    return Path(base, os.path.expanduser(path))
