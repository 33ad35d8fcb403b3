"""The learning rate as a function of the step."""

import math
from typing import Literal, NamedTuple


class Schedule(NamedTuple):
    """Linear warm-up, then a fall in steps, along a cosine, or along a line at the end."""

    learning_rate: float
    kind: Literal["milestones", "cosine", "wsd"]
    steps: int
    warm_up: int = 0
    """Steps of the linear warm-up."""
    milestones: tuple[int, ...] = ()
    """Steps after which the rate is multiplied by `decay`."""
    decay: float = 0.5
    cool_down: int = 0
    """Last steps, over which `wsd` falls to zero."""

    def at(self, step: int) -> float:
        """Return the learning rate of the update that follows `step` finished ones.

        The cosine falls to zero after the last step (Loshchilov and Hutter, SGDR, ICLR 2017,
        without restarts). Under `wsd` the rate stays the same until its cool-down (Hu et al.,
        MiniCPM, 2024, sec. 4: warm-up, stable, decay), so that a run can be made longer, from a
        checkpoint before that.
        """
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        if self.kind == "cosine":
            done = min(1, (step - self.warm_up) / max(1, self.steps - self.warm_up))
            return self.learning_rate * (1 + math.cos(math.pi * done)) / 2
        if self.kind == "wsd":
            left = (self.steps - step) / self.cool_down if self.cool_down else 1.0
            return self.learning_rate * max(0.0, min(1.0, left))
        passed = sum(step >= milestone for milestone in self.milestones)
        return self.learning_rate * self.decay**passed


def is_due(step: int, every: int, last: int, done: int = 0) -> bool:
    """Return whether something that happens every `every` steps, and after the `last`, happens
    after `step` finished ones; `done` is the step at which it happened before."""
    return step > done and (step % every == 0 or step == last)
