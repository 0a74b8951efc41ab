"""The exception for mistakes in a user's input."""


class PqmError(Exception):
    """A mistake in the user's input. The message is one sentence: file, row or key, and what was expected."""
