"""Trained models by name, and models in the layout of the Hugging Face Hub."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liif.hub.huggingface import HubModel, hub_model

__all__ = ["HubModel", "hub_model"]


def __getattr__(name: str) -> object:
    """`HubModel` and `hub_model`, imported when they are asked for: they need an extra."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from liif.hub import huggingface

    return getattr(huggingface, name)
