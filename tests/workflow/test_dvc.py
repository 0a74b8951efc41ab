"""The tiny study through DVC: the same numbers as with Snakemake, clones that pull them, and the output of DVC commands."""

import json

import pytest

from .conftest import STUDY, Project, make_pull
from .test_tiny_study import RESULTS, only_bce_is_made_again

# These contain run times, which differ from build to build.
TIMED = {"cost", "compute"}
HEADLINE = "results/tiny/tables/headline.json"


def test_dvc_on_two_cores_and_snakemake_on_one_give_the_same_numbers(snakemake_project: Project, dvc_project: Project) -> None:
    folder = snakemake_project.folder / "results/tiny"
    files = [path for kind in ("tables", "figures") for path in (folder / kind).glob("*.csv")]
    assert {path.stem for path in files} == RESULTS
    for path in files:
        if path.stem not in TIMED:
            assert (dvc_project.folder / path.relative_to(snakemake_project.folder)).read_bytes() == path.read_bytes(), path.stem


def test_dvc_is_up_to_date_after_repro(dvc_project: Project) -> None:
    assert "up to date" in dvc_project.run("dvc", "status", "dvc.yaml", "config/tiny/dvc.yaml")
    assert "Data and pipelines are up to date" in dvc_project.run("dvc", "repro")


def test_dvc_built_the_chosen_study_and_no_other(dvc_project: Project) -> None:
    assert {path.name for path in (dvc_project.folder / "results").iterdir()} == {"README.md", "tiny"}
    assert {path.parent.name for path in dvc_project.folder.glob("config/*/dvc.lock")} == {"tiny"}


@pytest.fixture(scope="module")
def pulled(dvc_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A fresh clone after `make pull`."""
    folder = tmp_path_factory.mktemp("clone") / "pqm"
    dvc_project.run("git", "clone", "-q", str(dvc_project.folder), str(folder))
    clone = Project(folder)
    for name, value in (("user.email", "test@example.org"), ("user.name", "test")):
        clone.run("git", "config", name, value)
    make_pull(clone)
    return clone


def test_a_pulled_clone_is_up_to_date_in_both_tools(pulled: Project) -> None:
    assert "Nothing to be done" in pulled.run("snakemake", "all")
    assert "up to date" in pulled.run("dvc", "status", "config/tiny/dvc.yaml")


def test_metrics_params_and_plots_of_one_study(pulled: Project) -> None:
    shown = json.loads(pulled.run("dvc", "metrics", "show", "--json", HEADLINE))
    told = shown[""]["data"][HEADLINE]
    references = {"pass@1", "self-consistency", "backbone-likelihood", "step-classifier"}
    assert set(told["data"]) == {"n", *references, "bce", "pqm-zeta4", "pqm-zeta4 - bce"}
    with pulled.edited(STUDY, ("learning_rate: 1.0e-4", "learning_rate: 2e-4")):
        changed = pulled.run("dvc", "params", "diff", "--targets", STUDY)
    assert "training.learning_rate" in changed and "0.0002" in changed
    assert "pass@n" in pulled.run("dvc", "plots", "show", "--show-vega", "results/tiny/figures/best_of_n.csv")


def test_an_experiment_sets_one_setting_of_the_study(pulled: Project) -> None:
    before = (pulled.folder / STUDY).read_text()
    done = pulled.run(
        "dvc", "exp", "run", "--name", "slow", "-S", f"{STUDY}:training.learning_rate=5e-5", "config/tiny/dvc.yaml:train"
    )
    try:
        assert "learning_rate: 5e-05" in (pulled.folder / STUDY).read_text()
        assert "[1/3] reward_model" in done, "two trainings and the target of the stage"
    finally:
        (pulled.folder / STUDY).write_text(before)
        pulled.run("dvc", "checkout", "config/tiny/dvc.yaml", check=False)


def test_editing_a_run_in_a_pulled_clone_reruns_that_run_in_both_tools(pulled: Project) -> None:
    pulled.run("git", "checkout", "-q", ".")
    pulled.run("dvc", "checkout", "config/tiny/dvc.yaml")
    pulled.change(STUDY, ("bce: {loss: bce,", "bce: {loss: bce, learning_rate: 2.0e-4,"))
    only_bce_is_made_again(pulled.planned())
    before = pulled.table()
    weights = (pulled.folder / "results/tiny/checkpoints/pqm-zeta4/seed-0/model.safetensors").stat().st_mtime_ns
    output = pulled.run("dvc", "repro")
    for stage in ("train", "evaluate", "paper"):
        assert f"Running stage 'config/tiny/dvc.yaml:{stage}'" in output
    for stage in ("questions", "policies", "rollouts", "labels"):
        assert f"Stage 'config/tiny/dvc.yaml:{stage}' didn't change" in output
    assert (pulled.folder / "results/tiny/checkpoints/pqm-zeta4/seed-0/model.safetensors").stat().st_mtime_ns == weights
    assert pulled.table() != before
    assert "up to date" in pulled.run("dvc", "status", "config/tiny/dvc.yaml")
    # Back to the state before: both tools find nothing to do.
    pulled.run("git", "add", "-A")
    pulled.run("git", "commit", "-qm", "another learning rate")
    pulled.run("git", "checkout", "-q", "HEAD~1")
    pulled.run("dvc", "checkout", "config/tiny/dvc.yaml")
    assert pulled.table() == before
    assert "Nothing to be done" in pulled.run("snakemake", "all")
    assert "Data and pipelines are up to date" in pulled.run("dvc", "repro")
