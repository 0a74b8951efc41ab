"""The snapshots of a pretraining, and choosing one by its place in the training."""

from pathlib import Path

import pandas as pd

from pqm.errors import PqmError
from pqm.study.layout import SNAPSHOTS
from pqm.study.models import Pick


def read_snapshots(pretraining: Path) -> pd.DataFrame:
    """The table of snapshots of a finished pretraining, oldest first.

    Raises:
        PqmError: the folder contains no such table, or an incomplete one.
    """
    path = pretraining / SNAPSHOTS
    try:
        snapshots = pd.read_csv(path, converters={"share": float})  # exact, which the parser of pandas need not be
    except FileNotFoundError:
        raise PqmError(f"{pretraining}: no {SNAPSHOTS}; expected a finished pretraining") from None
    except ValueError as error:
        raise PqmError(f"{path}: not a table of snapshots ({error})") from None
    missing = [name for name in ("snapshot", "share") if name not in snapshots]
    if missing:
        raise PqmError(f"{path}: column {missing[0]!r} is missing; expected a pretraining by this version of pqm")
    if snapshots.empty or snapshots["share"].iloc[-1] != 1:
        raise PqmError(f"{path}: expected a last row with share 1, the end of the pretraining")
    return snapshots


def pick_snapshot(pick: Pick, pretraining: Path) -> Path:
    """The folder of the first snapshot after at least `pick.share` of the steps.

    Raises:
        PqmError: see `read_snapshots`.
    """
    snapshots = read_snapshots(pretraining)
    return pretraining / pick.choose(dict(zip(snapshots["snapshot"].astype(str), snapshots["share"])))
