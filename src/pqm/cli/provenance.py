"""Verb `provenance`."""

from pathlib import Path
from typing import Annotated

import typer


def provenance(
    path: Annotated[Path, typer.Argument(help="A table, a figure, a checkpoint or any other output.")],
) -> None:
    """Print where an output comes from, and what has changed.

    The provenance goes back to settings, code and seeds, each with its state.
    """
    from pqm.provenance.trace import trace

    typer.echo(trace(path))
