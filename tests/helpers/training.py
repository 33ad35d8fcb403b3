"""States of a training run, from its configuration."""

import torch

from liif.training.schedule import Schedule
from liif.training.state import new_state


def state_of(config, device=None):
    """The state before the first step of a run."""
    return new_state(
        config.model,
        seed=config.seed,
        init=config.init,
        device=device or torch.device("cpu"),
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        bf16=config.precision == "bf16",
        ema=config.ema,
    )


def schedule_of(config):
    """The learning rate of a run."""
    return Schedule(
        config.learning_rate, config.schedule, config.steps, config.warm_up, config.milestones,
        config.decay,
    )  # fmt: skip
