"""Solutions with a known first error."""

import pandas as pd

from pqm.errors import PqmError
from pqm.estimation.first_errors import with_known_truth


def with_truth(solutions: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The scored solutions with a known first error.

    Raises:
        PqmError: there is none.
    """
    known = with_known_truth(solutions)
    if known.empty:
        raise PqmError(f"{dataset}: the first wrong step of no solution is known, which this result needs")
    return known
