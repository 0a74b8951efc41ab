"""Resources that jobs request from machines and clusters."""

import pytest

from .conftest import STUDY, Project, copy_project

TARGET = "results/tiny/checkpoints/bce/seed-0"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny study, not built, with trainings in two processes on two GPUs."""
    project = copy_project(tmp_path_factory.mktemp("resources") / "pqm")
    wanted = "resources:\n  train: {gpus: 2, memory_mb: 64000, minutes: 90}\n"
    project.change(STUDY, ("\ntraining:\n", f"\n{wanted}training:\n  accelerate: config/accelerate/cpu.yaml\n"))
    project.change(STUDY, ("device: cpu", "device: cuda"))
    return project


def test_the_plan_lists_what_is_asked(project: Project) -> None:
    plan = project.run("snakemake", "-n", "-p", TARGET)
    training = plan.split("rule reward_model:")[1].split("\n\n")[0]
    assert "gpu=2" in training and "mem_mb=64000" in training and "runtime=90" in training
    assert "exec python -m pqm.models.devices 2 python -m pqm.provenance record" in training
    assert " -- accelerate launch --config_file config/accelerate/cpu.yaml -m pqm.cli train" in training
    sampling = plan.split("rule sample:")[1].split("\n\n")[0]
    assert "gpu=1" in sampling and "mem_mb" not in sampling.split("Shell")[0]


def test_processes_without_a_gpu_each_stop_the_plan(project: Project) -> None:
    with project.edited(STUDY, ("gpus: 2", "gpus: 4")):
        output = project.run("snakemake", "-n", TARGET, check=False)
    assert "training.accelerate: config/accelerate/cpu.yaml: num_processes is 2, but a training requests 4 GPUs" in output


def test_gpus_of_a_study_without_them_stop_the_plan(project: Project) -> None:
    with project.edited(STUDY, ("device: cuda", "device: cpu")):
        output = project.run("snakemake", "-n", TARGET, check=False)
    assert "resources.train.gpus: 2 GPUs, but the study has device: cpu; expected device: cuda" in output


def test_only_as_many_jobs_run_as_the_machine_has_gpus(project: Project) -> None:
    command = ("snakemake", "-n", "--verbose", TARGET)
    assert "gpu=3" in project.run(*command, CUDA_VISIBLE_DEVICES="0,1,5").split("Provided resources")[1].splitlines()[0]
    assert "gpu=2" in project.run(*command, "--resources", "gpu=2", CUDA_VISIBLE_DEVICES="0").split("Provided resources")[1]
