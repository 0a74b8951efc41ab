"""Records of outputs."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from study_x import CHANGES, CODE, FROZEN, frozen, record_of, recording, wait_for

from pqm.provenance.digests import Digests
from pqm.provenance.records import Record, lasting, read_record, record_files, run_and_record, settings_digest


def test_a_part_of_a_study_may_leave_keys_out():
    study = {"runs": {"bce": {"loss": "bce", "seeds": [0], "policies": None}}, "training": {"seeds": [0, 1], "epochs": 1.0}}
    whole, part = settings_digest(study, "runs.bce"), settings_digest(study, "runs.bce,-policies,-seeds")
    assert whole != part and part == settings_digest(study, "runs.bce,-seeds,-policies")
    study["runs"]["bce"]["seeds"] = [0, 1, 2]
    assert settings_digest(study, "runs.bce") != whole
    assert settings_digest(study, "runs.bce,-policies,-seeds") == part
    study["runs"]["bce"]["loss"] = "mse"
    assert settings_digest(study, "runs.bce,-policies,-seeds") != part
    assert settings_digest(study, "training,-epochs") == settings_digest({"training": {"seeds": [0, 1]}}, "training")
    assert settings_digest(study, "training.seeds,-epochs") == settings_digest(study, "training.seeds")
    assert settings_digest(study, "training,-nothing") == settings_digest(study, "training")


def test_different_settings_have_different_digests():
    values: list[Any] = [None, False, True, 0, 1, 1.0, "1", "", [], [1], {}, {"a": 1}, {"a": "1"}]
    assert len({settings_digest({"key": value}, "key") for value in values}) == len(values)
    assert settings_digest({"key": {"a": 1, "b": 2}}, "key") == settings_digest({"key": {"b": 2, "a": 1}}, "key")


def test_a_record_contains_settings_inputs_and_outputs():
    Path(".work/servers").mkdir()
    Path(".work/servers/address.json").touch()
    inputs = [CODE, ".work/servers/address.json", CODE, "nothing"]
    settings = ["questions.test", "questions.train,-disjoint_from", "runs.gone"]
    path = record_of("data/x/questions/test.parquet", settings, inputs, more=["data/x/questions/other"])
    assert json.loads(Path(path).read_text()) == {
        "command": ["sh", "-c", "printf 'made' > data/x/questions/test.parquet"],
        "settings": {name: settings_digest(frozen(), name) for name in settings},
        "inputs": {CODE: Digests().of(CODE), "nothing": None},
        "outputs": {
            "data/x/questions/test.parquet": Digests().of("data/x/questions/test.parquet"),
            "data/x/questions/other": None,
        },
    }
    assert json.loads(Path(path).read_text())["settings"]["runs.gone"] is None
    assert lasting(inputs) == [CODE, "nothing"]
    assert record_files(["data/x"]) == [path] and record_files(["nowhere"]) == []


def test_recording_by_the_command_line(opened):
    done = subprocess.run(recording("sh", "-c", "echo -- told; printf made > data/x/out.txt"), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "-- told\n", "")
    record = read_record("data/x/out.record.json")
    assert record is not None and record.command == ["sh", "-c", "echo -- told; printf made > data/x/out.txt"]
    assert list(record.settings) == ["rollouts.test"] and list(record.inputs) == [CODE]
    assert list(record.outputs) == ["data/x/out.txt"]  # not the record itself
    assert record.changes(frozen(), Digests()) == [] and opened == []  # the digests are cached


def test_gpus_are_given_to_the_command_and_not_recorded(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = ["sh", "-c", "printf $CUDA_VISIBLE_DEVICES > data/x/out.txt"]
    with_gpus = recording(*command)
    place = with_gpus.index("--")
    subprocess.run([*with_gpus[:place], "--gpus", "2", *with_gpus[place:]], check=True)
    assert Path("data/x/out.txt").read_text() == "3,5" and read_record("data/x/out.record.json").command == command


def test_recording_imports_the_standard_library_alone():
    """Every job begins here."""
    code = "import sys, pqm.provenance.__main__; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    own = {"pqm", "pqm.errors", "pqm.provenance", "pqm.provenance.__main__", "pqm.provenance.digests", "pqm.provenance.records"}
    own |= {"pqm.study", "pqm.study.layout"}
    assert {name for name in loaded if name.split(".")[0] == "pqm"} == own
    assert not loaded & {"pydantic", "ruamel.yaml", "numpy", "pandas", "torch", "typer"}


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("printf half > data/x/out.txt; exit 1", 1), ("kill -9 $$", 137)])
def test_a_command_that_fails_is_not_recorded_and_its_exit_code_is_passed_on(command, code):
    assert subprocess.run(recording("sh", "-c", command)).returncode == code
    assert not Path("data/x/out.record.json").exists()


def test_the_record_of_an_earlier_run_is_invalid_after_a_failed_one():
    path = record_of("data/x/out.txt", ["questions.test"], [CODE])
    before = Path(path).read_bytes()
    assert (
        run_and_record(Path(path), FROZEN, [], [], ["data/x/out.txt"], ["sh", "-c", "printf half > data/x/out.txt; exit 1"]) == 1
    )
    assert Path(path).read_bytes() == before
    assert Record(**json.loads(before)).changes(frozen(), Digests()) == ["output data/x/out.txt"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_command(number):
    code = (
        "import signal, sys, time, pathlib\n"
        "def end(number, _):\n"
        "    pathlib.Path('saved').write_text(str(number)); sys.exit(128 + number)\n"
        "signal.signal(signal.SIGTERM, end); signal.signal(signal.SIGINT, end)\n"
        "pathlib.Path('ready').touch(); time.sleep(60)\n"
    )
    process = subprocess.Popen(recording(sys.executable, "-c", code), start_new_session=True)
    wait_for(Path("ready"))
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    assert Path("saved").read_text() == str(int(number)) and not Path("data/x/out.record.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's notice of a parent's end is Linux's")
def test_a_command_ends_with_the_process_that_records_it():
    process = subprocess.Popen(recording("sh", "-c", "echo $$ > pid; sleep 60"))
    wait_for(Path("pid"))
    process.kill()
    process.wait()
    for _ in range(500):
        try:
            state = Path(f"/proc/{Path('pid').read_text().strip()}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError("the command still runs")


def test_what_a_killed_job_left_half_written_is_removed_first():
    folder = Path("data/x/questions")
    folder.mkdir(parents=True)
    for name in (
        ".test.parquet.123.part",
        ".test[1].parquet.7.part",
        ".train.parquet.123.part",
        "test.parquet.part",
        ".test.parquet.txt",
    ):
        (folder / name).touch()
    (folder / ".model.9.part/inner").mkdir(parents=True)
    outputs = ["test.parquet", "test[1].parquet", "model"]
    seen = "ls -A data/x/questions > seen"
    assert (
        run_and_record(folder / "test.record.json", FROZEN, [], [], [f"{folder}/{name}" for name in outputs], ["sh", "-c", seen])
        == 0
    )
    assert Path("seen").read_text().split() == [".test.parquet.txt", ".train.parquet.123.part", "test.parquet.part"]


def test_inputs_are_recorded_as_they_were_before_the_job_began():
    Path("input").write_text("before")
    before = Digests().of("input")
    run_and_record(Path("out.record.json"), FROZEN, [], ["input"], [], ["sh", "-c", "printf after > input"])
    record = read_record("out.record.json")
    assert record is not None and record.inputs == {"input": before}
    assert record.changes(frozen(), Digests()) == ["input input"]


def test_a_record_is_written_whole_or_not_at_all(monkeypatch):
    path = Path(record_of("data/x/out.txt"))
    before = path.read_bytes()

    def full(self: Path, target: Path) -> None:
        assert json.loads(self.read_text())["command"][2].endswith("again") and path.read_bytes() == before
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(Path, "replace", full)
        run_and_record(path, FROZEN, [], [], ["data/x/out.txt"], ["sh", "-c", "echo again"])
    assert path.read_bytes() == before
    record_of("data/x/out.txt", text="again")
    assert path.read_bytes() != before and sorted(one.name for one in path.parent.iterdir()) == ["out.record.json", "out.txt"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"command": []}', '{"command": 1, "more": 2}', "\xff"])
def test_what_is_no_record_is_none(text):
    Path("out.record.json").write_text(text, encoding="latin-1")
    assert read_record("out.record.json") is None
    assert read_record("nowhere.record.json") is None


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_changes_since_a_record_are_listed(change, told):
    Path("data/x/model/inner").mkdir(parents=True)
    Path("data/x/model/inner/weights").write_text("made")
    settings, inputs = ["questions.test", "questions.train,-source"], [CODE, "nothing"]
    record = read_record(record_of("data/x/out.txt", settings, inputs, more=["data/x/model"]))
    assert record is not None
    change()
    assert record.changes(frozen(), Digests()) == told


def test_every_change_is_listed_and_a_missing_output_is_never_valid():
    record = read_record(record_of("data/x/out.txt", ["questions.test"], [CODE], more=["data/x/never.txt"]))
    assert record is not None and record.changes(frozen(), Digests()) == ["output data/x/never.txt"]
    CHANGES["setting"][0]()
    CHANGES["input"][0]()
    CHANGES["output"][0]()
    assert record.changes(frozen(), Digests()) == [
        "setting questions.test",
        f"input {CODE}",
        "output data/x/out.txt",
        "output data/x/never.txt",
    ]
