"""Progress bars that show rate and time left on a terminal and stay quiet elsewhere."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], title: str, unit: str, total: int | None = None) -> "tqdm[Item]":
    """`items` with a bar on standard error; no output where that is not a terminal."""
    return tqdm(items, desc=title, unit=unit, total=total, disable=not sys.stderr.isatty(), dynamic_ncols=True)


def say(message: str) -> None:
    """One line for the log."""
    tqdm.write(message, file=sys.stderr)
