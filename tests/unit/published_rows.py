"""Rows of published label sets, in the publishers' formats."""

import json
from pathlib import Path
from typing import Any

EGGS = "Janet has 3 eggs and buys 4 more. How many?"
MATH_SHEPHERD = [
    {
        "input": f"{EGGS} Step 1: She has 3 + 4 = 7 eggs. ки\nStep 2: The answer is: 7 ки",
        "label": f"{EGGS} Step 1: She has 3 + 4 = 7 eggs. +\nStep 2: The answer is: 7 +",
        "task": "GSM8K",
    },
    {  # headings out of order, a step tag in the middle of a step, a word that contains the tag (which the authors remove, too)
        "input": f"{EGGS} Step 1: Say книжки, 3 ки\nso far.  ки\nStep 3: The answer is: 3 ки",
        "label": f"{EGGS} Step 1: Say книжки, 3 +\nso far.  +\nStep 3: The answer is: 3 -",
        "task": "GSM8K",
    },
    {"input": "A question alone ки", "label": "A question alone +", "task": "MATH"},
    {"input": "Q? Step 1: a ки\nStep 2: b ки", "label": "Q? Step 1: a +\nStep 2: b", "task": "MATH"},
    {"input": "Q? Step 1: a ки\nStep 2: b ки", "label": "Q? Step 1: a +", "task": "MATH"},
    {  # again, with other labels
        "input": f"{EGGS} Step 1: She has 3 + 4 = 7 eggs. ки\nStep 2: The answer is: 7 ки",
        "label": f"{EGGS} Step 1: She has 3 + 4 = 7 eggs. -\nStep 2: The answer is: 7 -",
        "task": "GSM8K",
    },
]


def completion(text: str, rating: int | None) -> dict[str, Any]:
    return {"text": text, "rating": rating, "flagged": None}


def prm800k(steps: list[dict[str, Any]], ending: str) -> dict[str, Any]:
    label = {"steps": steps, "total_time": 1000, "finish_reason": ending}
    return {"labeler": "a", "question": {"problem": "What is 1 + 1?", "ground_truth_answer": "2"}, "label": label}


PRM800K = [
    # phase 2: one completion per step, the last one wrong and not chosen
    prm800k(
        [
            {"completions": [completion("Add.", 1)], "human_completion": None, "chosen_completion": 0},
            {"completions": [completion("It is fine.", 0)], "human_completion": None, "chosen_completion": 0},
            {"completions": [completion("It is 3.", -1)], "human_completion": None, "chosen_completion": None},
        ],
        "found_error",
    ),
    # phase 1: alternatives, one of them unrated; a step that the labeller wrote; solved
    prm800k(
        [
            {
                "completions": [completion("Subtract.", -1), completion("Sum.", 1), completion("Hm.", None)],
                "human_completion": None,
                "chosen_completion": 1,
            },
            {
                "completions": [completion("So 4.", -1)],
                "human_completion": {"text": "1 + 1 = 2.", "rating": None},
                "chosen_completion": None,
            },
            {"completions": [completion("# Answer\n\n2", 1)], "human_completion": None, "chosen_completion": 0},
        ],
        "solution",
    ),
    prm800k([{"completions": None, "human_completion": None, "chosen_completion": None}], "give_up"),
    prm800k([{"completions": [completion("Odd.", 1)], "human_completion": None, "chosen_completion": 0}], "bad_problem"),
]
STEPWISE = [
    {"prompt": "1 + 1?", "completions": ["Add.", "2"], "labels": [True, True]},
    {"prompt": "1 + 1?", "completions": ["Add.", "3"], "labels": [True, False]},
    {"prompt": "2 + 2?", "completions": [], "labels": []},
]


def lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path
