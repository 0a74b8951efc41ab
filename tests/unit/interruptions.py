"""Interrupting a process at a chosen call, and comparing its files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


class Killed(BaseException):
    pass


def killed_after(count: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function; it raises `Killed` at the end of its `count`-th call."""
    calls = 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        result = function(*arguments, **options)
        if calls == count:
            raise Killed
        return result

    return call


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
