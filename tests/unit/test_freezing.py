"""Freezing a study for a build, and the digests of its parts that records contain."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from small import read_yaml, write_yaml
from studies import ROOT, each_study

from pqm.provenance.records import settings_digest
from pqm.study.freezing import frozen_file, frozen_text, killed_build
from pqm.study.reading import load_study, study_name

NUMBERS = count()  # files that hypothesis writes


@each_study
def test_a_frozen_study_is_the_whole_study(path, tmp_path):
    study = load_study(path)
    frozen = tmp_path / "study.json"
    frozen.write_text(frozen_text(study))
    assert load_study(frozen) == study
    assert frozen_text(load_study(frozen)) == frozen_text(study)


FREEZE = """
import sys
from pathlib import Path
from pqm.study.freezing import freeze
from pqm.study.reading import load_study
freeze(load_study(Path(sys.argv[1])), "tiny")
print("frozen", flush=True)
sys.stdin.read()
"""


def freezing(path: Path) -> subprocess.Popen[str]:
    """A process that freezes its study like a build, and ends with its standard input."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", FREEZE, str(path)], **pipes, text=True)


def test_freezing_writes_every_default_and_leaves_what_is_the_same_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source, other, path = ROOT / "config/tiny/study.yaml", tmp_path / "other.yaml", frozen_file("tiny")
    assert freezing(source).communicate() == ("frozen\n", "")
    assert path == Path(".work/tiny/study.json") and study_name(path) == "tiny"
    assert path.read_text() == frozen_text(load_study(source))
    assert json.loads(path.read_text())["training"]["accumulation"] == 1
    os.utime(path, (1, 1))
    assert freezing(source).communicate() == ("frozen\n", "")
    assert path.stat().st_mtime == 1
    write_yaml(other, read_yaml(source) | {"results": {}})
    assert freezing(other).communicate() == ("frozen\n", "")
    assert json.loads(path.read_text())["results"]["tables"] == {}
    assert {one.name for one in path.parent.iterdir()} == {"lock", "study.json"}


def test_a_second_build_of_a_study_waits_for_the_first_and_a_killed_one_leaves_no_lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = ROOT / "config/tiny/study.yaml"
    assert not killed_build()
    Path(".snakemake/locks").mkdir(parents=True)
    Path(".snakemake/locks/0.input.lock").touch()
    with freezing(source) as first:
        assert first.stdout.readline() == "frozen\n"
        second = freezing(source)
        _, said = second.communicate()
        assert second.returncode == 1
        assert said.endswith("PqmError: a build of study tiny is running; wait for it, or stop it\n")
        assert not killed_build()
        first.kill()
    assert killed_build()
    assert freezing(source).communicate() == ("frozen\n", "")
    Path(".snakemake/locks/0.input.lock").unlink()
    assert not killed_build()


# The selectors of the rules, and all parts down to single settings of items.
WITHOUT = [
    "runs.bce,-policies,-seeds",
    "training,-seeds,-checkpoint_every",
    "runs.pqm-zeta4,-labels",
    "evaluation,-policies,-benchmarks,-n",
]


def places(content: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places of all leaves of a frozen study."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from places(value, (*place, key))
    else:
        yield place


DEMO = json.loads(frozen_text(load_study(ROOT / "config/demo/study.yaml")))
LEAVES = list(places(DEMO))
SELECTORS = sorted({".".join(place[:depth]) for place in LEAVES for depth in range(1, len(place) + 1)}) + WITHOUT


def digests(study: dict[str, Any]) -> dict[str, str | None]:
    return {name: settings_digest(study, name) for name in SELECTORS}


def selects(selector: str, place: tuple[str, ...]) -> bool:
    """Whether a selector contains a place."""
    keys, *left_out = selector.split(",-")
    parts = tuple(keys.split("."))
    below = place[len(parts) :]
    return place[: len(parts)] == parts and not (below and below[0] in left_out)


values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)


@given(place=st.sampled_from(LEAVES), value=values | st.lists(values, max_size=3))
@hypothesis_settings(max_examples=200, deadline=None)
def test_a_change_of_one_value_changes_the_digests_of_what_contains_it_and_no_other(place, value):
    before = digests(DEMO)
    assert None not in before.values()
    changed = json.loads(json.dumps(DEMO))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    same = json.dumps(inner[place[-1]]) == json.dumps(value)
    inner[place[-1]] = value
    after = digests(changed)
    assert {name for name in SELECTORS if after[name] != before[name]} == {
        name for name in SELECTORS if not same and selects(name, place)
    }


def yaml_text(content: Any, random: random.Random, flow: float, pad: str = "") -> str:
    """A value as YAML, at random in block style with comments or in flow style."""
    if isinstance(content, float):
        return " " + random.choice([repr(content), f"{content:.16e}", f"{content:.20f}"])
    if not isinstance(content, dict | list) or not content or random.random() < flow:
        return " " + json.dumps(content)  # JSON is YAML
    keys = random.sample(sorted(content), len(content)) if isinstance(content, dict) else range(len(content))
    lines = []
    for key in keys:
        if random.random() < 0.2:
            lines.append(f"{pad}# a comment: {{{random.random()}")
        head = f"{pad}{json.dumps(key)}:" if isinstance(content, dict) else f"{pad}-"
        lines.append(head + yaml_text(content[key], random, flow, pad + "  ") + random.choice(["", "  # note"]))
    return "\n" + "\n".join(lines)


@given(seed=st.integers(0, 2**32), flow=st.sampled_from([0.0, 0.1, 0.5]))
@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_comments_order_and_style_change_no_digest(seed, flow, tmp_path):
    path = tmp_path / f"study-{next(NUMBERS)}.yaml"
    path.write_text(yaml_text(read_yaml(ROOT / "config/demo/study.yaml"), random.Random(seed), flow).lstrip() + "\n")
    assert digests(json.loads(frozen_text(load_study(path)))) == digests(DEMO)


def test_a_part_that_the_study_does_not_have_has_no_digest():
    for name in ("solution", "runs.nothing", "runs.bce.loss.more", "runs.nothing,-seeds", ""):
        assert settings_digest(DEMO, name) is None
    assert settings_digest(DEMO, "assumptions") is not None  # a section that is empty: null
