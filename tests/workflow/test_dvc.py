"""The tiny study through DVC: the numbers that Snakemake gives, and clones that pull them."""

import pytest

from .conftest import Project, make_pull
from .test_tiny_study import REAL, RESULTS, only_bce_is_made_again

# What these hold is seconds, which differ from build to build.
TIMED = {"cost", "compute"}


def test_dvc_on_two_cores_and_snakemake_on_one_give_the_same_numbers(snakemake_project: Project, dvc_project: Project) -> None:
    files = [path for kind in ("tables", "figures") for path in (snakemake_project.folder / "results" / kind).glob("*.csv")]
    assert {path.stem for path in files} - REAL == RESULTS
    for path in files:
        if path.stem not in TIMED | REAL:
            assert (dvc_project.folder / path.relative_to(snakemake_project.folder)).read_bytes() == path.read_bytes(), path.stem


def test_dvc_is_up_to_date_after_repro(dvc_project: Project) -> None:
    assert "up to date" in dvc_project.run("dvc", "status")


@pytest.fixture(scope="module")
def pulled(dvc_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A fresh clone after what `make pull` does."""
    folder = tmp_path_factory.mktemp("clone") / "pqm"
    dvc_project.run("git", "clone", "-q", str(dvc_project.folder), str(folder))
    clone = Project(folder)
    make_pull(clone)
    return clone


def test_a_pulled_clone_is_up_to_date_in_both_tools(pulled: Project) -> None:
    assert "Nothing to be done" in pulled.run("snakemake", "all")
    assert "up to date" in pulled.run("dvc", "status")


def test_editing_a_run_in_a_pulled_clone_reruns_that_run_in_both_tools(pulled: Project) -> None:
    file = pulled.folder / "config/tiny/runs/bce.yaml"
    file.write_text(file.read_text() + "learning_rate: 2.0e-4\n")
    only_bce_is_made_again(pulled.planned())
    before = pulled.table()
    weights = (pulled.folder / "results/checkpoints/pqm-zeta4/seed-0/model.safetensors").stat().st_mtime_ns
    output = pulled.run("dvc", "repro")
    for stage in ("train@bce", "evaluate@bce", "paper"):
        assert f"Running stage '{stage}'" in output
    for stage in ("questions", "policies", "rollouts", "labels", "train@pqm-zeta4", "references", "evaluate@pqm-zeta4"):
        assert f"Stage '{stage}' didn't change" in output
    assert (pulled.folder / "results/checkpoints/pqm-zeta4/seed-0/model.safetensors").stat().st_mtime_ns == weights
    assert pulled.table() != before
