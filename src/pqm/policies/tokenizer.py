"""The word tokenizer of the demo's models: one token a word, a number or a line end."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pqm.questions import stories

PAD, END, UNKNOWN = "<pad>", "<end>", "<unknown>"
_WORDS = ("has", "how", "many", "?", ".", ",", "answer", "=", "\n", *stories.VERBS)


def story_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that turns a story and its solution into tokens and back without loss."""
    verbs = tuple(verb for verbs in stories.VERBS.values() for verb in verbs)
    numbers = tuple(str(number) for number in range(1, stories.LARGEST_VALUE + 1))
    words = (PAD, END, UNKNOWN, *_WORDS, *verbs, *stories.DAYS, *stories.PEOPLE, *stories.ITEMS, *stories.NOUNS, *numbers)
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split("\n", "isolated")]
    )
    # WordPiece joins with spaces; a line end takes none.
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(" \n ", "\n"),
            decoders.Replace(" \n", "\n"),
            decoders.Replace("\n ", "\n"),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)
