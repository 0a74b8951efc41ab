"""A folder with the study x, recorded outputs, and a list of opened files."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from study_x import CODE, SAMPLED, STUDY, TEST, TRAIN, record_of, write_study

from pqm.provenance import digests as digests_module
from pqm.provenance.digests import Digests


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the study x and a file of code."""
    monkeypatch.chdir(tmp_path)
    write_study(STUDY)
    Path(CODE).parent.mkdir(parents=True)
    Path(CODE).write_text("problems = 1\n")


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Restore the signal handlers after each test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read to compute digests."""
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


@pytest.fixture
def built() -> None:
    """Two question sets, the second computed from the first, and rollouts."""
    record_of(TEST, ["questions.test"], [CODE], "test")
    record_of(TRAIN, ["questions.train"], [CODE, TEST], "train")
    Path("src/pqm/sampling.py").write_text("sampling = 1\n")
    record_of(SAMPLED, ["rollouts.test"], ["src/pqm/sampling.py", TEST], "sampled")


@pytest.fixture
def chain(built) -> str:
    """A table computed from rollouts, questions, and a file without a record."""
    Path("config/reported.csv").write_text("numbers\n")
    inputs = [CODE, "config/reported.csv", SAMPLED, TEST, TRAIN]
    record_of("results/x/tables/main.csv", ["rollouts", "questions,-train"], inputs, "table", ["results/x/tables/main.md"])
    Path("results/x/tables/main.md").write_text("shown")
    record = Path("results/x/tables/main.record.json")
    content = json.loads(record.read_text())
    content["outputs"]["results/x/tables/main.md"] = Digests().of("results/x/tables/main.md")
    record.write_text(json.dumps(content))
    return "results/x/tables/main.csv"
