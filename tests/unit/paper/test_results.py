"""Reading the settings and files of a study, and the verbs that build results."""

from pathlib import Path

import pytest
from made_study import SEEDS
from small import read_yaml, write_yaml

from pqm.errors import PqmError
from pqm.paper.declared import names
from pqm.paper.figure import draw_figure
from pqm.paper.results import Results
from pqm.paper.table import make_table
from pqm.study.layout import Layout

ROOT = Path(__file__).parents[3]
PUBLISHED = {"published_solutions", "published_disagreements"}  # of published solutions; see test_grading.py
REBUILT = {"rebuilds"}  # needs two rebuilds; see test_rebuilds.py


def test_studies_list_every_result():
    listed = {name: Results(ROOT / "config" / name / "study.yaml").config for name in ("demo", "tiny", "published")}
    # Human annotations and published numbers are about real questions, which the demo's models cannot read.
    about_real_questions = {"demo": {"annotated_errors", "paper_comparison"}, "tiny": {"annotated_errors"}}
    for name in ("demo", "tiny"):
        assert set(listed[name].tables) == {*names("tables")} - about_real_questions[name] - PUBLISHED - REBUILT
        assert set(listed[name].figures) == {*names("figures")} - REBUILT
    assert set(listed["published"].tables) == PUBLISHED and not listed["published"].figures


def test_two_runs_of_one_method_in_a_result_are_refused(study, tmp_path):
    content = read_yaml(study.file)
    content["results"]["tables"]["main"] = ["bce", "bce-early"]
    write_yaml(tmp_path / "study.yaml", content)
    other = Results(tmp_path / "study.yaml")
    assert other.runs_of("tables", "backbones") == ("bce", "bce-early")
    with pytest.raises(PqmError, match="main: runs bce, bce-early are all bce"):
        other.runs_of("tables", "main")


def test_unknown_results_are_refused(study, tmp_path):
    with pytest.raises(PqmError, match=r"no table 'mian'; did you mean 'main'\?"):
        make_table("mian", study, tmp_path)
    with pytest.raises(PqmError, match="no figure 'pie'; it has assumption, best_of_n"):
        draw_figure("pie", study, tmp_path)


def test_a_study_that_lacks_what_a_result_needs_is_named(study, tmp_path):
    content = read_yaml(study.file)
    del content["evaluation"]["audit"], content["training"]
    write_yaml(tmp_path / "study.yaml", content)
    lacking = Results(tmp_path / "study.yaml", Path(study.layout.data), Path(study.layout.results))
    with pytest.raises(PqmError, match=r"study\.yaml: evaluation names no audit set, which this result needs"):
        draw_figure("label_audit", lacking, tmp_path)
    with pytest.raises(PqmError, match=r"study\.yaml: section 'training' is missing, which this result needs"):
        lacking.scorers("bce")
    with pytest.raises(PqmError, match=r"study\.yaml: runs has no 'bec'; did you mean 'bce'\?"):
        lacking.run("bec")
    with pytest.raises(PqmError, match=r"study\.yaml: results: table 'published_solutions' is not listed"):
        make_table("published_solutions", lacking, tmp_path)


def test_a_study_has_its_own_folders():
    results = Results(ROOT / "config/demo/study.yaml")
    assert (results.name, results.layout) == ("demo", Layout("data/demo", "results/demo"))
    assert Results(results.file, results=Path("elsewhere")).layout == Layout("data/demo", "elsewhere")


def test_methods_are_named_by_loss_and_settings():
    results = Results(ROOT / "config/demo/study.yaml")
    own = {"bce-early": "bce", "pqm-zeta4-early": "pqm-zeta4", "first-error": "first-error-zeta4", "theorem": "theorem-zeta4"}
    own |= {"bce-language-model": "bce", "pqm-zeta4-language-model": "pqm-zeta4"}
    assert {run: results.method(run) for run in results.runs} == {run: own.get(run, run) for run in results.runs}
    assert {run for run in results.runs if results.aggregation(run) == "last"} == {"orm"}


def test_verbs_find_their_settings_in_the_study(made, run_cli, tmp_path):
    results = Path(made.layout.results)
    seeds = [word for seed in SEEDS for word in ("--seed", seed)]
    verb = ["evaluate", "metrics", made.file, "bce", "--results", results, *seeds]
    assert run_cli(*verb, "--output", tmp_path / "bce.parquet") == (0, "")
    verb = ["evaluate", "references", made.file, "--data", made.layout.data, "--results", results]
    assert run_cli(*verb, "--output", tmp_path / "references.parquet") == (0, "")
    for name in ("bce", "references"):
        assert (tmp_path / f"{name}.parquet").read_bytes() == Path(made.layout.metrics(name)).read_bytes()
    folders = ["--study", made.file, "--results", results]
    both = [*folders, "--data", made.layout.data]
    assert run_cli("paper", "table", "main", *both, "--output", tmp_path) == (0, "")
    assert run_cli("paper", "figure", "theory", *both, "--output", tmp_path) == (0, "")
    assert (tmp_path / "main.md").read_bytes() == Path(made.layout.table("main", "md")).read_bytes()
    assert (tmp_path / "theory.svg").read_bytes() == Path(made.layout.figure("theory", "svg")).read_bytes()
    assert run_cli("paper", "report", *both, "--output", tmp_path / "report.html") == (0, "")
    assert "figure-theory" in (tmp_path / "report.html").read_text()
    assert run_cli("paper", "overview", *folders, "--output", tmp_path / "README.md") == (0, "")
    assert "theory.png" in (tmp_path / "README.md").read_text()
