"""
A state that lasts is a notice once; one that comes and goes is no stream of them.
"""

from finetuned.config.report import KINDS
from finetuned.core.notice import HOLD_SECONDS, Condition, NoticeKind, observe


def play(looks):
    """
    Return when something was told, of looks every 10 s at which the state held or not.
    """
    known, told = {}, []
    for i, holds in enumerate(looks):
        conditions = [Condition(NoticeKind.WAITING, f"config: line {i}")] if holds else []
        known, found = observe(known, conditions, 10.0 * i)
        told += [10.0 * i for _ in found]
    return told


def test_a_state_is_told_once_it_held_for_a_minute():
    """
    Numbers in its text may change meanwhile; it is the same state.
    """
    assert [HOLD_SECONDS] == play([True] * 60)


def test_a_state_that_passes_is_not_told():
    """
    Half a minute without memory is no reason to wake anybody.
    """
    assert [] == play([True] * 3 + [False] * 10 + [True] * 3)


def test_a_state_that_flickers_is_told_once_and_again_after_it_was_gone():
    """
    Gone for less than a minute is not gone.
    """
    flickers = [True, False] * 20
    assert 1 == len(play(flickers))
    assert 2 == len(play(flickers + [False] * 10 + flickers))


def test_the_kinds_of_the_configuration_are_those_of_the_code():
    """
    config/ may not import core/, so the words stand in both.
    """
    assert list(KINDS) == list(NoticeKind)
