"""Single values of files from elsewhere: gold answers, truth values, reasons why samples ended, and values in messages."""

import re

import pytest

from pqm.errors import PqmError, shortened
from pqm.io.finish_reason import finish_reason, finish_reasons
from pqm.problems.published_values import gold_answer, truth_value

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", "5"),
        (" 5 ", " 5 "),
        ("None", "None"),
        (["5"], "5"),
        ([r"\frac{1}{2}"], r"\frac{1}{2}"),
        (5, "5"),
        (0, "0"),
        ([5], "5"),
        (-2.5, "-2.5"),
        (1e-7, "0.0000001"),
        (10**400, "1" + 400 * "0"),
    ],
)
def test_a_gold_answer_is_a_text_a_number_or_a_list_of_one(value, text):
    assert gold_answer(value) == text


@pytest.mark.parametrize("value", [None, NAN, "", "  ", [None], [""], [NAN]])
def test_a_missing_gold_answer_is_refused(value):
    with pytest.raises(ValueError, match="the gold answer is empty"):
        gold_answer(value)


@pytest.mark.parametrize("value", [[], ["5", "6"], [["5"]], {"answer": "5"}, [{"answer": "5"}], True, float("inf")])
def test_a_gold_answer_of_several_values_or_another_type_is_refused(value):
    with pytest.raises(ValueError, match=re.escape(f"expected one gold answer, a text or a number, found {value!r}")):
        gold_answer(value)


@pytest.mark.parametrize(
    ("value", "truth"), [(True, True), (False, False), ("True", True), ("False", False), ("true", True), ("FALSE", False)]
)
def test_truth_values_are_booleans_or_words(value, truth):
    assert truth_value(value) is truth


@pytest.mark.parametrize("value", [0, 1, 1.0, None, NAN, "", "yes", "0", " true", ["True"], {}])
def test_other_truth_values_are_refused(value):
    with pytest.raises(ValueError, match="expected true or false, found"):
        truth_value(value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((name, "stop") for name in ("stop", "STOP", "Stop", "eos", "EOS", "eos_token", "EOS_TOKEN", None, NAN)),
        *((name, "length") for name in ("length", "LENGTH", "max_tokens", "MAX_TOKENS")),
    ],
)
def test_names_of_reasons(name, reason):
    assert finish_reason(name) == reason


@pytest.mark.parametrize("name", ["", "content_filter", "tool_calls", "stopped", "abort", 0, ["stop"]])
def test_other_reasons_are_refused_with_their_place(name):
    with pytest.raises(PqmError, match=r"a\.parquet: row 1, finish_reason: expected stop, eos, .* or null, found"):
        finish_reasons(["stop", name], "a.parquet")
    with pytest.raises(PqmError, match=r"a\.json: response 4, finish_reason: "):
        finish_reasons(["stop", name], "a.json", ["response 3", "response 4"])


def test_missing_reasons_are_counted(capsys):
    assert finish_reasons(["EOS", None, "max_tokens", NAN], "a.parquet") == ["stop", "stop", "length", "stop"]
    assert "a.parquet: 2 of 4 samples have no finish_reason; they count as complete (stop)" in capsys.readouterr().err
    finish_reasons(["stop", "length"], "a.parquet")
    assert capsys.readouterr().err == ""


def test_only_the_ends_of_a_long_value_are_shown():
    assert shortened("four") == "'four'" and shortened(4) == "4"
    for value in ("x" * 50_000, ["x"] * 50_000, {"a": "\n" * 50_000}):
        text = shortened(value)
        assert len(text) < 200 and text.startswith(repr(value)[:80]) and text.endswith(repr(value)[-40:]) and "\n" not in text
