r"""What an answer may contain without a change of its value: dollar signs, spaces, `\left`, words around a number, units."""

import re

_SYMBOLS = str.maketrans(
    {
        "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": "/", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ",
        "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "∪": r"\cup ", "±": r"\pm ", "≈": r"\approx ", "²": "^2",
        "³": "^3", "°": r"^\circ", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "~": " ", "\n": " ", "\t": " ",
    }
)  # fmt: skip
_TEXT = re.compile(r"\\(?:text(?:rm|bf|it|normal)?|mbox|math(?:rm|bf|it|sf)) ?\{([^{}]*)\}")
_CURRENCY = r"\\?\$|[€£¥₹]|(?<![A-Za-z])(?:US|USD|EUR|GBP|Rs\.?)(?= ?[-$0-9.])"
LEAD = (  # words before an answer
    r"(?i:(?:approximately|approx\.?|about|around|roughly|exactly|only|just|a total of|equal to|equals|is|it is|it's|that"
    r"|there (?:are|is)|therefore|thus|hence|so|\\approx|=)(?![A-Za-z])[ ,:]{0,9})+"
)
# Applied one after the other, in this order.
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=[0-9])(?:\{,\}|,?\\[!,;: ]) ?(?=[0-9]{3}(?![0-9]))", ","),  # 10,\!080
        (r"\\[()]|^\\\[|\\\]$|\*\*", " "),  # the ends of mathematics or of bold text
        (r"\\(?:left|right)(?=[\s()\[\]|.]|\\[{}|])|\\displaystyle(?![a-z])", ""),
        (r"\\!|(?<!\\)\\(?:[,;: ]|q?quad(?![a-z]))", " "),
        (_CURRENCY, ""),
        (rf"^{LEAD}", ""),
        (r"^[A-Za-z][A-Za-z ]*[A-Za-z] ?[=:] ?(?=[-+.0-9\\(])", ""),  # total = 18
        (r"(?<=[0-9%}]) \([A-Za-z]{2}[A-Za-z ,]*\)$", ""),  # 18 (dollars)
        (r"^(?:minus|negative) (?=[0-9.\\])", "-"),
        (r" ?(?:\^ ?\{ ?\\circ ?\}|\^ ?\\circ(?![a-z])|\\degree(?![a-z]))(?: ?[CF](?![A-Za-z]))?", ""),
        (r" ?(?:\\?%|(?<![A-Za-z])(?:percent|per cent|pct)(?![A-Za-z]))", "%"),
        (r"(?<=[0-9]) ?hundred(?![a-z])", "*10^2"),
        (r"(?<=[0-9]) ?thousand(?![a-z])", "*10^3"),
        (r"(?<=[0-9]) ?million(?![a-z])", "*10^6"),
        (r"(?<=[0-9]) ?billion(?![a-z])", "*10^9"),
        (r"(?<=[0-9]) ?trillion(?![a-z])", "*10^12"),
        (r"(?<=[0-9]) ?dozen(?![a-z])", "*12"),
        (r"(?<=[0-9]) (?:in )?base ([0-9]+)$", r"_\1"),
        (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
        (r"(?<![A-Za-z\\])infinity(?![A-Za-z])", r"\\infty "),
        (r"(?<![A-Za-z\\])(sin|cos|tan|cot|csc|ln|log)(?= ?[\\(a-z0-9])", r"\\\1 "),
        (r"√ ?(?:\(([^()]*)\)|([0-9]+|[A-Za-z]))", r"\\sqrt{\1\2}"),
        (r"(?<![A-Za-z])\\?sqrt ?\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\\[dtc]frac", r"\\frac"),
        (r" {2,}", " "),
    )
]
_ENDING = " .,;:*`"

_WORD = r"[A-Za-z][A-Za-z'’-]*\.?(?: ?\^ ?\{? ?[0-9] ?\}?)?"
_TAIL = re.compile(
    rf"(?:(?<=[0-9)}}%])|(?<=\\pi))(?P<gap>[ /-]*)(?P<words>{_WORD}(?:(?: ?/ ?|,? |-){_WORD})*)(?: ?\([A-Za-z ,]*\))?$"
)
_ONLY_NUMBER = re.compile(r"[-+0-9.,/ *^%(){}]+|-?[0-9 ]*\\frac[ 0-9{}]+")
_LETTER_UNITS = "mgshlLNJWVKCF"
_JOINED_UNIT = re.compile(
    r"[mgshlL]|[kcm]m|[km]g|m[lL]|ft|in|lbs?|oz|mi|yd|mph|kmh|kph|hrs?|mins?|secs?|st|nd|rd|th|[A-Za-z'’-]{4,}"
)
_OPERATOR = re.compile(  # these change the value of the number before them, or begin another one
    r"(?<![a-z])(?:or|plus|minus|squared|cubed|factorial|root|sqrt|log|ln|exp|sin|cos|tan|cot|csc|mod|choose|base|dozens?"
    r"|half|halves|quarters?|(?:third|fourth|fifth|sixth|eighth|tenth|hundred|hundredth|thousand|thousandth|million|billion|trillion)s?"
    r"|(?:and|to|by|over|through) (?:[a-z]+ )?(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|[a-z]+teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)ty))(?![a-z])",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    r"""The answer without what does not change its value: `\$18`, `18 eggs` and `18\text{ miles per hour}` become `18`."""
    text = _TEXT.sub(r" \1 ", text.translate(_SYMBOLS)).strip()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text).strip()
    text = text.strip(_ENDING) if not text.startswith(".") else text.rstrip(_ENDING)
    tail = _TAIL.search(text)
    if tail and _is_unit(tail["words"], number=text[: tail.start()], joined=not tail["gap"]):
        return text[: tail.start()].rstrip(_ENDING)
    return text


def _is_unit(text: str, number: str, joined: bool) -> bool:
    """Whether the words after a number only say what is counted; they are `joined` to it if no space is between."""
    if _OPERATOR.search(text):
        return False
    words = [word.split("^")[0].strip(".,") for word in re.split(r"[ /-]+", text)]
    if any(len(word) == 1 and word not in _LETTER_UNITS + "aAI" for word in words[1:]):
        return False
    if joined:
        return bool(_JOINED_UNIT.fullmatch(words[0]) and _ONLY_NUMBER.fullmatch(number))
    return len(words[0]) > 1 or (words[0] in _LETTER_UNITS and bool(_ONLY_NUMBER.fullmatch(number)))
