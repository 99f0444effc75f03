"""Checkpoints of a training by time, and the last complete one of a folder."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from croc.errors import InputError
from croc.storage.files import read_json

_NAME = re.compile(r"checkpoint-(\d+)")
_LAST_WRITTEN = "trainer_state.json"
"""The Trainer writes it after weights, optimiser and random numbers."""


def timed_checkpoints(minutes: float, clock: Callable[[], float] = time.monotonic) -> Any:
    """A callback of a trainer that saves a checkpoint whenever so many minutes have passed.

    Args:
        minutes: between two checkpoints, from the start of the training.
        clock: seconds.
    """
    from transformers import TrainerCallback

    class TimedCheckpoints(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.saved = clock()

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
            now = clock()
            due = now - self.saved >= 60 * minutes
            if args.world_size > 1:
                # All processes save together, so that one clock decides.
                from accelerate.utils import broadcast_object_list

                (due,) = broadcast_object_list([due])
            if due:
                self.saved = now
                control.should_save = True
            return control

    return TimedCheckpoints()


def last_checkpoint(folder: str | Path) -> Path | None:
    """The last checkpoint that a training wrote completely; None if there is none."""
    found = {
        int(match[1]): place
        for place in Path(folder).glob("checkpoint-*")
        if (match := _NAME.fullmatch(place.name)) and is_complete(place)
    }
    return found[max(found)] if found else None


def is_complete(checkpoint: Path) -> bool:
    """Whether the trainer's state was written to its end; an interrupt may leave a part of it."""
    try:
        return read_json(checkpoint / _LAST_WRITTEN) is not None
    except InputError:
        return False
