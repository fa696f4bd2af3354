"""
Merges for a tokenizer that has none.
"""

from finetuned.core.export.whole_pieces import cut_by, merges_of

WORDS = ("user", "add", "useradd", "home", "the", "he", "zone", "one", "do")


def ranks(seen=()):
    return {pair: rank for rank, pair in enumerate(merges_of(WORDS, seen))}


def test_every_word_of_the_vocabulary_becomes_one_symbol():
    """
    However many other words are inside of it.
    """
    found = ranks()

    assert [[word] for word in WORDS] == [cut_by(word, found) for word in WORDS]


def test_a_word_that_was_seen_and_is_not_in_the_vocabulary_has_no_symbol_of_it():
    """
    Its symbols are in no vocabulary, so that it is spelled letter by letter.
    """
    seen = ("jdoe", "username", "homes", "zones", "theodore", "redo", "useraddhome")
    found = ranks(seen)

    assert {} == {w: cut for w in seen if set(cut := cut_by(w, found)) & set(WORDS)}


def test_merges_are_the_same_at_every_call():
    assert merges_of(WORDS) == merges_of(tuple(reversed(WORDS)))
