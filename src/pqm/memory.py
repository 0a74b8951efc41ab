"""What to do when a device's memory is full: the same work again, in smaller parts."""

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def fits(run: Callable[[], Result]) -> Result | None:
    """What `run` returns, or None where memory ran out.

    The caller tries again outside the `except` block, whose traceback would keep the failed try's tensors alive.
    """
    try:
        return run()
    except torch.OutOfMemoryError:
        return None
