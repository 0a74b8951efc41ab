"""The word tokenizer of the demo's models: one token per word, number or line break."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pqm.errors import PqmError
from pqm.problems import word_problems

PAD, END, UNKNOWN = "<pad>", "<end>", "<unknown>"
_WORDS = ("has", "how", "many", "?", ".", ",", "answer", "=", "\n", *word_problems.VERBS)


def word_problem_tokenizer(step_separator: str = "\n") -> PreTrainedTokenizerFast:
    """A lossless tokenizer for word problems and their solutions.

    Args:
        step_separator: a text without spaces; it is one token.

    Raises:
        PqmError: the separator is part of a word, or contains a line end and more.
    """
    verbs = tuple(verb for verbs in word_problems.VERBS.values() for verb in verbs)
    numbers = tuple(str(number) for number in range(1, word_problems.LARGEST_VALUE + 1))
    words = (
        PAD,
        END,
        UNKNOWN,
        *_WORDS,
        *verbs,
        *word_problems.DAYS,
        *word_problems.PEOPLE,
        *word_problems.ITEMS,
        *word_problems.NOUNS,
        *numbers,
    )
    closing = ["\n"]
    if step_separator != "\n":
        if "\n" in step_separator or any(step_separator in word for word in words):
            raise PqmError(f"step_separator {step_separator!r} is part of a word or of a line end; expected another text")
        words, closing = (*words, step_separator), ["\n", step_separator]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), *(pre_tokenizers.Split(text, "isolated") for text in closing)]
    )
    # WordPiece joins words with spaces; they are removed around line breaks and step separators.
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            *(
                decoders.Replace(before + text + after, text)
                for text in closing
                for before, after in ((" ", " "), (" ", ""), ("", " "))
            ),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)
