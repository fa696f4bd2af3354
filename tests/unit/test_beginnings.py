from hypothesis import given
from hypothesis import strategies as st

from finetuned.serving.engine.beginnings import BLOCK, Beginnings

prompts = st.lists(st.sampled_from((0, 1)), max_size=5 * BLOCK).map(
    lambda bits: tuple(bit for bit in bits for _ in range(3))
)
"""Over two tokens, so that many begin alike."""


def shared(a, b):
    """
    Return how many leading tokens are the same, as a human would count them.
    """
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


@given(kept=st.lists(prompts), gone=st.lists(prompts), asked=prompts.filter(bool))
def test_no_kept_prompt_shares_a_block_more(kept, gone, asked):
    """
    What is found shares what it says; what was removed is not found.
    """
    found = Beginnings()
    for prompt in {*kept, *gone}:
        found.add(prompt)
    for prompt in set(gone):
        found.remove(prompt)
    left = set(kept) - set(gone)
    best, n = found.match(asked)

    most = max((shared(p, asked[:-1]) for p in left), default=0)
    assert most // BLOCK == n // BLOCK
    assert n in {0, most // BLOCK * BLOCK, len(asked) - 1}
    assert best in left if n else best == ()
    assert n <= shared(best, asked[:-1])


def test_a_prompt_that_is_kept_leaves_one_token_to_run():
    """
    The logits after the last token are what the answer begins with.
    """
    found = Beginnings()
    prompt = tuple(range(2 * BLOCK))
    found.add(prompt)

    assert (prompt, len(prompt) - 1) == found.match(prompt)
