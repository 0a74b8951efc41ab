"""The one exception that users are meant to read."""


class PqmError(Exception):
    """A mistake in the user's input, told in one sentence: file, row or key, what was expected."""
