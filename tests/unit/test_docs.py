import re
import tomllib
from pathlib import Path

import pytest
import yaml

from pqm import formats

ROOT = Path(__file__).parents[2]
FORMATS = [formats.QUESTIONS, formats.ROLLOUTS, formats.LABELS, formats.GRADES, formats.SCORES, formats.METRICS]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_formats_page_names_every_column(form):
    section = (ROOT / "docs/formats.md").read_text().split(f"## {form.name}\n", 1)[1].split("\n## ", 1)[0]
    columns = re.findall(r"^\| (\w+) \|", section, flags=re.M)[1:]
    assert columns == form.schema.names


def test_every_dependency_is_pinned_and_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.match(r"[\w-]+", one)[0] for one in named if not one.startswith("types-")}
    lines = [line for path in ROOT.glob("requirements*.lock") for line in path.read_text().splitlines()]
    lock = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert {name.lower() for name in names} <= lock
    table = (ROOT / "docs/decisions.md").read_text().split("| package | why |", 1)[1]
    assert names <= set(re.findall(r"[\w-]+", table))


def test_the_lock_pins_torch_and_brings_no_gpu_packages():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert "torch==2.13.0" in lines
    assert not [line for line in lines if line.startswith(("nvidia", "triton", "cuda"))]
    assert all("==" in line for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("path", ["environment.yml", "envs/pqm.yaml"])
def test_conda_environments_install_the_lock(path):
    dependencies = yaml.safe_load((ROOT / path).read_text())["dependencies"]
    pip = dependencies[-1]["pip"]
    lock = pip[0].removeprefix("-r ")
    assert "python=3.11" in dependencies and ((ROOT / path).parent / lock).resolve() == ROOT / "requirements.lock"


def test_every_table_and_figure_has_a_caption():
    paper = yaml.safe_load((ROOT / "config/demo/paper.yaml").read_text())
    assert all((ROOT / f"workflow/report/{name}.rst").read_text().strip() for name in (*paper["tables"], *paper["figures"]))
