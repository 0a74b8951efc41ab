"""Texts to tokens and back, exactly: no special tokens are added, and no character of a sample is lost."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from pqm.errors import PqmError, shortened

CUT = "\N{REPLACEMENT CHARACTER}"
LONGEST_CHARACTER = 4  # bytes of UTF-8, so also tokens


def expect_unicode(text: str) -> None:
    """Check that a text has no lone surrogate (half of a pair), which is no character.

    Raises:
        PqmError: it has one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PqmError(
            f"the text {shortened(text)} contains a lone surrogate ({text[error.start]!r}) at character {error.start};"
            " expected Unicode text"
        ) from None


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text.

    Raises:
        PqmError: see `expect_unicode`.
    """
    expect_unicode(text)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def continuation_texts(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], continuations: Sequence[Sequence[int]]
) -> list[str]:
    """The text that each continuation adds to a prompt, without special tokens; a character that is cut at its end is U+FFFD.

    Continuations are decoded after the prompt, because decoders drop a space at the beginning of a text.
    """
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}

    def decoded(tokens: Sequence[int]) -> str:
        return str(tokenizer.decode([*prompt, *tokens], skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def added(tokens: list[int]) -> str:
        text = decoded(tokens)
        if text.endswith(CUT):
            # For decoders of single bytes, a cut character makes the whole characters before it unreadable.
            shorter = (decoded(tokens[:-cut]) for cut in range(1, min(LONGEST_CHARACTER, len(tokens) + 1)))
            text = next((whole + CUT for whole in shorter if not whole.endswith(CUT)), text)
        if text.startswith(before):
            return text[len(before) :]
        return str(tokenizer.decode(tokens, clean_up_tokenization_spaces=False))  # invalid bytes made the prompt unreadable

    before = decoded([])
    return [added([token for token in tokens if token not in special]) for tokens in continuations]
