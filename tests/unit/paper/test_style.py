"""Names, order and colours of methods."""

import sys

import pytest

from pqm.losses.common.loss import names
from pqm.paper.results import Results
from pqm.paper.style import WITHOUT_TRAINING, in_print_order, printed, style

# All methods, in the order of tables.
PRINTED = {
    "pass@1": "pass@1",
    "random": "random choice",
    "pass@n": "pass@n",
    "self-consistency": "self-consistency",
    "policy-likelihood": "policy's likelihood",
    "backbone-likelihood": "backbone's likelihood",
    "step-classifier": "backbone's step classifier",
    "orm": "ORM",
    "mse-hard": "MSE, hard",
    "mse-soft": "MSE, soft",
    "bce": "BCE",
    "bce+self-consistency": "BCE, and self-consistency",
    "bce-soft": "BCE, soft",
    "pqm-zeta0": "PQM, ζ = 0",
    "pqm-zeta2": "PQM, ζ = 2",
    "pqm-zeta4": "PQM, ζ = 4",
    "pqm-zeta4+self-consistency": "PQM, ζ = 4, and self-consistency",
    "pqm-zeta16": "PQM, ζ = 16",
    "theorem-zeta4": "Eq. 9 (theorem), ζ = 4",
    "first-error-zeta4": "Eq. 12 (first error), ζ = 4",
    "something else": "something else",
}


def test_methods_have_their_names_and_order():
    assert {method: printed(method) for method in PRINTED} == PRINTED
    assert in_print_order(sorted(PRINTED)) == list(PRINTED)
    assert in_print_order(["bce", "pass@1", "bce"]) == ["pass@1", "bce"]


def test_every_reference_and_every_loss_is_in_the_list():
    assert set(WITHOUT_TRAINING) < set(PRINTED)
    assert all(any(method == name or method.startswith(f"{name}-") for method in PRINTED) for name in names())


def test_a_vote_has_the_colour_of_its_model_and_is_dashed():
    for method in ("bce", "pqm-zeta4"):
        assert style(method).colour == style(f"{method}+self-consistency").colour
        assert (style(method).line, style(f"{method}+self-consistency").line) == ("-", "--")


def test_colours_of_trained_methods_differ():
    trained = ("orm", "mse-hard", "mse-soft", "bce", "pqm-zeta2", "pqm-zeta4")
    assert [style(method).colour for method in trained] == ["#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#0072B2", "#D55E00"]


OWN = """
from pqm.losses.common.loss import Loss


def hinge(scores, labels, margin: float = 1.0):
    return scores.sum(dim=1)


LOSS = Loss(hinge, "hinge, margin {margin:g}", method="hinge-margin{margin:g}", colour="#123456", order=35)


def plain_hinge(scores, labels):
    return scores.sum(dim=1)
"""


@pytest.fixture
def results(tmp_path, monkeypatch, write_study):
    """A study with losses from a user's own module."""
    (tmp_path / "my_losses_of_test_style.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = {
        "wide": {"loss": "my_losses_of_test_style:LOSS", "loss_settings": {"margin": 10.0}},
        "narrow": {"loss": "my_losses_of_test_style:LOSS"},
        "plain": {"loss": "my_losses_of_test_style:plain_hinge"},
    }
    yield Results(write_study(runs={name: {"labels": "train", "backbone": "small"} | run for name, run in own.items()}))
    sys.modules.pop("my_losses_of_test_style", None)


def test_a_users_own_loss_has_its_label_colour_and_order(results):
    methods = {run: results.method(run) for run in results.runs}
    assert methods == {"wide": "hinge-margin10", "narrow": "hinge-margin1", "plain": "plain-hinge"}
    assert [printed(method) for method in methods.values()] == ["hinge, margin 10", "hinge, margin 1", "plain hinge"]
    assert style("hinge-margin10").colour == "#123456"
    assert in_print_order(["plain-hinge", "pqm-zeta4", *methods.values(), "bce", "theorem-zeta4"]) == [
        "bce", "hinge-margin1", "hinge-margin10", "pqm-zeta4", "theorem-zeta4", "plain-hinge",
    ]  # fmt: skip
