"""Local Implicit Image Functions: super-resolution of any scale."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liif.core.errors import UserError
    from liif.hub.pretrained import load
    from liif.models.model import SRModel

__version__ = "0.2.0"
__all__ = ["SRModel", "UserError", "load"]


def __getattr__(name: str) -> object:
    """The public names, imported when they are asked for: PyTorch takes a second, and
    `liif --help` does not need it."""
    from importlib import import_module

    places = {
        "SRModel": "liif.models.model",
        "UserError": "liif.core.errors",
        "load": "liif.hub.pretrained",
    }
    if name not in places:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(places[name]), name)
