"""Snapshots are picked by their share of the pretraining's steps."""

import math
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from small import read_yaml
from studies import ROOT

from pqm.errors import PqmError
from pqm.policies.models import write_policy
from pqm.policies.snapshots import pick_snapshot, read_snapshots
from pqm.study.layout import SNAPSHOTS
from pqm.study.models import Pick, PolicyConfig
from pqm.study.pretraining import PretrainingConfig
from pqm.study.reading import load_study
from pqm.workflow.checks import faults


def pretraining(*steps: int, every: int, first: int = 0) -> PretrainingConfig:
    phases = tuple({"steps": count, "learning_rate": 0.1, "facts": (1, 1), "snapshots_from": first} for count in steps)
    return PretrainingConfig.model_validate(
        {
            "start": "a",
            "phases": phases,
            "snapshot_every": every,
            "batch_tokens": 8,
            "excluded": ("q",),
            "validation": "q",
            "seed": 0,
        }
    )


def table(folder: Path, shares: dict[str, float]) -> Path:
    """A finished pretraining without weights; its validation accuracies are in the opposite order."""
    rows = pd.DataFrame({"snapshot": shares.keys(), "share": shares.values()})
    rows["pass_at_1"] = 1 - rows["share"]
    folder.mkdir(exist_ok=True)
    rows.to_csv(folder / SNAPSHOTS, index=False)
    return folder


def test_each_snapshot_has_its_share_of_the_steps_of_all_phases():
    assert pretraining(30, 25, every=10, first=20).snapshot_shares() == {
        "phase-1-step-000020": 20 / 55,
        "phase-1-step-000030": 30 / 55,
        "phase-2-step-000020": 50 / 55,
        "phase-2-step-000025": 1.0,
    }


@pytest.mark.parametrize(
    ("share", "name"),
    [(0.0, "a"), (0.25, "a"), (0.2500001, "b"), (0.5, "b"), (0.7, "c"), (1.0, "c")],
)
def test_the_first_snapshot_after_the_share_is_picked(share, name, tmp_path):
    folder = table(tmp_path, {"a": 0.25, "b": 0.5, "c": 1.0})
    assert pick_snapshot(Pick(pretraining="p", share=share), folder) == folder / name


def test_the_last_snapshot_is_picked_by_default(tmp_path):
    assert pick_snapshot(Pick(pretraining="p"), table(tmp_path, {"a": 0.99, "b": 1.0})).name == "b"


@pytest.mark.parametrize("total", [7, 30, 49, 1000, 1500, 123457])
def test_the_share_of_a_snapshot_picks_it_to_the_last_bit(total, tmp_path):
    """Also after its way through the table; one bit more picks the next one."""
    shares = {str(step): step / total for step in range(1, total + 1, max(1, total // 300))} | {str(total): 1.0}
    folder = table(tmp_path, shares)
    read = dict(zip(*(read_snapshots(folder)[name] for name in ("snapshot", "share"))))
    assert {str(name): share for name, share in read.items()} == shares
    names = list(shares)
    for name, after in pairwise(names):
        assert Pick(pretraining="p", share=shares[name]).choose(shares) == name
        assert Pick(pretraining="p", share=math.nextafter(shares[name], 2)).choose(shares) == after


@pytest.mark.parametrize("percent", range(1, 101))
def test_a_share_that_is_written_in_percent_picks_the_snapshot_of_these_steps(percent):
    shares = pretraining(1000, every=10).snapshot_shares()
    assert Pick(pretraining="p", share=float(f"0.{percent:02d}" if percent < 100 else 1)).choose(shares) == (
        f"phase-1-step-{10 * percent:06d}"
    )


def test_a_policy_is_the_picked_snapshot_whatever_its_accuracy(tmp_path):
    folder = table(tmp_path / "pretraining", {"a": 0.5, "b": 1.0})
    for name in "ab":
        (folder / name).mkdir()
        (folder / name / "weights").write_text(name)
    config = PolicyConfig(pick=Pick(pretraining="p", share=0.4))
    for accuracies in ([0.1, 0.9], [0.9, 0.1], [float("nan"), 0.5]):
        read_snapshots(folder).assign(pass_at_1=accuracies).to_csv(folder / SNAPSHOTS, index=False)
        write_policy(config, folder, tmp_path / "policy")
        assert (tmp_path / "policy/weights").read_text() == "a"


def test_models_that_pick_the_same_snapshot_are_refused_before_anything_is_built(write_study):
    one = read_yaml(ROOT / "config/tiny/study.yaml")["pretraining"]["language-model"]  # snapshots after 60 and 120 steps

    def pick(name: str, share: float) -> dict:
        return {"pick": {"pretraining": name, "share": share}}

    study = load_study(
        write_study(
            questions=read_yaml(ROOT / "config/tiny/study.yaml")["questions"],
            pretraining={"one": one, "two": one},
            policies={"first": pick("one", 0.1), "same": pick("one", 0.5), "last": pick("one", 0.6), "other": pick("two", 0.5)},
            backbones={"last": pick("one", 1.0), "again": pick("one", 0.9)},
        )
    )
    assert [(".".join(map(str, fault.place)), fault.what) for fault in faults(study)] == [
        ("policies.same.pick", "picks phase-1-step-000060 of one, the same as policies.first; expected another share"),
        ("backbones.again.pick", "picks phase-1-step-000120 of one, the same as backbones.last; expected another share"),
    ]


@pytest.mark.parametrize("key", ["metric", "at_least"])
def test_a_pick_by_accuracy_is_refused_with_what_replaced_it(key, write_study):
    path = write_study(policies={"weak": {"pick": {"pretraining": "p", key: 0.5}}})
    with pytest.raises(PqmError, match=f"unknown key '{key}'; it was removed; use share, the share of the pretraining's steps"):
        load_study(path)


DEMO = {
    "policies": {
        "weak": "phase-1-step-000500",
        "medium": "phase-1-step-000560",
        "strong": "phase-1-step-000630",
        "completer": "phase-1-step-001000",
    },
    "backbones": {
        "early": "phase-2-step-000100",
        "language-model": "phase-1-step-001000",
        "error-detecting": "phase-2-step-001500",
    },
}


@pytest.mark.parametrize("section", DEMO)
def test_the_demo_picks_the_snapshots_of_its_published_results(section):
    study = load_study(ROOT / "config/demo/study.yaml")
    picks = {name: model.pick for name, model in getattr(study, section).items()}
    assert {name: pick.choose(study.pretraining[pick.pretraining].snapshot_shares()) for name, pick in picks.items()} == DEMO[
        section
    ]
