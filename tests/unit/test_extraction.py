"""The answer that a solution states."""

import pytest

from pqm.grading.extraction import extract_answer
from pqm.grading.unanswerable import stated_answer
from pqm.io.formats import NO_ANSWER


@pytest.mark.parametrize(
    "text, answer",
    [
        ("The answer is 72 because 6*12 is 72.", "72"),
        ("The answer is 72, in total, so we need 80 - 72.", "72"),
        ("The answer is 72 (since 6*12 = 72).", "72"),
        ("The answer is 72; so 8 are left.", "72"),
        ("The answer is 72 eggs in 6 days.", "72 eggs"),
        ("The answer is $72$ because $6 \\cdot 12 = 72$.", "$72$"),
        ("The answer is 72!", "72"),
        ("The answer is 5! = 120.", "5! = 120"),
        ("The answer is 3, 5, and 7.", "3, 5, and 7"),
        ("The answer is 18 U.S. dollars.", "18 U.S. dollars"),
        ("The answer is approx. 3.14.", "3.14"),
        ("The final answer is 72. Let me know if you want the answer explained!", "72"),
        ("The answer is 72. I hope that this answer helps with the other 2.", "72"),
        ("Final Answer: The final answer is $72$. I hope it is correct.", "$72$"),
        ("The answer to the question is 12.", "12"),
        ("The correct answer should be 7.", "7"),
        ("**Final Answer**: 72", "72"),
        ("The final answer is:\n\n**72**", "72"),
        ("The answer is\n\\[ (5,\\infty) \\]", "\\[ (5,\\infty) \\]"),
        ("The answer is:\n$$\n72\n$$", "72"),
        ("ANSWER: 5", "5"),
        ("Answer: The total is 72.", "72"),
        ("Answer: She makes $18 every day.", "$18 every day"),
        ("Answer: She needs less than 72.", "She needs less than 72"),
        (r"\fbox{72}", "72"),
        (r"\boxed 72", "72"),
        (r"so $\boxed 72$.", "72"),
        (r"\boxed {72}", "72"),
        (r"\boxed{1} and later \boxed 2.", "2"),
        ("therefore 18", "18"),
        ("Hence, there are 18 eggs left.", "18 eggs left"),
        ("Therefore the total is 18.", "18"),
        ("approximately 3.14", "3.14"),
        ("The answer is 9. Therefore 6 + 3 = 9.", "9"),
    ],
)
def test_a_sentence_adds_nothing_to_its_answer(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    "text", ["6 + 3 = 9", "I hope that this answer helps.", "Can you answer it?", "The total is 72", r"use \boxed for it"]
)
def test_there_is_no_fallback_to_the_last_number_or_word(text):
    assert extract_answer(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "There is not enough information to answer the question.",
        "It is impossible to answer the question.",
        "we cannot determine the answer from the information.",
        "We do not have enough information to solve this.",
        "The answer cannot be determined.",
        "The answer to the question cannot be determined.",
        "The answer is that it cannot be determined.",
        "The answer is not enough information.",
        "There is no answer to this question because the price is missing.",
        "The problem does not provide sufficient information to answer how many.",
        "Therefore, it is not possible to determine the answer.",
        "It can't be answered without knowing the price of 3 apples.",
        "So we lack the necessary information.",
        "The price is unknown.\nThis question is unanswerable.",
        r"\boxed{\text{Cannot be determined}}",
        "Answer: None",
        "A: unknown",
    ],
)
def test_a_question_without_answer(text):
    assert stated_answer(text) == NO_ANSWER


@pytest.mark.parametrize(
    "text, answer",
    [
        ("We cannot find x directly. The answer is 5.", "5"),
        ("It is impossible to answer it directly.\nWe count: 5.\n#### 5", "5"),
        ("There is not enough information about Tom, but the answer is 5.", "5"),
        (r"We cannot know the price. So \boxed{5}.", "5"),
        ("We cannot determine it directly, but 3 + 4 = 7.", None),
        ("We cannot determine x yet.\nSo 3 + 4 = 7.", None),
    ],
)
def test_a_difficulty_on_the_way_is_no_missing_answer(text, answer):
    assert stated_answer(text) == answer
