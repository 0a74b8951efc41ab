"""Saving and loading the state of an unfinished training, from which the same command resumes."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.progress import say


@dataclass
class TrainingState:
    """The progress of a training; accelerate saves model and optimizer in the same folder.

    Attributes:
        step: number of finished steps.
        log: the rows of the training curve.
        losses: the losses since the last row.
    """

    step: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def resume(accelerator: Accelerator, cache: ShardCache) -> TrainingState:
    """Load the latest saved state, or return a new one if there is none."""
    states = sorted(cache.path.glob("state-*"))
    if not states:
        return TrainingState()
    accelerator.load_state(str(states[-1]))
    state = TrainingState(**json.loads((states[-1] / "progress.json").read_text()))
    if accelerator.is_main_process:
        say(f"continuing from step {state.step}")
    return state


def save_state(accelerator: Accelerator, cache: ShardCache, state: TrainingState) -> None:
    """Save the state of all processes to one folder, atomically, and remove earlier ones."""
    folder = cache.path / f"state-{state.step:08d}"
    with formats.whole_folder(folder) if accelerator.is_main_process else nullcontext() as part:
        shared = Path(broadcast_object_list([str(part)])[0])
        accelerator.save_state(str(shared))
        if accelerator.is_main_process:
            (shared / "progress.json").write_text(json.dumps(asdict(state)))
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for earlier in set(cache.path.glob("state-*")) - {folder}:
            shutil.rmtree(earlier)
    accelerator.wait_for_everyone()
