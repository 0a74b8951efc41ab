"""The text format of solutions: splitting a text into steps and joining steps to a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pqm.solution_format import SolutionFormat, split_at_headings

NUMBERED = SolutionFormat(question_template="{question}\nStep 1:", step_heading="Step {number}: ", step_separator="\n")
texts = st.text("ab 1.:", min_size=1, max_size=8).map(str.strip).filter(bool)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("before Step 1: a Step 2: b", ["before ", " a ", " b"]),
        ("Step 7:a", ["", "a"]),
        ("Step one: a", ["Step one: a"]),
        ("", [""]),
    ],
)
def test_a_text_is_split_at_numbered_headings(text, parts):
    assert split_at_headings(text) == parts


def test_special_characters_of_a_heading_are_plain_text():
    assert split_at_headings("a (1.) b (2x) c", "({number}.)") == ["a ", " b (2x) c"]


@given(st.lists(texts, max_size=5))
def test_closed_steps_are_cut_into_themselves(steps):
    form = SolutionFormat()
    assert form.split("".join(step + form.step_separator for step in steps)) == steps


@given(st.lists(texts, min_size=1, max_size=5))
def test_numbered_steps_get_new_headings(steps):
    numbered = [f"Step {number}: {step}" for number, step in enumerate(steps, start=1)]
    assert NUMBERED.split("\n".join(f"Step 9: {step}" for step in steps)) == numbered
    assert NUMBERED.prefix("how many ?", numbered) == "how many ?\n" + "".join(f"{step}\n" for step in numbered)


def test_a_prompt_may_end_in_the_first_heading():
    assert NUMBERED.prompt("how many ?") == NUMBERED.prefix("how many ?", []) == "how many ?\nStep 1:"


def test_a_heading_without_number_is_refused():
    with pytest.raises(ValidationError, match="number"):
        SolutionFormat(step_heading="Step: ")
