"""Configurations of small models."""

TINY = {
    "encoder": {"name": "edsr-baseline", "blocks": 1, "width": 8},
    "decoder": {"name": "liif", "hidden": [16]},
}
