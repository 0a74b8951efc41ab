"""The figures of a small study (`made_study.py`)."""

import importlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from made_study import COMPLETIONS, LISTED

from pqm.errors import PqmError
from pqm.paper.audit import audited_prefixes
from pqm.paper.declared import declared
from pqm.paper.figure import draw_figure
from pqm.paper.figures import label_audit, margin, q_values
from pqm.paper.results import Results


def test_every_figure_is_written_with_its_numbers(made):
    for name in made.config.figures:
        sizes = {form: Path(made.layout.figure(name, form)).stat().st_size for form in ("svg", "png", "pdf", "csv")}
        assert sizes["svg"] > 5000 and sizes["png"] > 5000 and sizes["pdf"] > 3000 and sizes["csv"] > 50


@pytest.mark.parametrize("name", ["framework", "theory", "separation"])
def test_the_same_input_gives_the_same_bytes(made, name, tmp_path):
    draw_figure(name, made, tmp_path)
    for form in ("svg", "png", "pdf"):
        assert (tmp_path / f"{name}.{form}").read_bytes() == Path(made.layout.figure(name, form)).read_bytes()


@pytest.mark.parametrize("name", LISTED["figures"])
def test_nothing_of_a_figure_is_cut_off(made, name):
    module = importlib.import_module(declared("figures", name).module)
    figure = module.draw(module.data(made, made.config.figures[name]))
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    inside = box.x0 >= -0.02 and box.y0 >= -0.02 and box.x1 <= width + 0.02 and box.y1 <= height + 0.02
    assert inside, f"{box.bounds} in {width} x {height}"


def test_label_errors_are_those_of_all_subsets(made):
    data, steps = label_audit.data(made, []).set_index("k"), audited_prefixes(made)
    for k in (1, 3, COMPLETIONS):
        missed, fooled = [], []
        for row in steps.itertuples():
            draws = [any(subset) for subset in combinations([True] * row.hits + [False] * (row.count - row.hits), k)]
            (missed if row.right else fooled).append(np.mean(draws))
        assert data.loc[k, "false_negative"] == pytest.approx(1 - np.mean(missed))
        assert data.loc[k, "false_positive"] == pytest.approx(np.mean(fooled))


def test_each_prefix_is_audited_once_and_whole_solutions_are_not(made):
    labels = made.labels("audit")
    prefixes = {
        (row.question_id, tuple(row.completions[:end])) for row in labels.itertuples() for end in range(1, len(row.completions))
    }
    assert len(audited_prefixes(made)) == len(prefixes)


def test_a_perfect_judge_reverses_less_than_a_poor_one(made):
    data = q_values.data(made, ["bce", "pqm-zeta4"]).drop_duplicates("source").set_index("source")
    assert data.loc["pqm-zeta4", "violated"] < data.loc["bce", "violated"]
    assert data.loc["pqm-zeta4", "inequalities"] == sum(len(steps) for steps in made.labels("audit")["completions"])


def test_margin_is_drawn_from_its_table(made):
    data = margin.data(made, [])
    assert set(data["zeta"]) == {4.0, 8.0} and set(data["n"]) == {1, 8}


def test_a_figure_names_the_table_that_it_lacks(study, tmp_path):
    without = Results(study.file, Path(study.layout.data), tmp_path)
    with pytest.raises(PqmError, match="make table main first"):
        draw_figure("best_of_n", without, tmp_path)
