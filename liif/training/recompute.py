"""Gradient checkpointing (Chen, Xu, Zhang, Guestrin, "Training Deep Nets with Sublinear Memory
Cost", 2016): activations are computed twice instead of being kept."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(encoder: nn.Module) -> None:
    """Let an encoder keep only the inputs of its blocks for the backward pass, which computes each
    block again. The numbers are the same. Names of parameters and modules do not change."""
    for block in list(blocks_of(encoder)) or [encoder]:
        block.forward = partial(_recomputed, block.forward)


def blocks_of(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of an encoder: the modules with parts of their own in each outermost
    nn.Sequential or nn.ModuleList that holds at least two such modules."""
    if isinstance(module, nn.Sequential | nn.ModuleList):
        blocks = [child for child in module if any(child.children())]
        if len(blocks) > 1:
            yield from blocks
            return
    for child in module.children():
        yield from blocks_of(child)


def _recomputed(forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:  # noqa: ANN401
    if not torch.is_grad_enabled():
        return forward(*inputs, **options)
    return checkpoint(forward, *inputs, use_reentrant=False, **options)
