"""Jobs that make the same thing at the same time: real processes that share a shard cache."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pqm.io.file_lock import FileLock
from pqm.io.shard_cache import ShardCache

# A job with four shards, whose rows tell its setting. It fails if another process works on the same output at the same time.
JOB = """
import os, sys, time
from pathlib import Path
from pqm.io.shard_cache import ShardCache

root, output, setting = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
seconds, longer = float(sys.argv[4]), float(sys.argv[5])  # of a shard, and more for the last one
cache = ShardCache(root, "stage", output, [setting], [])
alone = output.with_suffix(".alone")
os.close(os.open(alone, os.O_CREAT | os.O_EXCL))

def make(item):
    with (root / "made").open("a") as log:
        log.write(f"{setting} {item}\\n")
    time.sleep(seconds + longer * (item == 3))
    return [{"setting": setting, "item": item}]

table = cache.table_by_shards(range(4), make, "title", "shard")
table.to_csv(output, index=False)
alone.unlink()
cache.finish()
"""
OTHER_PROCESS = """
import sys
from pathlib import Path
from pqm.io.shard_cache import ShardCache

cache = ShardCache(Path(sys.argv[1]), "stage", Path(sys.argv[2]), [sys.argv[3]], [])
assert list(cache.path.iterdir()), "the shards of the first process"
cache.finish()
"""
COUNT = """
import sys
from pathlib import Path
from pqm.io.file_lock import FileLock

counter = Path(sys.argv[1])
for _ in range(40):
    lock = FileLock(counter.with_suffix(".lock"), "busy")
    counter.write_text(str(int(counter.read_text()) + 1))
    lock.release()
"""


FOLDER = """
import sys
from pathlib import Path
from pqm.io.formats import whole_folder

for _ in range(50):
    with whole_folder(Path(sys.argv[1])) as part:
        for name in "abc":
            (part / name).write_text(sys.argv[2])
"""


def start(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)


def finish(*jobs: subprocess.Popen[str]) -> list[str]:
    """What each job told; all of them must succeed."""
    told = [job.communicate(timeout=120)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * len(jobs), told
    return told


def wait_for(path: Path, lines: int) -> None:
    until = time.monotonic() + 60
    while not path.exists() or len(path.read_text().splitlines()) < lines:
        assert time.monotonic() < until
        time.sleep(0.01)


def table(setting: str) -> str:
    return "setting,item\n" + "".join(f"{setting},{item}\n" for item in range(4))


def test_jobs_with_the_same_output_work_one_after_the_other(tmp_path):
    output = tmp_path / "out.csv"
    told = finish(*(start(JOB, tmp_path, output, "a", 0.05, 0) for _ in range(3)))
    assert output.read_text() == table("a")
    assert sum(f"waiting for another job that makes {output}" in one for one in told) >= 1
    assert list((tmp_path / "stage").iterdir()) == []


def test_jobs_with_the_same_output_and_other_settings_keep_their_shards_apart(tmp_path):
    output = tmp_path / "out.csv"
    finish(*(start(JOB, tmp_path, output, setting, 0.05, 0) for setting in "abc"))
    assert output.read_text() in map(table, "abc")
    made = (tmp_path / "made").read_text().splitlines()
    assert sorted(made) == [f"{setting} {item}" for setting in "abc" for item in range(4)]
    assert [made[first][0] * 4 for first in (0, 4, 8)] == ["".join(line[0] for line in made[at : at + 4]) for at in (0, 4, 8)]


def test_jobs_with_equal_settings_and_inputs_and_other_outputs_do_not_wait(tmp_path):
    """As two policies with equal weights."""
    outputs = [tmp_path / f"{policy}/test.csv" for policy in ("weak", "strong")]
    for output in outputs:
        output.parent.mkdir()
    told = finish(*(start(JOB, tmp_path, output, "a", 0.1, 0) for output in outputs))
    assert [output.read_text() for output in outputs] == [table("a")] * 2
    assert told == ["", ""]


def test_the_same_relative_output_in_another_folder_is_another_output(tmp_path, monkeypatch):
    paths = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        paths.append(ShardCache(tmp_path / "cache", "stage", Path("out.csv"), [], []).path)
    assert paths[0] != paths[1] and paths[0].exists()
    assert ShardCache(tmp_path / "cache", "stage", tmp_path / "other/out.csv", [], []).path == paths[1]


def test_a_job_continues_what_a_killed_one_left(tmp_path):
    output = tmp_path / "out.csv"
    killed = start(JOB, tmp_path, output, "a", 0, 60)
    wait_for(tmp_path / "made", 4)
    second = start(JOB, tmp_path, output, "a", 0, 0)
    assert second.stderr is not None and second.stderr.readline().startswith("waiting for another job")
    killed.send_signal(signal.SIGKILL)
    output.with_suffix(".alone").unlink()
    killed.communicate()
    finish(second)
    assert output.read_text() == table("a")
    assert len((tmp_path / "made").read_text().splitlines()) == 4 + 1  # the shard that was cut is made again


def test_the_other_processes_of_a_distributed_job_share_its_cache(tmp_path):
    """They neither wait for the first process nor remove anything."""
    first = start(JOB, tmp_path, tmp_path / "out.csv", "a", 0, 3, RANK="0")
    wait_for(tmp_path / "made", 2)
    assert finish(start(OTHER_PROCESS, tmp_path, tmp_path / "out.csv", "a", RANK="1")) == [""]
    finish(first)
    assert (tmp_path / "out.csv").read_text() == table("a")
    assert list((tmp_path / "stage").iterdir()) == []


def test_a_lock_file_that_its_holder_removes_locks_nobody_out_and_lets_nobody_in(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    finish(*(start(COUNT, counter) for _ in range(3)))
    assert counter.read_text() == str(3 * 40)
    assert list(tmp_path.iterdir()) == [counter]


def test_processes_that_write_the_same_folder_leave_a_whole_one(tmp_path):
    """As two builds that write the same policy."""
    finish(*(start(FOLDER, tmp_path / "policy", text) for text in ("one", "two")))
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
    files = {path.name: path.read_text() for path in (tmp_path / "policy").iterdir()}
    assert files.keys() == set("abc") and len(set(files.values())) == 1


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    FileLock(tmp_path / "lock", "busy").release()
    assert "do not run two builds of a study at the same time" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
