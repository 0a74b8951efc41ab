"""The exception for mistakes in a user's input."""

SHOWN = 160  # characters of a value that a message shows


class PqmError(Exception):
    """A mistake in the user's input. The message is one sentence: file, row or key, and what was expected."""


def shortened(value: object) -> str:
    """A value as Python writes it, for a message; of a long one only the beginning and the end, on one line."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} .. {text[-SHOWN // 4 :]}"
