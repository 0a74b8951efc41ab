"""What jobs ask of machines and clusters, from a study's files."""

from pathlib import Path

import pytest

from .conftest import Project, copy_project

TARGET = "results/checkpoints/bce/seed-0"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny study, nothing built, whose trainings are asked to run in two processes on two GPUs."""
    project = copy_project(tmp_path_factory.mktemp("resources") / "pqm")
    study = project.folder / "config/tiny"
    (study / "resources.yaml").write_text("train: {gpus: 2, memory_mb: 64000, minutes: 90}\nrollouts: {gpus: 1}\n")
    with (study / "training.yaml").open("a") as file:
        file.write("accelerate: config/accelerate/cpu.yaml\n")
    return project


def test_the_plan_lists_what_is_asked(project: Project) -> None:
    plan = project.run("snakemake", "-n", TARGET)
    training = plan.split("rule reward_model:")[1].split("\n\n")[0]
    assert "gpu=2" in training and "mem_mb=64000" in training and "runtime=90" in training
    assert "pqm.devices 2 accelerate launch --config_file config/accelerate/cpu.yaml -m pqm.cli train" in training
    sampling = plan.split("rule sample:")[1].split("\n\n")[0]
    assert "gpu=1" in sampling and "mem_mb" not in sampling.split("Shell")[0]


def test_processes_without_a_gpu_each_stop_the_plan(project: Project) -> None:
    file = Path(project.folder, "config/tiny/resources.yaml")
    file.write_text("train: {gpus: 4}\n")
    output = project.run("snakemake", "-n", TARGET, check=False)
    assert "cpu.yaml: num_processes is 2, config/tiny/resources.yaml asks 4 GPUs" in output
