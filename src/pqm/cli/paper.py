"""Verbs of `pqm paper`."""

from pathlib import Path
from typing import Annotated

import typer

from pqm.cli.options import DataFolder, Output, ResultsFolder, StudyFile, StudyOption

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Write tables, figures and the report.")


@app.command()
def table(
    name: Annotated[str, typer.Argument(help="Name of the table.")],
    output: Annotated[Path, typer.Option(help="Folder for {name}.csv, .md and .tex.")],
    study: StudyOption,
    data: DataFolder = None,
    results: ResultsFolder = None,
) -> None:
    """Write one table."""
    from pqm.paper.results import Results
    from pqm.paper.table import make_table

    make_table(name, Results(study, data, results), output)


@app.command()
def headline(table: Annotated[Path, typer.Argument(help="The main table, CSV.")], output: Output) -> None:
    """Write accuracies of the main table, for `dvc metrics`.

    They are those at the largest n, as JSON.
    """
    from pqm.paper.headline import write_headline

    write_headline(table, output)


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="Name of the figure.")],
    output: Annotated[Path, typer.Option(help="Folder for {name}.svg, .png, .pdf and .csv.")],
    study: StudyOption,
    data: DataFolder = None,
    results: ResultsFolder = None,
) -> None:
    """Draw one figure."""
    from pqm.paper.figure import draw_figure
    from pqm.paper.results import Results

    draw_figure(name, Results(study, data, results), output)


@app.command()
def report(output: Output, study: StudyOption, data: DataFolder = None, results: ResultsFolder = None) -> None:
    """Write one self-contained page with all results.

    It also has sample solutions, and the provenance of each number.
    """
    from pqm.paper.report import write_report
    from pqm.paper.results import Results

    write_report(Results(study, data, results), output)


@app.command()
def overview(output: Output, study: StudyOption, results: ResultsFolder = None) -> None:
    """Write a README.md with all figures and tables."""
    from pqm.paper.overview import write_overview
    from pqm.paper.results import Results

    write_overview(Results(study, results=results), output)


@app.command()
def compare(
    other: Annotated[str, typer.Argument(help="Folder with the tables of another build, or a revision of git, such as HEAD.")],
    tables: Annotated[Path, typer.Argument(help="Folder with the tables of this build.")] = Path("results/demo/tables"),
    rebuilds: Annotated[Path | None, typer.Option(help="Folder of the rebuilds. Default: that beside the tables.")] = None,
    judge: Annotated[bool, typer.Option(help="Exit with 1 if the builds are different.")] = True,
) -> None:
    """Compare the tables of two builds.

    They are equal, differ no more than rebuilds, or are different. A build is different if more of its rows are outside the
    other's intervals than of any rebuild held against another.
    """
    from contextlib import nullcontext

    from pqm.errors import PqmError
    from pqm.paper.compare import committed
    from pqm.paper.compare import compare as held_against

    try:
        with nullcontext(Path(other)) if Path(other).is_dir() else committed(other, tables) as theirs:
            verdict = held_against(tables, theirs, rebuilds or tables.parent / "rebuilds")
    except PqmError as error:
        if judge:
            raise
        print(f"Not compared with {other}: {error}.")
        return
    for name, one in verdict.by_table.items():
        print(f"{name}: {one.equal} equal, {one.within} within, {one.outside} outside, {one.missing} in one build only")
    print(f"Compared with {other}: {verdict}.")
    if judge and verdict.different:
        raise typer.Exit(1)


@app.command()
def budget(study: StudyFile) -> None:
    """Print the estimated cost of a study.

    It is GPU hours and disk space, from its settings and assumptions.
    """
    from pqm.paper import budget
    from pqm.paper.results import Results

    typer.echo(budget.budget(Results(study)))


@app.command()
def times(benchmarks: Annotated[Path, typer.Argument(help="Folder of Snakemake's benchmark files.")]) -> None:
    """Print the time and memory of each stage."""
    from pqm.paper.cost import records, summary

    typer.echo(summary(records(benchmarks)).to_markdown(index=False, floatfmt=".0f"))
