"""Local Implicit Image Functions: arbitrary-scale super-resolution."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liif.core.errors import UserError
    from liif.hub.catalog import list_models
    from liif.hub.pretrained import load
    from liif.models.model import SRModel

__version__ = "0.2.0"
__all__ = ["SRModel", "UserError", "list_models", "load"]


def __getattr__(name: str) -> object:
    """Import a public name on first use: importing PyTorch takes a second, which `liif --help`
    does not need."""
    from importlib import import_module

    modules = {
        "SRModel": "liif.models.model",
        "UserError": "liif.core.errors",
        "list_models": "liif.hub.catalog",
        "load": "liif.hub.pretrained",
    }
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(modules[name]), name)
