"""Trained models: the catalog, loading by name, the Hugging Face Hub, and export."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liif.hub.huggingface import HubModel, hub_model

__all__ = ["HubModel", "hub_model"]


def __getattr__(name: str) -> object:
    """Import `HubModel` and `hub_model` on first use: they need the extra `hub`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from liif.hub import huggingface

    return getattr(huggingface, name)
