"""Stop strings end a text wherever the pieces are cut."""

import random

import pytest

from foundry.decode.stop import Stop


def fed(pieces, strings):
    stop, text = Stop(strings), ""
    for piece in pieces:
        certain, ended = stop.feed(piece)
        text += certain
        if ended:
            return text, True
    return text + stop.rest(), False


@pytest.mark.parametrize("seed", range(20))
def test_a_text_ends_before_the_first_stop_string_however_it_is_cut(seed):
    draw = random.Random(seed)
    text = "".join(draw.choice("ab\n") for _ in range(40))
    strings = [s for s in ("ab\nab", "bbb", "\n\n\n") if draw.random() < 0.8]
    pieces = []
    rest = text
    while rest:
        size = draw.randint(0, 4)
        pieces.append(rest[:size])
        rest = rest[size:]
    text_found, ended = fed(pieces, strings)
    complete = [text.find(s) + len(s) for s in strings if s in text]  # where each is first complete
    assert ended == bool(complete)
    if not ended:
        assert text_found == text
    else:
        assert text.startswith(text_found) and not any(s in text_found for s in strings)
        assert any(text[len(text_found) :].startswith(s) for s in strings)


def test_what_may_become_a_stop_string_is_held_back_and_nothing_more():
    stop = Stop(["END", "NOW"])
    assert stop.feed("The E") == ("The ", False)
    assert stop.feed("N") == ("", False)
    assert stop.feed("emy") == ("ENemy", False)
    assert stop.feed("EEN") == ("E", False)
    assert stop.feed("D and more") == ("", True)


def test_without_stop_strings_nothing_is_held_back():
    assert Stop([]).feed("anything") == ("anything", False)
