"""Progress bars and log lines, both on standard error."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], title: str, unit: str) -> "tqdm[Item]":
    """Iterate over `items` with a progress bar (rate, time left); it is hidden if standard error is not a terminal."""
    return tqdm(items, desc=title, unit=unit, disable=not sys.stderr.isatty(), dynamic_ncols=True)


def say(message: str) -> None:
    """Write one line to the log without breaking a progress bar."""
    tqdm.write(message, file=sys.stderr)
