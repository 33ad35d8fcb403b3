"""Checkpoints of the official ITSRN code (codyshen0000/ITSRN), whose model is named "ITNSR"."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.foreign.encoders import encoder_config, is_unused
from liif.models.foreign.switches import check_switches, hidden_of

ONLY = {
    "embedding_coord": None,
    "embedding_scale": None,
    "local_ensemble": True,
    "feat_unfold": True,
    "scale_token": True,
}
"""The only supported value of each switch."""
NAMES = {"imnet.layers.": "imnet.", "Score.layers.": "score.", "Weight.layers.": "blend."}


def from_itsrn(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "ITNSR". Raises ValueError for switches that are
    not known, and for parts of the model that are switched off."""
    check_switches(name, args, {"encoder_spec", "imnet_spec"}, ONLY)
    encoder, _ = encoder_config(args["encoder_spec"])
    hidden = hidden_of(name, args["imnet_spec"], "gelu", default="sine")
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        if is_unused(key):
            continue
        for theirs, ours in NAMES.items():
            if key.startswith(theirs):
                key = f"decoder.{ours}{key.removeprefix(theirs)}"
        found[key] = value
    return {"encoder": encoder, "decoder": {"name": "itsrn", "hidden": hidden}}, found
