"""Grade tables for votes, in which equal answers have one spelling."""

from pathlib import Path

import pandas as pd

from pqm.grading.values import first_spellings
from pqm.io import formats


def read_grades(path: Path) -> pd.DataFrame:
    """A grade table in which answers of a question that are equal in value have the spelling of the first one.

    Blank answers become None.
    """
    graded = formats.read(path, formats.GRADES)
    answers = graded["answer"].to_numpy(dtype=object, copy=True)
    for rows in graded.groupby("question_id").indices.values():
        answers[rows] = first_spellings([answer if answer and answer.strip() else None for answer in answers[rows]])
    graded["answer"] = pd.Series(answers, dtype=object)
    return graded
