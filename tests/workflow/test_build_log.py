"""The terminal output of a build, in a workflow of a few rules."""

import importlib
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings

SOURCE = Path(__file__).parents[2] / "src"
SNAKEFILE = """
rule all:
    input:
        "table.txt",
        "written.txt",

rule table:
    input:
        expand("{run}/{seed}.txt", run=["bce", "pqm-zeta4"], seed=[0, 1]),
    output:
        "table.txt",
    log:
        "logs/table.log",
    shell:
        "exec cp {input[0]} {output} > {log} 2>&1"

rule train:
    output:
        "{run}/{seed}.txt",
    log:
        "logs/{run}-{seed}.log",
    shell:
        "exec sh record.sh --study a -- python train.py {output} --run {wildcards.run} > {log} 2>&1"

rule written:
    output:
        "written.txt",
    shell:
        "exec touch {output}"
"""
RECORD = 'while test "$1" != --; do shift; done; shift; exec "$@"\n'
TRAIN = """
import pathlib, sys

print("\\n".join(f"\\x1b[1mstep {i}\\x1b[0m" for i in range(30)))
print("0%\\r50%\\r100%", end="\\r")
if pathlib.Path("broken").exists() and sys.argv[1] == "bce/1.txt":
    sys.exit(3)
pathlib.Path(sys.argv[1]).touch()
"""
TIME = r"\((under 1|\d+) s\)(, about \d+ s left)?"


def snakemake(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit status and the output, without the line about the profile."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(SOURCE),
        "PYTHONHASHSEED": "0",  # otherwise the order of inputs in a reason differs from call to call
    }
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, re.sub("^Using workflow specific profile .*\n", "", done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {"Snakefile": SNAKEFILE, "train.py": TRAIN, "record.sh": RECORD}
    files["profiles/default/config.yaml"] = "cores: 2\nlogger: pqm\nkeep-going: true\nscheduler: greedy\n"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_build_that_fails_and_one_that_goes_on_from_there(folder: Path) -> None:
    (folder / "broken").touch()
    status, text = snakemake(folder)
    first, *_, complete, last = text.splitlines()
    assert status == 1 and first == "7 jobs to do: 4 train, 1 written, 1 table, 1 all"
    assert "\x1b" not in text and "\r" not in text
    finished = re.findall(r"^\[.*", text, flags=re.M)
    assert all(re.fullmatch(rf"\[{count}/7\] .* {TIME}", line) for count, line in enumerate(finished, 1)), text
    done = {line.split("] ")[1].split(" (")[0] for line in finished}
    assert done == {"train: bce, seed 0", "train: pqm-zeta4, seed 0", "train: pqm-zeta4, seed 1", "written"}
    failed = text[text.index("failed: ") :].splitlines()[:24]
    assert re.fullmatch(r"failed: train run=bce seed=1 \(exit status 3, .* s\)", failed[0])
    assert failed[1:22] == ["The end of logs/bce-1.log:", *(f"    step {i}" for i in range(11, 30)), "    100%"]
    assert failed[22:] == ["To repeat it:", "    python train.py bce/1.txt --run bce"]
    assert len(text.splitlines()) == 1 + 4 + 24 + 2, text
    assert complete.startswith("Complete log(s): ")
    assert re.fullmatch(r"4 of 7 jobs done in (under 1|\d+) s; 1 failed, 2 not run", last)
    assert "rule train:" in Path(complete.removeprefix("Complete log(s): ")).read_text()

    (folder / "broken").unlink()
    status, text = snakemake(folder)
    first, trained, table, last = text.splitlines()
    assert status == 0 and first == "3 jobs to do: 1 train, 1 table, 1 all"
    assert re.fullmatch(rf"\[1/3\] train: bce, seed 1 {TIME}", trained) and re.fullmatch(rf"\[2/3\] table {TIME}", table)
    assert re.fullmatch(r"3 of 3 jobs done in (under 1|\d+) s", last)

    status, text = snakemake(folder)
    assert status == 0 and text.startswith("Assuming unrestricted shared filesystem usage.\n\nSNAKEMAKE\n")
    assert text.endswith("\nBuilding DAG of jobs...\nNothing to be done (all requested files are present and up to date).\n")


def test_what_is_no_build_looks_as_snakemake_shows_it(folder: Path) -> None:
    plan, own = (snakemake(folder, "-n", *arguments) for arguments in ([], ["--workflow-profile", "none"]))
    varying = re.compile(r"\[\w+ \w+ +\d+ [\d:]+ \d+\]|(Date|Workflow ID|Command): .*")
    assert varying.sub("", plan[1]) == varying.sub("", own[1]) and plan[0] == own[0] == 0
    assert "Job stats:" in plan[1] and "reason: Missing output files: table.txt" in plan[1]

    locks = folder / ".snakemake/locks"
    locks.mkdir(parents=True, exist_ok=True)
    (locks / "0.output.lock").write_text("table.txt\n")
    status, text = snakemake(folder)
    assert status == 1 and "LockException:\nError: Directory cannot be locked." in text and "to do" not in text


# From here on without Snakemake: its messages are passed to the plugin, with made-up times.


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SOURCE)
    return importlib.import_module("snakemake_logger_plugin_pqm")


class Run:
    """Passes the messages of a run to a handler, and returns the lines that it writes."""

    def __init__(self, plugin: ModuleType, capsys: pytest.CaptureFixture[str], **stats: int) -> None:
        settings = MockOutputSettings()
        settings.printshellcmds = False
        self.handler = plugin.LogHandler(settings, None)
        self.capsys = capsys
        self.first = self.say(LogEvent.RUN_INFO, stats=stats | {"total": sum(stats.values())}) if stats else []

    def say(self, event: LogEvent | None, message: str = "", at: float = 0, **fields: Any) -> list[str]:
        level = logging.ERROR if event in (LogEvent.ERROR, LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR) else logging.INFO
        record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
        vars(record).update(fields, event=event, created=1000 + at)
        self.handler.emit(record)
        return self.capsys.readouterr().err.splitlines()

    def start(self, number: int, rule: str, command: str | None = "do", at: float = 0, **wildcards: str) -> None:
        about = {"rule_name": rule, "wildcards": wildcards, "shellcmd": command, "output": [], "log": []}
        assert not self.say(LogEvent.JOB_INFO, at=at, jobid=number, **about)

    def finish(self, number: int, at: float) -> list[str]:
        return self.say(LogEvent.JOB_FINISHED, at=at, job_id=number)

    def end(self) -> list[str]:
        self.handler.close()
        return self.capsys.readouterr().err.splitlines()


def error(number: int, rule: str, command: str, log: list[str], message: str | None = None) -> dict[str, Any]:
    return {"jobid": number, "rule_name": rule, "shellcmd": command, "log": log, "rule_msg": message, "indent": False}


def test_the_time_left_is_that_of_like_jobs_on_as_many_cores(plugin: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(plugin, capsys, sample=4, scores_bce=1, scores_pqm=2, all=1)
    for number in range(4):
        run.start(number, "sample", at=100 * (number // 2), dataset=f"d{number}")
    assert run.finish(0, at=100) == ["[1/8] sample: d0 (1 min 40 s)"]
    assert run.finish(1, at=100) == ["[2/8] sample: d1 (1 min 40 s)"]
    # Three jobs of unknown length are still to come, on two cores; `all` takes no time.
    assert run.finish(2, at=200) == ["[3/8] sample: d2 (1 min 40 s), about 2 min left"]
    assert run.finish(3, at=200) == ["[4/8] sample: d3 (1 min 40 s), about 2 min left"]
    run.start(4, "scores_bce", at=200)
    run.start(5, "scores_pqm", at=200)
    assert run.finish(4, at=210) == ["[5/8] scores_bce (10 s), about 10 s left"], "runs' scores take the same"
    run.finish(5, at=210)
    run.start(6, "scores_pqm", at=210)
    assert run.finish(6, at=220) == ["[7/8] scores_pqm (10 s)"]
    run.start(7, "all", command=None, at=220)
    assert run.finish(7, at=220) == []
    assert run.end() == ["8 of 8 jobs done in 3 min 40 s"]


def test_an_early_error_comes_after_what_led_to_it(plugin: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(plugin, capsys)
    assert run.say(None, "A word of the Snakefile's") == ["A word of the Snakefile's"]
    assert run.say(None, "Assuming unrestricted shared filesystem usage.") == run.say(None, "Building DAG of jobs...") == []
    lines = ["Assuming unrestricted shared filesystem usage.", "Building DAG of jobs...", "LockException"]
    assert run.say(LogEvent.ERROR, "LockException") == lines
    assert run.end() == []


def test_many_rules_are_not_all_listed(plugin: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = Run(plugin, capsys, **{f"scores_{i}": 1 for i in range(40)}, reward_model=20).first
    assert line.startswith("60 jobs to do: 20 reward_model, 1 scores_0, ") and len(line) <= 128
    assert (shown := line.count(" scores_")) + int(re.search(r"and (\d+) others$", line)[1]) == 40 and shown > 5


def test_a_failed_cluster_job_shows_the_clusters_message(
    plugin: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = Run(plugin, capsys, train=1, all=1)
    assert run.say(None, "Job 0 has been submitted with SLURM jobid 7 (log: slurm.log).") == []
    (tmp_path / "own.log").write_text("step 1\n")
    record = {"rule_name": "train", "wildcards": {"run": "bce"}, "shellcmd": "exec a -- b > c 2>&1", "output": []}
    run.say(LogEvent.JOB_INFO, jobid=0, log=[f"{tmp_path}/own.log"], **record)
    why = "SLURM-job '7' failed, SLURM status is: 'TIMEOUT'. For further error details see the cluster/cloud log and more."
    lines = run.say(
        LogEvent.JOB_ERROR, at=60, **error(0, "train", "exec a -- b > c 2>&1", [f"{tmp_path}/own.log", "slurm.log"], why)
    )
    assert lines == [
        "failed: train run=bce (1 min)",
        "    SLURM-job '7' failed, SLURM status is: 'TIMEOUT'.",
        f"The end of {tmp_path}/own.log:",
        "    step 1",
        "See also slurm.log",
        "To repeat it:",
        "    b",
    ]
    assert run.say(None, "Trying to restart job 0.") == ["restarted: train run=bce"]
    run.start(0, "train", at=60)
    assert run.finish(0, at=70) == ["[1/2] train (10 s)"]
    assert run.end() == ["1 of 2 jobs done in 1 min 10 s; 1 not run"]


def test_the_failed_job_of_a_group_is_shown(plugin: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(plugin, capsys, server=1, sample=2, all=1)
    for number, rule in enumerate(["server", "sample", "sample"]):
        run.start(number, rule, f"do {number}", policy=str(number))
    run.say(
        LogEvent.ERROR,
        "RuleException:\nCalledProcessError in file x:\nCommand 'do 2' died with <Signals.SIGKILL: 9>.",
        thread=1,
    )
    errors = [error(number, "sample", f"do {number}", [f"nowhere/{number}.log"]) for number in range(3)]
    lines = run.say(LogEvent.GROUP_ERROR, at=5, thread=1, groupid="x", aux_logs=[], job_error_info=errors)
    told = ["failed: sample policy=2 (SIGKILL, 5 s)", "No log in nowhere/2.log", "To repeat it:", "    do 2"]
    assert lines == [*told, "2 more jobs of the group failed"]
    assert run.say(LogEvent.JOB_ERROR, at=5, thread=1, **errors[0] | {"indent": True}) == []
    assert run.end() == ["0 of 4 jobs done in 5 s; 3 failed, 1 not run"]


def test_warnings_and_unknown_messages_are_shown(plugin: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(plugin, capsys, train=1)
    assert run.say(None, "Something new") == ["Something new"]
    assert run.say(None, "Select jobs to execute...") == []
    assert run.say(LogEvent.ERROR, "MissingOutputException in rule train") == ["MissingOutputException in rule train"]


@pytest.mark.parametrize(
    ("command", "repeated"),
    [
        (
            "exec python -m record --input a --gpus 1 -- pqm train x --seed 0 > logs/a.log 2>&1",
            "pqm train x --seed 0",
        ),
        ("exec python -m pqm.models.devices 0 pqm train x > logs/a.log 2>&1", "python -m pqm.models.devices 0 pqm train x"),
        ("pqm paper real-solutions --output a 2>&1 | tee logs/a.log", "pqm paper real-solutions --output a"),
        ("pqm questions a >> logs/a.log", "pqm questions a"),
        ("echo 'a > b' c", "echo 'a > b' c"),
    ],
)
def test_the_command_to_repeat(plugin: ModuleType, command: str, repeated: str) -> None:
    assert plugin.to_repeat(command) == repeated
