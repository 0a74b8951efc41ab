"""Texts become tokens and tokens become texts without losing a character, for the usual kinds of tokenizers."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small import tiny_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pqm.errors import PqmError
from pqm.evaluate.scores import Scorer
from pqm.models.policy import load_policy
from pqm.models.pretrained import expect_step_token
from pqm.models.reward_model import Encoder, reward_model, save_reward_model
from pqm.models.sampling.batched import sample
from pqm.models.sampling.engine import Request
from pqm.models.tokenizing import continuation_texts, token_ids
from pqm.problems.tokenizer import word_problem_tokenizer
from pqm.solution_format import SolutionFormat

SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
BYTES = [f"<0x{number:02X}>" for number in range(256)]
PIECES = ["ки", "T", "h", "e", ".", "9", "日", "本", "▁T", "he"]


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    # `clean_up_tokenization_spaces` removes spaces before punctuation unless a call forbids it.
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=True, **SPECIAL)


def sentence_piece() -> PreTrainedTokenizerFast:
    """As Llama 2: spaces are part of pieces, a space is put before a text, and rare characters are bytes."""
    words = ["<unk>", "<s>", "</s>", *BYTES, "▁", *PIECES]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("▁", "T"), ("h", "e")], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return wrapped(tokenizer)


def byte_level() -> PreTrainedTokenizerFast:
    """As GPT-2 and Qwen: every byte is a letter of the vocabulary."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<unk>", "<s>", "</s>", *letters, "ĠT"]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, [("Ġ", "T")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return wrapped(tokenizer)


TOKENIZERS = {"SentencePiece": sentence_piece(), "byte-level": byte_level()}
PROMPTS = ["The 9.\n", "é", "<s>", "<s>The </s>", " "]
TEXTS = st.text(st.sampled_from("The. 9\nки日本é✓😀\N{REPLACEMENT CHARACTER}\t"), max_size=12)


def completed(tokenizer, prompt, text):
    """The tokens of a prompt, and those of a text after it; no token contains the end of one and the beginning of the other."""
    before = token_ids(tokenizer, prompt)
    whole = token_ids(tokenizer, prompt + text)
    assume(whole[: len(before)] == before)
    return before, whole[len(before) :]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=TEXTS)
@settings(max_examples=60, deadline=None)
def test_a_completion_is_kept_to_the_character(kind, prompt, text):
    tokenizer = TOKENIZERS[kind]
    before, tokens = completed(tokenizer, prompt, text)
    assert continuation_texts(tokenizer, before, [tokens]) == [text]


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=st.text(st.sampled_from("T é✓😀"), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_whole_characters_before_a_cut_one_are_kept(kind, text):
    tokenizer = TOKENIZERS[kind]
    before, tokens = completed(tokenizer, "The 9.\n", text)
    for cut in range(1, len(text[-1].encode())):
        assert continuation_texts(tokenizer, before, [tokens[:-cut]]) == [text[:-1] + "\N{REPLACEMENT CHARACTER}"]
    assert continuation_texts(tokenizer, before, [tokens, []]) == [text, ""]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_special_tokens_are_not_part_of_a_completion(kind):
    tokenizer = TOKENIZERS[kind]
    before, whole = token_ids(tokenizer, "The\n"), token_ids(tokenizer, "The\n The")
    tokens = whole[len(before) :]
    assert continuation_texts(tokenizer, before, [[1, *tokens, 2]]) == [" The"]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_sample_begins_with_its_space(kind):
    tokenizer = TOKENIZERS[kind]
    model = tiny_llama(tokenizer, positions=64, spread=0.2)
    spaced = [token for name, token in tokenizer.get_vocab().items() if name in ("▁", "▁T", "Ġ", "ĠT")]
    [group] = sample(model, tokenizer, [Request("many", "The 9.\n", 400)], 1.0, 3, seed=1)
    begins = [one.text for one in group if one.tokens and one.tokens[0] in spaced]
    assert len(begins) >= 2
    assert all(text.startswith(" ") for text in begins)


# ---------------------------------------------------------------- the demo's tokenizer


@given(st.lists(st.sampled_from(["\n", "how", "has", "answer", "9", "="]), max_size=10))
@settings(max_examples=60, deadline=None)
def test_after_a_line_end_words_are_joined_as_at_the_beginning(words):
    tokenizer = word_problem_tokenizer()
    before, tokens = token_ids(tokenizer, "has how\n"), tokenizer.convert_tokens_to_ids(words)
    assert continuation_texts(tokenizer, before, [tokens]) == [tokenizer.decode(tokens)]


# ---------------------------------------------------------------- lone surrogates


@pytest.mark.parametrize("kind", [*TOKENIZERS, "word"])
def test_a_lone_surrogate_is_refused_in_one_sentence(kind):
    tokenizer = TOKENIZERS.get(kind) or word_problem_tokenizer()
    encoder = Encoder(tokenizer, SolutionFormat())
    message = r"lone surrogate \('\\ud83d'\) at character 3; expected Unicode text$"
    with pytest.raises(PqmError, match=message):
        encoder("The\ud83d", [])
    with pytest.raises(PqmError, match=message):
        encoder("The", ["The", "The\ud83d" + "9" * 1000])
    with pytest.raises(PqmError, match=message):
        sample(tiny_llama(tokenizer, 64, 0.2), tokenizer, [Request("q", "The\ud83d\n", 1)], 1.0, 2, seed=1)


# ---------------------------------------------------------------- step tokens


@pytest.mark.parametrize("step_token", ["\n", "ки", "本", ".", "he", "</s>"])
def test_a_step_token_is_a_piece_without_the_space_before_it(step_token):
    tokenizer = TOKENIZERS["SentencePiece"]
    expect_step_token(tokenizer, step_token, added=False)
    with pytest.raises(PqmError, match=r"already contains the step token .*; remove add_step_token$"):
        expect_step_token(tokenizer, step_token, added=True)
    encoded = Encoder(tokenizer, SolutionFormat(step_token=step_token))("The", ["9", "9."])
    piece = "<0x0A>" if step_token == "\n" else step_token
    assert [tokenizer.convert_ids_to_tokens(encoded.tokens[end]) for end in encoded.step_ends] == [piece] * 2


def test_a_step_token_of_several_tokens_can_be_added():
    tokenizer = TOKENIZERS["SentencePiece"]
    with pytest.raises(PqmError, match="splits the step token 'é' into 3; expected one token; `add_step_token: true` adds it"):
        expect_step_token(tokenizer, "é", added=False)
    expect_step_token(tokenizer, "é", added=True)


@pytest.mark.parametrize(
    ("kind", "step_token"), [("SentencePiece", "<0x0A>"), ("byte-level", "Ċ"), ("byte-level", "ĠT"), ("byte-level", "")]
)
def test_what_neither_is_nor_can_become_a_step_token_is_said_once(kind, step_token):
    """Names in the vocabulary that stand for another text, and an empty text."""
    tokenizer = TOKENIZERS[kind]
    for added in (False, True):
        with pytest.raises(PqmError, match="use another step token"):
            expect_step_token(tokenizer, step_token, added)


def test_a_sentence_piece_tokenizer_scores_and_samples(tmp_path):
    tokenizer = TOKENIZERS["SentencePiece"]
    tiny_llama(tokenizer, positions=64, spread=0.2).save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    SolutionFormat().save(tmp_path / "policy")
    model, _ = reward_model(tmp_path / "policy", seed=0)
    save_reward_model(model, tokenizer, SolutionFormat(), tmp_path / "reward")
    [[one]] = load_policy(tmp_path / "policy")[0].sample([Request("q", "The\n", 1)], 1.0, 8, seed=1)
    assert one.text and len(one.tokens) == one.n_tokens
    [[scores]] = Scorer([tmp_path / "reward"], "reward", 50)([("The", [["9", "The 9."]])])
    assert len(scores) == 2
