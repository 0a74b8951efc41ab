"""Verbs of `pqm rollouts`."""

from pathlib import Path
from typing import Annotated

import typer

from pqm.cli.options import Cache, Item, Output, Published, Server, StudyFile, cache_folder
from pqm.io.published_files import PUBLISHED

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Sample solutions from a policy, or read published ones.")


@app.command()
def sample(
    study: StudyFile,
    item: Item,
    output: Output,
    policy: Annotated[Path, typer.Option(help="Folder of the sampling policy.")],
    questions: Annotated[Path, typer.Option(help="Question table.")],
    server: Server = None,
    cache: Cache = None,
) -> None:
    """Sample several solutions of every question."""
    from pqm.io import formats
    from pqm.io.shard_cache import ShardCache
    from pqm.rollouts.sample import make_rollouts
    from pqm.study.reading import load_item, load_precision
    from pqm.study.rollouts import RolloutsConfig

    settings, precision = load_item(study, "rollouts", item, RolloutsConfig), load_precision(study)
    folder = ShardCache(cache_folder(cache, study), "rollouts", output, [settings, precision], [policy, questions])
    formats.write(make_rollouts(settings, policy, questions, folder, server, precision), formats.ROLLOUTS, output)
    folder.finish()


@app.command()
def published(
    solutions: Annotated[
        Path, typer.Argument(help="GSM8K's example model solutions, or an evaluation file of the paper's authors.")
    ],
    output: Output,
    questions: Annotated[Path, typer.Option(help="Question table that contains the questions.")],
    file_format: Annotated[
        str, typer.Option("--format", help="gsm8k, or pqm: [{question, responses: [{text, model_name}]}].")
    ] = "gsm8k",
    model: Annotated[
        str | None, typer.Option(help="Model to read, e.g. 175b_verification. With pqm the default is all models.")
    ] = None,
) -> None:
    """Read published model solutions as rollouts."""
    from pqm.io import formats
    from pqm.rollouts.published import read_solutions

    formats.write(read_solutions(file_format, solutions, questions, model), formats.ROLLOUTS, output)


@app.command()
def annotated(
    study: StudyFile,
    item: Item,
    output: Annotated[Path, typer.Option(help="Folder for questions.parquet, rollouts.parquet and grades.parquet.")],
    questions: Annotated[list[Path], typer.Option(help="Question tables of `disjoint_from`.")] = [],  # noqa: B006
    published: Published = PUBLISHED,
) -> None:
    """Write solutions with known first errors.

    They are published ones that people annotated, or worked ones with injected errors. They are written as questions, rollouts
    and grades.
    """
    from pqm.rollouts.annotated import write_annotated
    from pqm.study.reading import load_item
    from pqm.study.rollouts import AnnotatedConfig

    write_annotated(load_item(study, "annotated", item, AnnotatedConfig), published, output, questions)
