"""A sampling engine is found by its name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small import write_yaml

from pqm.io import formats
from pqm.workflow.code import code

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()


def code_on_page(start: str) -> list[str]:
    """The blocks of Python code after a text of docs/architecture.md."""
    return re.findall(r"```python\n(.*?)```", PAGE[PAGE.index(start) :], flags=re.S)


@pytest.fixture
def sources(tmp_path):
    """A copy of the package with the engine that the page shows."""
    shutil.copytree(ROOT / "src/pqm", tmp_path / "src/pqm", ignore=shutil.ignore_patterns("__pycache__"))
    engine, section, key = code_on_page("### A sampling engine")[:3]
    (tmp_path / "src/pqm/models/sampling/fixed_engine.py").write_text(engine)
    settings = tmp_path / "src/pqm/study/models.py"
    text = settings.read_text().replace("class HubModel(Settings):", f"{section}\n\nclass HubModel(Settings):")
    server = re.search(r"^    server: ServerConfig .*\n", text, flags=re.M)[0]
    text = text.replace(server, server + key).replace('"gguf", "server")', '"gguf", "server", "fixed")')
    settings.write_text(text)
    return tmp_path / "src"


def test_a_new_engine_needs_its_file_and_its_settings(sources, tables, tmp_path):
    write_yaml(
        tmp_path / "study.yaml",
        {
            "policies": {"tiny": {"fixed": {"text": "1 + 1 = 2\nanswer 2\n"}, "format": {"step_separator": "\n"}}},
            "rollouts": {"tiny": {"samples": 2, "temperature": 0.5, "max_new_tokens": 9, "questions_per_batch": 2, "seed": 1}},
        },
    )

    def run(*arguments: object) -> None:
        command = [sys.executable, "-m", "pqm.cli", *map(str, arguments)]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(sources)}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    study, policy, output = tmp_path / "study.yaml", tmp_path / "policy", tmp_path / "rollouts.parquet"
    run("policies", "policy", study, "tiny", "--output", policy)
    inputs = ["--policy", policy, "--questions", tables.questions, "--cache", tmp_path / "cache"]
    run("rollouts", "sample", study, "tiny", "--output", output, *inputs)
    rollouts = formats.read(output, formats.ROLLOUTS)
    assert len(rollouts) == 2 * len(formats.read(tables.questions, formats.QUESTIONS))
    assert {tuple(steps) for steps in rollouts["steps"]} == {("1 + 1 = 2", "answer 2")}
    assert set(rollouts["engine"]) == {"fixed text"}


def test_the_page_counts_its_files():
    assert re.search(r"^\| a sampling engine \| 2 \|", PAGE, flags=re.M)


@pytest.mark.parametrize("kind", ["rollouts", "labels"])
def test_what_samples_depends_on_every_engine(kind):
    engines = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src/pqm/models/sampling").glob("*_engine.py")}
    assert len(engines) == 2 and engines <= set(code(kind))


@pytest.mark.parametrize("kind", ["models", "scores", "train"])
def test_what_does_not_sample_depends_on_none(kind):
    assert not [path for path in code(kind) if path.endswith("_engine.py")]
