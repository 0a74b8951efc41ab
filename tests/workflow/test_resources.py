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
    assert "exec python -m pqm.provenance record" in training
    assert " --gpus 2 -- accelerate launch --config_file config/accelerate/cpu.yaml -m pqm.cli train" in training
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


@pytest.mark.parametrize(("options", "devices", "together"), [((), "0,1", 8), (("--resources", "gpu=1"), "0,1,2", 1)])
def test_a_few_jobs_per_gpu_run_at_once(options: tuple[str, ...], devices: str, together: int, project: Project) -> None:
    rules = """
include: "workflow/rules/common.smk"
rule all:
    default_target: True
    input: expand("made/{name}", name=range(10))
rule made:
    output: "made/{name}"
    resources: **asked("rollouts")
    shell: "echo begin >> jobs; sleep 1; echo end >> jobs; touch {output}"
"""
    (project.folder / "gpus.smk").write_text(rules)
    for name in ("jobs", "made"):
        project.run("rm", "-rf", name)
    project.run("snakemake", "-s", "gpus.smk", "--cores", "10", *options, "--", "all", CUDA_VISIBLE_DEVICES=devices)
    running = most = 0
    for line in (project.folder / "jobs").read_text().split():
        running += 1 if line == "begin" else -1
        most = max(most, running)
    assert most == together
