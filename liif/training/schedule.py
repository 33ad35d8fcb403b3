"""The learning rate as a function of the step."""

import math

from liif.training.config import TrainConfig


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Of the update that follows `step` finished ones: rising in a line over the first `warm_up`,
    then falling in halves at milestones, or along half a cosine down to nothing at the end
    (Loshchilov and Hutter, SGDR, ICLR 2017, without restarts)."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    if config.schedule == "cosine":
        done = (step - config.warm_up) / (config.steps - config.warm_up)
        return config.learning_rate * (1 + math.cos(math.pi * done)) / 2
    passed = sum(step >= milestone for milestone in config.milestones)
    return config.learning_rate * config.decay**passed
