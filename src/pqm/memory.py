"""Out-of-memory handling: the caller repeats the work in smaller parts."""

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def fits(run: Callable[[], Result]) -> Result | None:
    """Return the result of `run`, or None if the device ran out of memory.

    The caller retries outside the `except` block, because its traceback keeps the failed attempt's tensors alive.
    """
    try:
        return run()
    except torch.OutOfMemoryError:
        return None
