"""Verbs of `pqm study`."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Create and check studies.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the study and of its folders in config/, data/ and results/.")],
    start: Annotated[str, typer.Option("--from", help="Study to copy.")] = "tiny",
) -> None:
    """Create a study as a copy of another one."""
    from pqm.workflow.study_files import new_study

    typer.echo(f"{new_study(name, start)}: edit it, then: pqm study check {name}")


@app.command()
def check(name: Annotated[str, typer.Argument(help="Name of the study.")]) -> None:
    """Print all faults of a study, without starting a workflow."""
    from pqm.workflow.study_files import check_study

    check_study(name)
    typer.echo(f"study {name}: no faults found")


@app.command()
def dvc(name: Annotated[str, typer.Argument(help="Name of the study.")]) -> None:
    """Write the study's DVC stages, config/STUDY/dvc.yaml."""
    from pqm.workflow.study_files import write_dvc

    typer.echo(write_dvc(name))


@app.command()
def schema() -> None:
    """Write the JSON schema and the reference of all settings.

    The schema is config/study.schema.json, for editors, and the reference is docs/settings.md.
    """
    from pqm.workflow.study_files import write_reference

    for path in write_reference():
        typer.echo(path)
