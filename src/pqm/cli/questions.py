"""Verb `questions`."""

from pathlib import Path
from typing import Annotated

import typer

from pqm.cli.options import Item, Output, Published, StudyFile, by_name
from pqm.io.published_files import PUBLISHED


def questions(
    study: StudyFile,
    item: Item,
    output: Output,
    upstream: Annotated[list[Path], typer.Option(help="Question tables to perturb or to be disjoint from.")] = [],  # noqa: B006
    published: Published = PUBLISHED,
) -> None:
    """Write a data set of questions.

    They are generated, perturbed, or published (a local file or the hub).
    """
    from pqm.io import formats
    from pqm.questions.generate import make_questions
    from pqm.study.questions import QuestionsConfig
    from pqm.study.reading import load_item

    settings = load_item(study, "questions", item, QuestionsConfig)
    frame = make_questions(settings, item, by_name(upstream), published)
    formats.write(frame, formats.QUESTIONS, output)
