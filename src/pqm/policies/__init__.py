"""Stage `policies`: models that sample solutions, and backbones that reward models start from."""

import shutil
from pathlib import Path

import pandas as pd

from pqm import formats
from pqm.config import BackboneConfig, Pick, PolicyConfig
from pqm.errors import PqmError

TABLE = "snapshots.csv"
MARKS = "marks.safetensors"


def read_snapshots(pretraining: Path) -> pd.DataFrame:
    """The snapshots of a finished pretraining, oldest first."""
    try:
        return pd.read_csv(pretraining / TABLE)
    except FileNotFoundError:
        raise PqmError(f"{pretraining}: holds no {TABLE}; expected a finished pretraining") from None


def pick_snapshot(pick: Pick, pretraining: Path) -> Path:
    """The folder of the snapshot that `pick` asks for: the first that reaches its metric, or the last.

    Raises:
        PqmError: no snapshot reaches `pick.at_least`; the message tells the best one.
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


def write_policy(config: PolicyConfig, pretraining: Path | None, output: Path) -> None:
    """Write the policy to `output`: a plain `transformers` folder with its tokenizer, or its server; and its solution format.

    Args:
        pretraining: the finished pretraining that `config.pick` names.

    Raises:
        PqmError: see `pick_snapshot` and `foreign.write_foreign_policy`.
    """
    with formats.whole_folder(output) as part:
        if config.pick is not None:
            snapshot = pick_snapshot(config.pick, _given(config.pick, pretraining))
            shutil.copytree(snapshot, part, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MARKS))
        elif config.server is not None:
            from pqm.policies.served import write_served_policy

            write_served_policy(config, part)
        else:
            from pqm.policies.foreign import write_foreign_policy

            write_foreign_policy(config, part)


def write_backbone(config: BackboneConfig, pretraining: Path | None, output: Path) -> None:
    """Write the backbone to `output/model`, and the step mark of a picked snapshot to `output/proofreader` as a reward model.

    Reward models start from `model` with a fresh head; `proofreader` is only a reference that needs no rollouts.
    """
    with formats.whole_folder(output) as part:
        if config.pick is None:
            from pqm.policies.foreign import write_foreign_backbone

            write_foreign_backbone(config, part / "model")
        else:
            _copy_with_mark(pick_snapshot(config.pick, _given(config.pick, pretraining)), part)


def _given(pick: Pick, pretraining: Path | None) -> Path:
    if pretraining is None:
        raise PqmError(
            f"the settings pick a snapshot of the pretraining {pick.pretraining!r}; give its folder with --pretraining"
        )
    return pretraining


def _copy_with_mark(snapshot: Path, part: Path) -> None:
    from pqm.policies.pretraining import load_marks
    from pqm.reward_model import head, reward_model, save_reward_model
    from pqm.solution import SolutionFormat

    shutil.copytree(snapshot, part / "model", ignore=shutil.ignore_patterns(MARKS))
    model, tokenizer = reward_model(part / "model", seed=0)
    head(model).weight.data.copy_(load_marks(snapshot, model.config.hidden_size).step.weight.data)
    save_reward_model(model, tokenizer, SolutionFormat.load(snapshot), part / "proofreader")
