"""Verb `provenance`."""

from pathlib import Path
from typing import Annotated

import typer


def provenance(
    path: Annotated[Path, typer.Argument(help="A table, a figure, a checkpoint or any other output.")],
) -> None:
    """Print the provenance of an output, back to settings, code and seeds, and whether each of them is unchanged."""
    from pqm.provenance.trace import trace

    typer.echo(trace(path))
