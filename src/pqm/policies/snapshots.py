"""The snapshots of a pretraining, and choosing one by a validation metric."""

from pathlib import Path

import pandas as pd

from pqm.errors import PqmError
from pqm.study.models import Pick

TABLE = "snapshots.csv"


def read_snapshots(pretraining: Path) -> pd.DataFrame:
    """The table of snapshots of a finished pretraining, oldest first.

    Raises:
        PqmError: the folder contains no such table.
    """
    try:
        return pd.read_csv(pretraining / TABLE)
    except FileNotFoundError:
        raise PqmError(f"{pretraining}: no {TABLE}; expected a finished pretraining") from None


def pick_snapshot(pick: Pick, pretraining: Path) -> Path:
    """The folder of the first snapshot that reaches `pick.at_least`, or of the last snapshot if it is not set.

    Raises:
        PqmError: no snapshot reaches `pick.at_least`; the message contains the best value.
    """
    snapshots = read_snapshots(pretraining).dropna(subset=[pick.metric])
    if snapshots.empty:
        raise PqmError(f"{pretraining}: no snapshot has a {pick.metric}")
    if pick.at_least is None:
        return pretraining / str(snapshots["snapshot"].iloc[-1])
    reached = snapshots[snapshots[pick.metric] >= pick.at_least]
    if reached.empty:
        best = snapshots[pick.metric].max()
        raise PqmError(f"{pretraining}: no snapshot reaches {pick.metric} {pick.at_least}; the best has {best:.3f}")
    return pretraining / str(reached["snapshot"].iloc[0])
