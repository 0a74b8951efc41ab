"""Digests of files, records of what made an output, the check that ends a DVC stage, and the tree of what made something."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from small import write_yaml

from pqm.errors import PqmError
from pqm.provenance import digests as digests_module
from pqm.provenance.check import check
from pqm.provenance.digests import MEMORY, Digests
from pqm.provenance.records import Record, lasting, read_record, record_files, run_and_record, settings_digest
from pqm.provenance.trace import trace
from pqm.study import frozen_text, load_study

STORIES = {"kind": "stories", "questions": 4, "facts": [1, 2], "seed": 1}
ROLLOUTS = {"samples": 2, "temperature": 1.0, "max_new_tokens": 8, "questions_per_batch": 2, "seed": 0}
STUDY: dict[str, Any] = {
    "questions": {"test": {"source": STORIES}, "train": {"source": STORIES | {"seed": 2}, "disjoint_from": ["test"]}},
    "rollouts": {"test": ROLLOUTS},
}
FROZEN = Path(".work/x/study.json")
CODE = "src/pqm/questions/stories.py"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the study x and a file of code."""
    monkeypatch.chdir(tmp_path)
    write_study(STUDY)
    Path(CODE).parent.mkdir(parents=True)
    Path(CODE).write_text("stories = 1\n")


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """What the recording process does with signals ends with a test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def write_study(content: dict[str, Any]) -> None:
    write_yaml(Path("config/x/study.yaml"), content)
    FROZEN.parent.mkdir(parents=True, exist_ok=True)
    FROZEN.write_text(frozen_text(load_study(Path("config/x/study.yaml"))))


def frozen() -> dict[str, Any]:
    return json.loads(FROZEN.read_text())


# ---------------------------------------------------------------- digests


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read for their digests."""
    names: list[str] = []

    def counted(name: str, mode: str) -> Any:
        names.append(name)
        return open(name, mode)

    monkeypatch.setattr(digests_module, "open", counted, raising=False)
    return names


@pytest.fixture
def file() -> Path:
    Path("data").mkdir()
    Path("data/a").write_bytes(b"one")
    return Path("data/a")


def remembered(path: str | Path) -> str | None:
    """The digest of a path, which is remembered."""
    found = Digests()
    digest = found.of(path)
    found.save()
    return digest


def test_a_digest_is_of_the_bytes(file):
    shutil.copy(file, "data/b")
    assert (
        Digests().of("data/a")
        == Digests().of(Path("data/b"))
        == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    )
    Path("data/b").write_bytes(b"two")
    assert Digests().of("data/a") != Digests().of("data/b")


def test_a_file_is_read_once(file, opened):
    digests = Digests()
    first = digests.of(file)
    assert digests.of("data/a") == first and digests.of("data") is not None
    assert opened == ["data/a"]
    digests.save()
    assert Digests().of("data/a") == first and Digests().of("data") is not None
    assert opened == ["data/a"]


def test_what_is_not_saved_is_read_again(file, opened):
    assert Digests().of(file) == Digests().of(file)
    assert opened == ["data/a", "data/a"]


def test_two_questions_about_a_path_get_one_answer(file):
    digests = Digests()
    first = digests.of(file), digests.of("nothing")
    file.write_bytes(b"another")
    Path("nothing").touch()
    assert (digests.of(file), digests.of("nothing")) == first
    assert Digests().of(file) != first[0] and Digests().of("nothing") is not None


def test_a_file_that_looks_untouched_is_not_read(file):
    """What the memory goes by: size, modification time and inode."""
    first, stat = remembered(file), file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Digests().of(file) == first


@pytest.mark.parametrize("change", ["size", "time", "inode"])
def test_a_file_that_was_touched_is_read_again(change, file, opened):
    first, stat = remembered(file), file.stat()
    if change == "inode":
        Path("data/other").write_bytes(b"two")
        os.replace("data/other", file)
    else:
        file.write_bytes(b"three" if change == "size" else b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + (change == "time")))
    assert Digests().of(file) != first
    assert opened == ["data/a", "data/a"]


@pytest.mark.parametrize("change", ["mode", "link", "read"])
def test_a_mode_a_link_and_a_reading_lose_nothing(change, file, opened):
    """DVC takes the right to write from files in its cache, and links them."""
    first = remembered(file)
    if change == "mode":
        file.chmod(0o444)
    elif change == "link":
        os.link(file, "data/hard")
    else:
        os.utime(file, ns=(1, file.stat().st_mtime_ns))
    assert Digests().of(file) == first and opened == ["data/a"]


def test_a_change_is_remembered_too(file, opened):
    remembered(file)
    file.write_bytes(b"another")
    changed = remembered(file)
    assert Digests().of(file) == changed and len(opened) == 2


@pytest.mark.parametrize("change", ["name", "byte", "new", "removed", "deep", "moved"])
def test_a_folder_is_its_names_and_bytes(change, file):
    Path("data/inner").mkdir()
    Path("data/inner/b").write_bytes(b"two")
    first = Digests().of("data")
    if change == "name":
        file.rename("data/c")
    elif change == "byte":
        file.write_bytes(b"onE")
    elif change == "new":
        Path("data/empty").touch()
    elif change == "removed":
        file.unlink()
    elif change == "deep":
        Path("data/inner/b").write_bytes(b"twO")
    else:
        Path("data/inner/b").rename("data/b")
    assert Digests().of("data") != first


def test_two_files_that_change_places_change_their_folder(file):
    Path("data/b").write_bytes(b"two")
    first = Digests().of("data")
    file.write_bytes(b"two")
    Path("data/b").write_bytes(b"one")
    assert Digests().of("data") != first


def test_a_folder_is_the_same_wherever_it_lies_and_whatever_snakemake_notes_in_it(file):
    first = Digests().of("data")
    shutil.copytree("data", "copy")
    Path("copy/.snakemake_timestamp").touch()
    assert Digests().of("copy") == first
    Path("linked").symlink_to("copy")
    assert Digests().of("linked") == first


def test_what_is_not_there_has_no_digest(file):
    Path("dangling").symlink_to("nowhere")
    assert Digests().of("nothing") is None and Digests().of("dangling") is None
    Path("empty").mkdir()
    assert Digests().of("empty") is not None
    first = remembered(file)
    file.unlink()
    assert Digests().of(file) is None
    file.write_bytes(b"one")
    assert Digests().of(file) == first


SAVE = """
import sys
import time
from pathlib import Path
from pqm.provenance.digests import Digests
digests = Digests()
for path in sorted(Path("data").glob(sys.argv[1] + "-*")):
    digests.of(path)
Path(sys.argv[1] + ".ready").touch()
while not Path("go").exists():
    time.sleep(0.001)
digests.save()
"""


def test_processes_that_save_at_once_lose_nothing(opened):
    Path("data").mkdir()
    for writer in range(4):
        for number in range(100):
            Path(f"data/{writer}-{number}").write_text(f"{writer} {number}")
    processes = [subprocess.Popen([sys.executable, "-c", SAVE, str(writer)]) for writer in range(4)]
    while len(list(Path().glob("*.ready"))) < 4:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    Path("go").touch()
    assert [process.wait(60) for process in processes] == [0] * 4
    digests = Digests()
    assert len({digests.of(path) for path in Path("data").iterdir()}) == 400 and opened == []


@pytest.mark.parametrize("broken", ["bytes", "folder", "table", "no folder"])
def test_a_memory_that_cannot_be_used_is_no_error(broken, file):
    first = remembered(file)
    MEMORY.unlink()
    if broken == "bytes":
        MEMORY.write_bytes(b"no database at all" * 100)
    elif broken == "folder":
        MEMORY.mkdir()
    elif broken == "table":
        with sqlite3.connect(MEMORY) as database:
            database.execute("CREATE TABLE digests (something TEXT)")
    else:
        shutil.rmtree(MEMORY.parent)
        MEMORY.parent.touch()
    assert remembered(file) == remembered(file) == first


def test_a_memory_that_cannot_be_written_is_no_error(file, monkeypatch, opened):
    first = remembered(file)
    Path("data/b").write_bytes(b"two")
    connect = sqlite3.connect

    def read_only(path: Any, **options: Any) -> sqlite3.Connection:
        return connect(f"file:{MEMORY}?mode=ro", **options | {"uri": True})

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", read_only)
        assert remembered("data/b") is not None and remembered(file) == first
    assert Digests().of(file) == first and Digests().of("data/b") is not None
    assert opened == ["data/a", "data/b", "data/b"]


# ---------------------------------------------------------------- settings


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


def test_settings_are_told_apart():
    values: list[Any] = [None, False, True, 0, 1, 1.0, "1", "", [], [1], {}, {"a": 1}, {"a": "1"}]
    assert len({settings_digest({"key": value}, "key") for value in values}) == len(values)
    assert settings_digest({"key": {"a": 1, "b": 2}}, "key") == settings_digest({"key": {"b": 2, "a": 1}}, "key")


# ---------------------------------------------------------------- recording


def record_of(
    output: str, settings: Sequence[str] = (), inputs: Sequence[str] = (), text: str = "made", more: Sequence[str] = ()
) -> str:
    """Make an output (a folder where it has no ending) through a command that is recorded; the record's path."""
    path = Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["sh", "-c", f"printf '{text}' > {path}"]
    if not path.suffix:
        command = ["sh", "-c", f"mkdir -p {path}/inner && printf '{text}' > {path}/inner/weights"]
    record = path.with_suffix(".record.json")
    assert run_and_record(record, FROZEN, settings, inputs, [output, *more], command) == 0
    return str(record)


def recording(*command: str, record: str = "data/x/out.record.json", outputs: Sequence[str] = ("data/x/out.txt",)) -> list[str]:
    """The command line that runs and records a command."""
    Path(record).parent.mkdir(parents=True, exist_ok=True)
    named = ["--study", str(FROZEN), "--settings", "rollouts.test", "--inputs", CODE, "--outputs", *outputs, record]
    return [sys.executable, "-m", "pqm.provenance", "record", record, *named, "--", *command]


def test_a_record_says_what_a_job_was_told_read_and_wrote():
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
    assert record.changes(frozen(), Digests()) == [] and opened == []  # what was hashed is remembered


def test_recording_imports_the_standard_library_alone():
    """Every job begins here."""
    code = "import sys, pqm.provenance.__main__; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    own = {"pqm", "pqm.errors", "pqm.provenance", "pqm.provenance.__main__", "pqm.provenance.digests", "pqm.provenance.records"}
    assert {name for name in loaded if name.split(".")[0] == "pqm"} == own
    assert not loaded & {"pydantic", "ruamel.yaml", "numpy", "pandas", "torch", "typer"}


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("printf half > data/x/out.txt; exit 1", 1), ("kill -9 $$", 137)])
def test_a_command_that_fails_is_not_recorded_and_its_exit_code_is_passed_on(command, code):
    assert subprocess.run(recording("sh", "-c", command)).returncode == code
    assert not Path("data/x/out.record.json").exists()


def test_the_record_of_an_earlier_run_says_that_a_failed_one_wrote_something_else():
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


def wait_for(path: Path) -> None:
    for _ in range(3000):
        if path.exists() and (path.name != "pid" or path.read_text().strip()):
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


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


CHANGES: dict[str, tuple[Callable[[], object], list[str]]] = {
    "nothing": (lambda: None, []),
    "a comment in the study": (lambda: write_study(dict(reversed(STUDY.items()))), []),
    "another item": (lambda: write_study(STUDY | {"rollouts": {"test": ROLLOUTS | {"seed": 5}}}), []),
    "setting": (
        lambda: write_study(STUDY | {"questions": STUDY["questions"] | {"test": {"source": STORIES | {"seed": 9}}}}),
        ["setting questions.test"],
    ),
    "setting that is gone": (
        lambda: write_study(STUDY | {"questions": {"train": {"source": STORIES | {"seed": 2}}}}),
        ["setting questions.test", "setting questions.train,-source"],
    ),
    "input": (lambda: Path(CODE).write_text("stories = 2\n"), [f"input {CODE}"]),
    "input that is gone": (lambda: Path(CODE).unlink(), [f"input {CODE}"]),
    "input that came": (lambda: Path("nothing").touch(), ["input nothing"]),
    "file of a folder": (lambda: Path("data/x/model/inner/weights").write_text("trained"), ["output data/x/model"]),
    "output": (lambda: Path("data/x/out.txt").write_text("edited"), ["output data/x/out.txt"]),
    "output that is gone": (lambda: Path("data/x/out.txt").unlink(), ["output data/x/out.txt"]),
    "same bytes again": (lambda: Path("data/x/out.txt").write_text("made"), []),
    "date": (lambda: os.utime("data/x/out.txt", (1, 1)), []),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_what_is_not_as_a_record_says_is_told(change, told):
    Path("data/x/model/inner").mkdir(parents=True)
    Path("data/x/model/inner/weights").write_text("made")
    settings, inputs = ["questions.test", "questions.train,-source"], [CODE, "nothing"]
    record = read_record(record_of("data/x/out.txt", settings, inputs, more=["data/x/model"]))
    assert record is not None
    change()
    assert record.changes(frozen(), Digests()) == told


def test_every_change_is_told_and_what_was_never_written_is_never_right():
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


# ---------------------------------------------------------------- the check of a stage

TEST, TRAIN, SAMPLED = "data/x/questions/test.parquet", "data/x/questions/train.parquet", "data/x/rollouts/weak/test.parquet"
REMOVED = Path(".work/x/removed")
LAST = "outputs were made from something else than is there now; build them again"


@pytest.fixture
def built() -> None:
    """Two question sets, one of which was made from the other, and rollouts."""
    record_of(TEST, ["questions.test"], [CODE], "test")
    record_of(TRAIN, ["questions.train"], [CODE, TEST], "train")
    Path("src/pqm/sampling.py").write_text("sampling = 1\n")
    record_of(SAMPLED, ["rollouts.test"], ["src/pqm/sampling.py", TEST], "sampled")


def below(folder: str) -> set[str]:
    return {path.as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def recorded(*outputs: str) -> set[str]:
    return {name for output in outputs for name in (output, Path(output).with_suffix(".record.json").as_posix())}


def refused(stage: str, *targets: str) -> list[str]:
    with pytest.raises(PqmError) as refusal:
        check("x", stage, targets)
    return str(refusal.value).splitlines()


def test_outputs_that_are_right_pass(built, opened, capsys):
    before = below("data")
    for stage in ("questions", "rollouts", "labels", "paper"):
        check("x", stage)
    check("x", "questions", [TEST])
    assert below("data") == before and not REMOVED.exists()
    assert opened == [] and capsys.readouterr() == ("", "")


def test_a_changed_input_is_refused_in_one_sentence_for_each_output(built):
    Path(CODE).write_text("stories = 2\n")
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


def test_a_setting_is_what_the_study_says_and_not_what_is_frozen(built):
    write_yaml(Path("config/x/study.yaml"), STUDY | {"rollouts": {"test": ROLLOUTS | {"seed": 5}}})
    assert refused("rollouts")[0] == "data/x/rollouts/weak/test: changed since: setting rollouts.test"


def test_a_changed_output_is_refused_and_what_was_made_from_it(built):
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


def test_of_many_changes_five_are_told(built):
    inputs = [f"input-{number}" for number in range(7)]
    for name in inputs:
        Path(name).write_text("before")
    record_of("data/x/questions/more.parquet", [], inputs)
    for name in inputs:
        Path(name).write_text("after")
    told = ", ".join(f"input {name}" for name in inputs[:5])
    assert refused("questions")[0] == f"data/x/questions/more: changed since: {told}"


def test_what_a_removed_item_made_is_moved_aside_with_what_was_made_from_it(built, capsys):
    write_study(STUDY | {"questions": {"train": STUDY["questions"]["train"]}})
    check("x", "questions")
    assert below("data") == recorded(SAMPLED)
    assert below(str(REMOVED)) == {f"{REMOVED}/{path}" for path in recorded(TEST, TRAIN)}
    assert f"moved {TEST} to {REMOVED / TEST}: the study no longer has what made it" in capsys.readouterr().err
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


def test_a_folder_of_a_removed_run_is_moved_aside_and_takes_the_place_of_an_earlier_one(built):
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
    """After `dvc pull` of what others made from their published files."""
    published = Path("data/published/gsm8k/test.jsonl")
    published.parent.mkdir(parents=True)
    published.write_text("published")
    record_of("data/x/questions/gsm8k.parquet", ["questions.test"], [str(published)])
    check("x", "questions")
    published.unlink()
    with contextlib.suppress(PqmError):
        check("x", "questions")
    assert Path("data/x/questions/gsm8k.parquet").exists()


def test_files_that_no_job_made_are_moved_aside(built, capsys):
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
    assert all(f"moved {path} to {REMOVED / path}: no record says who made it" in told for path in stray)


def test_outputs_whose_record_cannot_be_read_are_moved_aside(built):
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
        "no record of who made data/x/questions/gone.parquet, data/x/questions/stray.parquet"
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
    assert run("y", "questions") == (1, "pqm: config/y/study.yaml: no such study; there are x\n")


# ---------------------------------------------------------------- what made an output


@pytest.fixture
def chain(built) -> str:
    """A table made from rollouts, from questions, and from a file that no job made."""
    Path("config/reported.csv").write_text("numbers\n")
    inputs = [CODE, "config/reported.csv", SAMPLED, TEST, TRAIN]
    record_of("results/x/tables/main.csv", ["rollouts", "questions,-train"], inputs, "table", ["results/x/tables/main.md"])
    Path("results/x/tables/main.md").write_text("shown")
    record = Path("results/x/tables/main.record.json")
    content = json.loads(record.read_text())
    content["outputs"]["results/x/tables/main.md"] = Digests().of("results/x/tables/main.md")
    record.write_text(json.dumps(content))
    return "results/x/tables/main.csv"


WHOLE = f"""\
results/x/tables/main.csv and 1 more: same
  made by  sh -c printf 'table' > results/x/tables/main.csv
  setting  rollouts (seed 0): same
  setting  questions without train (seed 1): same
  code     {CODE}: same
  file     config/reported.csv: same
    {SAMPLED}: same
      made by  sh -c printf 'sampled' > {SAMPLED}
      setting  rollouts.test (seed 0): same
      code     src/pqm/sampling.py: same
        {TEST}: same
          made by  sh -c printf 'test' > {TEST}
          setting  questions.test (seed 1): same
          code     {CODE}: same
    {TEST}: see above
    {TRAIN}: same
      made by  sh -c printf 'train' > {TRAIN}
      setting  questions.train (seed 2): same
      code     {CODE}: same
        {TEST}: see above

"""


def test_what_made_an_output_is_told_back_to_settings_and_code(chain, run_pqm):
    assert trace(Path(chain)) == WHOLE + "all is as it was"
    assert run_pqm("provenance", chain) == (0, WHOLE + "all is as it was\n", "")
    for path in (chain, "results/x/tables/main.md", "results/x/tables/main.record.json", Path(chain).resolve()):
        assert trace(Path(path)) == trace(Path(chain))


def test_what_is_not_as_it_was_is_told_at_its_place(chain):
    Path(CODE).write_text("stories = 2\n")
    write_study(STUDY | {"rollouts": {"test": ROLLOUTS | {"seed": 5}}})
    Path("config/reported.csv").unlink()
    Path(TRAIN).write_text("edited")
    Path("results/x/tables/main.md").unlink()
    expected = (
        WHOLE.replace(f"{CODE}: same", f"{CODE}: CHANGED")
        .replace("rollouts (seed 0): same", "rollouts: CHANGED")
        .replace("rollouts.test (seed 0): same", "rollouts.test: CHANGED")
        .replace("reported.csv: same", "reported.csv: absent")
        .replace(f"{TRAIN}: same", f"{TRAIN}: CHANGED")
        .replace("and 1 more: same", "and 1 more: absent")
    )
    assert trace(Path(chain)) == expected + "8 of 20 lines are not as they were"


def test_a_removed_setting_is_told_as_changed_and_a_moved_output_as_absent(chain):
    write_study(STUDY | {"questions": {"test": STUDY["questions"]["test"]}})
    check("x", "questions")
    told = trace(Path(chain))
    assert f"  file     {TRAIN}: absent" in told and "see above" in told  # its record moved with it
    assert told.endswith("1 of 16 lines are not as they were")
    write_study({"rollouts": {"test": ROLLOUTS}})
    assert "          setting  questions.test: CHANGED" in trace(Path(chain))


def test_a_file_in_a_folder_that_a_job_made_is_told_by_the_folder(built):
    record_of("results/x/checkpoints/bce/seed-0", ["rollouts"], [])
    told = trace(Path("results/x/checkpoints/bce/seed-0/inner/weights"))
    assert told.splitlines()[0] == "results/x/checkpoints/bce/seed-0: same"
    assert trace(Path("results/x/checkpoints/bce/seed-0/no-such-file")) == told


@pytest.mark.parametrize(
    "path", ["README.md", "config/x/study.yaml", "data/x", "results", "/elsewhere/results/x/tables/main.csv"]
)
def test_a_path_of_no_study_is_refused(path, built, run_cli):
    assert run_cli("provenance", path) == (1, f"pqm: {path}: expected a path below data/STUDY or results/STUDY\n")


def test_an_output_that_no_record_names_is_refused(built, run_cli):
    code, told = run_cli("provenance", "data/x/questions/other.parquet")
    assert code == 1 and told.startswith("pqm: data/x/questions/other.parquet: no record says who made it; records stand beside ")
    assert "data/questions" in told and "results/tables" in told
    assert run_cli("provenance", "data/y/questions/other.parquet") == (
        1,
        "pqm: config/y/study.yaml: no such study; there are x\n",
    )
