"""The check at the end of a DVC stage."""

import contextlib
import subprocess
import sys
from pathlib import Path

from small import write_yaml
from study_x import (
    CHANGES,
    CODE,
    LAST,
    REMOVED,
    ROLLOUTS,
    SAMPLED,
    STUDY,
    TEST,
    TRAIN,
    below,
    record_of,
    recorded,
    refused,
    write_study,
)

from pqm.errors import PqmError
from pqm.provenance.check import check


def test_outputs_that_are_right_pass(built, opened, capsys):
    before = below("data")
    for stage in ("questions", "rollouts", "labels", "paper"):
        check("x", stage)
    check("x", "questions", [TEST])
    assert below("data") == before and not REMOVED.exists()
    assert opened == [] and capsys.readouterr() == ("", "")


def test_a_changed_input_is_refused_in_one_sentence_for_each_output(built):
    Path(CODE).write_text("problems = 2\n")
    assert refused("questions") == [
        f"data/x/questions/test: changed since: input {CODE}",
        f"data/x/questions/train: changed since: input {CODE}",
        f"2 {LAST}",
    ]
    check("x", "rollouts")
    assert below("data") == recorded(TEST, TRAIN, SAMPLED)


def test_a_changed_setting_is_refused(built):
    CHANGES["setting"][0]()
    assert refused("questions") == ["data/x/questions/test: changed since: setting questions.test", f"1 {LAST}"]
    write_study(STUDY)
    check("x", "questions")


def test_settings_are_those_of_the_study_and_not_of_the_frozen_one(built):
    write_yaml(Path("config/x/study.yaml"), STUDY | {"rollouts": {"test": ROLLOUTS | {"seed": 5}}})
    assert refused("rollouts")[0] == "data/x/rollouts/weak/test: changed since: setting rollouts.test"


def test_a_changed_output_and_its_dependents_are_refused(built):
    Path(TEST).write_text("edited")
    assert refused("questions") == [
        f"data/x/questions/test: changed since: output {TEST}",
        f"data/x/questions/train: changed since: input {TEST}",
        f"2 {LAST}",
    ]
    assert refused("rollouts") == [f"data/x/rollouts/weak/test: changed since: input {TEST}", f"1 {LAST}"]
    assert below("data") == recorded(TEST, TRAIN, SAMPLED)


def test_an_output_that_is_gone_is_refused(built):
    Path(TRAIN).unlink()
    assert refused("questions") == [f"data/x/questions/train: changed since: output {TRAIN}", f"1 {LAST}"]


def test_of_many_changes_five_are_listed(built):
    inputs = [f"input-{number}" for number in range(7)]
    for name in inputs:
        Path(name).write_text("before")
    record_of("data/x/questions/more.parquet", [], inputs)
    for name in inputs:
        Path(name).write_text("after")
    told = ", ".join(f"input {name}" for name in inputs[:5])
    assert refused("questions")[0] == f"data/x/questions/more: changed since: {told}"


def test_outputs_of_a_removed_item_and_their_dependents_are_moved_aside(built, capsys):
    write_study(STUDY | {"questions": {"train": STUDY["questions"]["train"]}})
    check("x", "questions")
    assert below("data") == recorded(SAMPLED)
    assert below(str(REMOVED)) == {f"{REMOVED}/{path}" for path in recorded(TEST, TRAIN)}
    assert f"moved {TEST} to {REMOVED / TEST}: the study no longer contains its item" in capsys.readouterr().err
    assert not Path("data/x/questions").exists() and Path("data/x").exists()
    assert (REMOVED / TEST).read_text() == "test"
    # the rollouts of the next stage were sampled on the questions that are gone
    check("x", "rollouts")
    assert below("data") == set() and (REMOVED / SAMPLED).exists()


def test_what_is_still_right_stays_where_it_is(built):
    write_study(STUDY | {"questions": {"test": STUDY["questions"]["test"]}})
    check("x", "questions")
    check("x", "rollouts")
    assert below("data") == recorded(TEST, SAMPLED)
    assert below(str(REMOVED)) == {f"{REMOVED}/{path}" for path in recorded(TRAIN)}


def test_a_removed_item_does_not_hide_what_else_is_wrong(built):
    write_study(STUDY | {"questions": {"test": STUDY["questions"]["test"]}})
    Path(TEST).write_text("edited")
    assert refused("questions") == [f"data/x/questions/test: changed since: output {TEST}", f"1 {LAST}"]
    assert below("data/x/questions") == recorded(TEST)


def test_a_folder_of_a_removed_run_is_moved_aside_and_replaces_an_earlier_one(built):
    for text in ("first", "second"):
        write_study(STUDY | {"runs": {"bce": {"loss": "bce", "labels": "a", "backbone": "b"}}})
        record_of("results/x/checkpoints/bce/seed-0", ["runs.bce,-policies,-seeds"], [CODE], text)
        check("x", "train")
        write_study(STUDY)
        check("x", "train")
        assert below("results") == set() and Path("results").exists()
        moved = REMOVED / "results/x/checkpoints/bce/seed-0/inner/weights"
        assert moved.read_text() == text


def test_published_files_that_are_not_on_this_machine_move_nothing(built):
    """After `dvc pull` of outputs that were built from published files on another machine."""
    published = Path("data/published/gsm8k/test.jsonl")
    published.parent.mkdir(parents=True)
    published.write_text("published")
    record_of("data/x/questions/gsm8k.parquet", ["questions.test"], [str(published)])
    check("x", "questions")
    published.unlink()
    with contextlib.suppress(PqmError):
        check("x", "questions")
    assert Path("data/x/questions/gsm8k.parquet").exists()


def test_files_without_a_record_are_moved_aside(built, capsys):
    record_of("data/x/rollouts/folder", [], [])
    for path in (
        "data/x/rollouts/weak/old.parquet",
        "data/x/rollouts/deep/er/old.parquet",
        "data/x/rollouts/folder/.snakemake_timestamp",
    ):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    Path("data/x/notes.txt").touch()  # in no folder of a stage
    check("x", "rollouts")
    stray = {"data/x/rollouts/weak/old.parquet", "data/x/rollouts/deep/er/old.parquet"}
    assert below(str(REMOVED)) == {f"{REMOVED}/{path}" for path in stray}
    assert not Path("data/x/rollouts/deep").exists()
    assert below("data/x/rollouts") >= recorded(SAMPLED) | {"data/x/rollouts/folder/inner/weights"}
    assert Path("data/x/notes.txt").exists() and Path("data/x/rollouts/folder/.snakemake_timestamp").exists()
    told = capsys.readouterr().err
    assert all(f"moved {path} to {REMOVED / path}: it has no record" in told for path in stray)


def test_outputs_with_an_unreadable_record_are_moved_aside(built):
    Path("data/x/questions/train.record.json").write_text("{")
    check("x", "questions")
    assert below("data/x/questions") == recorded(TEST)
    assert below(str(REMOVED)) == {f"{REMOVED}/{path}" for path in recorded(TRAIN)}


def test_only_targets_are_checked_and_nothing_is_moved(built):
    Path("data/x/questions/stray.parquet").touch()
    CHANGES["setting"][0]()
    check("x", "questions", [TRAIN])
    assert refused("questions", TEST, TRAIN) == [
        "data/x/questions/test: changed since: setting questions.test",
        f"1 {LAST}",
    ]
    assert refused("questions", TRAIN, "data/x/questions/stray.parquet", "data/x/questions/gone.parquet") == [
        "no record of data/x/questions/gone.parquet, data/x/questions/stray.parquet; expected one for each output"
    ]
    write_study(STUDY | {"questions": {"train": STUDY["questions"]["train"]}})
    assert refused("questions", TEST) == ["data/x/questions/test: changed since: setting questions.test", f"1 {LAST}"]
    assert Path("data/x/questions/stray.parquet").exists() and not REMOVED.exists()


def test_the_report_beside_the_folders_of_its_stage_is_checked_with_them(built):
    write_study(STUDY | {"results": {}})
    Path("results/x/benchmarks/train").mkdir(parents=True)
    Path("results/x/benchmarks/train/bce.tsv").touch()
    record_of("results/x/tables/main.csv", ["results"], [CODE])
    record_of("results/x/report.html", ["results"], ["results/x/tables/main.csv"])
    check("x", "paper")
    Path("results/x/tables/main.csv").write_text("edited")
    assert refused("paper") == [
        "results/x/tables/main: changed since: output results/x/tables/main.csv",
        "results/x/report: changed since: input results/x/tables/main.csv",
        f"2 {LAST}",
    ]
    assert Path("results/x/benchmarks/train/bce.tsv").exists()


def test_checking_by_the_command_line(built):
    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pqm.provenance", "check", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stderr

    assert run("x", "questions") == run("x") == run("x", "questions", TEST) == (0, "")
    Path(SAMPLED).write_text("edited")
    assert run("x", "questions") == (0, "")
    told = f"pqm: data/x/rollouts/weak/test: changed since: output {SAMPLED}\n1 {LAST}\n"
    assert run("x") == run("x", "rollouts") == (1, told)
    assert run("y", "questions") == (1, "pqm: config/y/study.yaml: no such study; known studies: x\n")
