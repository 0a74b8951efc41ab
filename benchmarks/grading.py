r"""Make the table of spellings and gold answers that the graders are tested on, `tests/unit/data/gradings.csv`.

    python benchmarks/grading.py FOLDER

FOLDER holds `math500/test.jsonl`, `gsm8k/test.jsonl` and `gsm-plus/testmini.jsonl`, as published. Each row is a solution that
states an answer, a gold answer of these benchmarks, and whether the answer is right. This is known by construction: each spelling
is made from the gold answer, either by a change of notation or by a change of value. No grader takes part.
"""

import csv
import json
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

TABLE = Path(__file__).parents[1] / "tests" / "unit" / "data" / "gradings.csv"
GOLDS_PER_SPELLING = 9

Spellings = dict[str, str | Callable[[str], str | None]]  # {} is the gold answer; a function may return None: not applicable

STATEMENTS: Spellings = {
    "boxed": r"So \boxed{{}}.",
    "boxed with a space": r"So \boxed {{}}.",
    "boxed in maths": r"So $\boxed{{}}$.",
    "framed": r"Thus $\fbox{{}}$",
    "hashes": "It follows.\n#### {}",
    "answer is": "The answer is {}.",
    "answer is, maths": "The answer is ${}$.",
    "answer colon": "Answer: {}",
    "capitals": "ANSWER: {}",
    "bold": "**Answer:** {}",
    "bold answer": "The final answer is **{}**.",
    "next line": "The final answer is:\n\n$$ {} $$",
    "display": "The answer is\n\\[ {} \\]",
    "hope": "Final Answer: The final answer is ${}$. I hope it is correct.",
    "to the question": "The answer to the question is {}.",
    "because": "The answer is {} because of what we found in step 2.",
    "so": "The answer is {}, in total, so we are done.",
    "offer": "The final answer is {}. Let me know if you want the answer explained!",
    "earlier": "The answer is 17. No, the answer is {}.",
}
NUMBERS: Spellings = {
    "dollars": "{} dollars",
    "eggs": "{} eggs",
    "miles per hour": "{} miles per hour",
    "USD": "{} USD",
    "euro": "€{}",
    "dollar sign": r"\${}",
    "bare dollar sign": "${}",
    "unit in text": r"{}\text{ cm}",
    "unit with power": r"{} \text{ cm}^2",
    "square feet": "{} square feet",
    "km/h": "{} km/h",
    "m": "{} m",
    "years old": "{} years old",
    "point": "{}.",
    "equation": "x = {}",
    "named": "total = {}",
    "plus": "+{}",
    "approximately": "approximately {}",
    "maths": "${}$",
    "bracketed maths": r"\({}\)",
    "degrees": r"{}^\circ",
    "percent sign": "{}%",
    "percent": "{} percent",
    "brackets": "({})",
    "fraction": "{}/1",
    "double": lambda gold: rf"\frac{{{2 * Fraction(gold)}}}{{2}}" if _whole(gold) else None,
    "zeros": lambda gold: f"{gold}.00" if _whole(gold) else f"{gold}0",
    "left zero": lambda gold: None if gold[0] == "-" else f"0{gold}",
    "thousands": lambda gold: f"{int(gold):,}" if len(gold) > 3 and _whole(gold) else None,
    "thousands in maths": lambda gold: f"{int(gold):,}".replace(",", r",\!") if len(gold) > 3 and _whole(gold) else None,
    "braced comma": lambda gold: f"{int(gold):,}".replace(",", "{,}") if len(gold) > 3 and _whole(gold) else None,
    "product": r"1 \cdot {}",
    "sum": lambda gold: f"{int(gold) - 2} + 2" if _whole(gold) else None,
}
OTHER_NUMBERS: Spellings = {
    "one more": lambda gold: _plus(gold, 1),
    "one less": lambda gold: _plus(gold, -1),
    "a tenth more": lambda gold: _plus(gold, "0.1"),
    "negative": lambda gold: gold[1:] if gold[0] == "-" else f"-{gold}",
    "ten times": lambda gold: _times(gold, 10),
    "a tenth": lambda gold: _times(gold, Fraction(1, 10)),
    "a thousand times": lambda gold: _times(gold, 1000),
    "one more, unit": lambda gold: f"{_plus(gold, 1)} dollars",
    "one more, sign": lambda gold: f"${_plus(gold, 1)}",
    "one more, prose": lambda gold: f"{_plus(gold, 1)}, not {gold}",
    "million": "{} million",
    "thousand": "{} thousand",
    "and a half": "{} and a half",
    "twice listed": "{}, {}",
    "listed": lambda gold: f"{gold}, {_plus(gold, 1)}",
    "or": lambda gold: f"{gold} or {_plus(gold, 1)}",
    "times root": r"{}\sqrt(2)",
    "times root, braces": r"{}\sqrt{2}",
    "times x": "{}x",
    "squared": lambda gold: f"{gold}^2" if abs(Fraction(gold)) > 1 else None,
    "over seven": r"\frac{{}}{7}",
    "pi": r"{}\pi",
    "cut": lambda gold: gold[:-1] if len(gold.strip("-")) > 1 and gold[-2] not in ".-" and gold[-1] != "0" else None,
    "tiny difference": lambda gold: f"{gold}.0000001" if _whole(gold) else None,
}
FRACTIONS: Spellings = {
    "slash": lambda gold: _fraction(gold, "{0}/{1}"),
    "dfrac": lambda gold: _fraction(gold, r"\dfrac{{{0}}}{{{1}}}"),
    "no braces": lambda gold: _fraction(gold, r"\frac {0}{1}", largest=9),
    "slash and unit": lambda gold: _fraction(gold, "{0}/{1} cups"),
    "not reduced": lambda gold: _fraction(gold, r"\frac{{{2}}}{{{3}}}"),
    "mixed": lambda gold: _mixed(gold, "{0} {1}/{2}"),
    "mixed in maths": lambda gold: _mixed(gold, r"{0}\frac{{{1}}}{{{2}}}"),
    "decimal": lambda gold: _decimal(gold),
    "maths": "${}$",
    "dollars": lambda gold: rf"{gold}\text{{ dollars}}",
}
OTHER_FRACTIONS: Spellings = {
    "inverse": lambda gold: _fraction(gold, "{1}/{0}"),
    "one more above": lambda gold: _fraction(gold, r"\frac{{{4}}}{{{1}}}"),
    "one more below": lambda gold: _fraction(gold, r"\frac{{{0}}}{{{5}}}"),
    "negative": lambda gold: gold[1:] if gold[0] == "-" else f"-{gold}",
    "rounded": lambda gold: f"{float(_as_fraction(gold)):.2f}" if (_as_fraction(gold) * 100).denominator > 1 else None,
    "one more": lambda gold: _fraction(gold, "1 + {0}/{1}"),
}
EXPRESSIONS: Spellings = {
    "spaces": lambda gold: gold.replace(" ", "").replace(",", ", "),
    "maths": "${}$",
    "point": "{}.",
    "display": r"\[{}\]",
    "sized brackets": lambda gold: re.sub(
        r"(\\left|\\right)?([()\[\]])", lambda b: (r"\left" if b[2] in "([" else r"\right") + b[2], gold
    ),
    "dfrac": lambda gold: gold.replace(r"\frac", r"\dfrac") if r"\frac" in gold else None,
    "itself": "{}",
}
OTHER_EXPRESSIONS: Spellings = {
    "first digit": lambda gold: _other_digit(gold, 0),
    "last digit": lambda gold: _other_digit(gold, -1),
    "sign": lambda gold: (
        gold.replace(" + ", " - ", 1) if " + " in gold else gold.replace(" - ", " + ", 1) if " - " in gold else None
    ),
    "part more": lambda gold: f"{gold[:-1]}, 2{gold[-1]}" if gold[0] == "(" and gold[-1] == ")" and "," in gold else None,
    "twice listed": lambda gold: None if "," in gold or "=" in gold or r"\pm" in gold else f"{gold}, {gold}",
    "negative": lambda gold: (
        f"-({gold})" if re.fullmatch(r"[^,=()-]*", gold) and r"\pm" not in gold and "matrix" not in gold else None
    ),
}
WORDS: Spellings = {
    "bare": "{}",
    "lower case": lambda gold: gold.lower(),
    "in text": r"\text{{}}",
    "point": "{}.",
    "bold": r"\textbf{{}}",
}
OTHER_WORDS: Spellings = {"reversed": lambda gold: gold[::-1], "number": "5", "longer": "{}x", "another": "Gwendolyn"}
TINY = [
    (r"\frac{1}{3^{39}}", r"\frac{1}{3^{40}}", False),
    (r"\frac{1}{3^{40}}", r"\frac{1}{3^{40}}", True),
    (r"1+\frac{1}{\mathrm{e}}", r"1-\frac{1}{\mathrm{e}}", False),
    (r"1-\frac1e", r"1-\frac{1}{\mathrm{e}}", True),
    (r"10^{-20}", r"10^{-21}", False),
    (r"2^{-60}", r"2^{-61}", False),
    (r"x + 10^{-20}", "x", False),
    ("9,9", "9", False),
    (r"4\sqrt(2)", "4", False),
    (r"\sqrt(2)", r"\sqrt{2}", True),
    ("0.333333", r"\frac{1}{3}", True),
    ("0.3333", r"\frac{1}{3}", False),
]


def main(folder: Path) -> None:
    """Write the table."""
    rows = list(_rows(folder))
    TABLE.parent.mkdir(exist_ok=True)
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kind", "solution", "gold", "right"])
        writer.writerows(rows)
    print(f"{TABLE}: {len(rows)} rows, {sum(row[3] for row in rows)} of them right")


def _rows(folder: Path) -> Iterator[tuple[str, str, str, int]]:
    """Rows (kind, solution, gold answer, 1 if it is right)."""
    maths, gsm8k, gsm_plus = (
        sorted(set(_golds(folder / name))) for name in ("math500/test.jsonl", "gsm8k/test.jsonl", "gsm-plus/testmini.jsonl")
    )
    numbers = [gold for gold in (*maths, *gsm8k, *gsm_plus) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", gold)]
    words = [found[1] for gold in maths if (found := re.fullmatch(r"\\text\{([A-Za-z]+)\}", gold))]
    fractions = [gold for gold in maths if re.fullmatch(r"-?\\frac\{[0-9]+\}\{[0-9]+\}", gold)]
    left = [
        gold
        for gold in maths
        if gold not in (*numbers, *fractions) and not re.search(r"\\text|\\mbox|\\circ|_|\$|^[\d,.\\! ]*$", gold)
    ]
    chance = random.Random(0)
    for name, golds, same, different in (
        ("number", numbers, NUMBERS, OTHER_NUMBERS),
        ("fraction", fractions, FRACTIONS, OTHER_FRACTIONS),
        ("expression", left, EXPRESSIONS, OTHER_EXPRESSIONS),
        ("word", words, WORDS, OTHER_WORDS),
    ):
        for spellings, right in ((same, 1), (different, 0)):
            for kind, spelling in spellings.items():
                made = [(gold, text) for gold in chance.sample(golds, len(golds)) if (text := _spell(spelling, gold))]
                for gold, text in made[:GOLDS_PER_SPELLING]:
                    yield f"{name}, {kind}", rf"So \boxed{{{text}}}.", gold, right
    for kind, statement in STATEMENTS.items():
        for golds in (numbers, fractions, left):
            for gold in chance.sample(golds, 3):
                yield f"statement, {kind}", str(_spell(statement, gold)), gold, 1
            other = chance.choice([gold for gold in numbers if gold != "17"])
            yield f"statement of another answer, {kind}", str(_spell(statement, str(_plus(other, 1)))), other, 0
    yield from (("tiny or odd", rf"So \boxed{{{text}}}.", gold, int(right)) for text, gold, right in TINY)


def _golds(path: Path) -> Iterable[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield (
            json.loads(line)["answer"].rsplit("####", 1)[-1].strip().replace(",", "")
            if "gsm" in str(path)
            else json.loads(line)["answer"]
        )


def _spell(spelling: str | Callable[[str], str | None], gold: str) -> str | None:
    return spelling.replace("{}", gold) if isinstance(spelling, str) else spelling(gold)


def _whole(gold: str) -> bool:
    return "." not in gold


def _text(value: Fraction) -> str:
    """A decimal number."""
    places = next(places for places in range(20) if (value * 10**places).denominator == 1)
    return f"{float(value):.{places}f}"


def _plus(gold: str, more: int | str) -> str:
    return _text(Fraction(gold) + Fraction(more))


def _times(gold: str, factor: int | Fraction) -> str | None:
    return _text(Fraction(gold) * factor) if Fraction(gold) else None


def _as_fraction(gold: str) -> Fraction:
    above, below = map(int, re.findall("[0-9]+", gold))
    return Fraction(above, below) * (-1 if gold[0] == "-" else 1)


def _fraction(gold: str, form: str, largest: int | None = None) -> str | None:
    value = _as_fraction(gold)
    above, below = abs(value.numerator), value.denominator
    if above == below or (largest and max(above, below) > largest):
        return None
    return ("-" if value < 0 else "") + form.format(above, below, 2 * above, 2 * below, above + 1, below + 1)


def _mixed(gold: str, form: str) -> str | None:
    value = _as_fraction(gold)
    whole, rest = divmod(value.numerator, value.denominator)
    return form.format(whole, rest, value.denominator) if value > 1 else None


def _decimal(gold: str) -> str | None:
    value = _as_fraction(gold)
    return _text(value) if 10**6 % value.denominator == 0 else None


def _other_digit(gold: str, place: int) -> str | None:
    """The gold answer with another first or last digit."""
    digits = [found.start() for found in re.finditer("[1-9]", gold)]
    if not digits:
        return None
    at = digits[place]
    return gold[:at] + str(int(gold[at]) % 9 + 1) + gold[at + 1 :]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
