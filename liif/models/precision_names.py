"""The names of precisions, for command lines and configurations; precision.py explains them."""

from typing import Literal, get_args

UsedPrecision = Literal["float32", "tf32", "bf16", "fp16"]
Precision = Literal["auto", "float32", "tf32", "bf16", "fp16", "bf16!", "fp16!"]
"""What can be asked for (fastest.py): "auto" is the fastest on the device; half precision is used
where it is faster than float32, and anywhere with an exclamation mark."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
