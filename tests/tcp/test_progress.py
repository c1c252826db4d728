"""Whether the end of a client's conversation is orderly, and the error if it is not."""

import errno

import pytest

from stretta.errors import NetworkError, ReplyEndedEarly
from stretta.tcp.progress import Progress


def progress(sent=0, answered=0, total=None, *, ended=False, broken=None):
    made = Progress()
    made.sent, made.answered, made.total = sent, answered, total
    made.input_ended, made.broken = ended, broken
    return made


def test_an_end_after_the_input_is_orderly():
    progress(5, 5, 5, ended=True).check_end()


@pytest.mark.parametrize(
    ("state", "what", "why"),
    [
        (progress(9, 4, 9), "after 4 of 9 bytes", "did not wait for the end of the input"),
        (progress(9, 4), "after 4 of 9 bytes", "did not wait for the end of the input"),
        (progress(9, 4, 20, broken=ConnectionResetError()), "after 4 of 20 bytes", "is lost"),
        (progress(9, 9, 9, ended=True, broken=BrokenPipeError()), "after 9 of 9 bytes",
         "more may be missing"),
    ],
)  # fmt: skip
def test_an_end_before_the_whole_reply_is_an_error(state, what, why):
    with pytest.raises(ReplyEndedEarly) as caught:
        state.check_end(b"part")
    assert what in caught.value.what
    assert why in caught.value.why
    assert caught.value.reply == b"part"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (progress(9, 0, 9, broken=ConnectionResetError()), "answered none of the 9 bytes"),
        (progress(broken=BrokenPipeError()), "no byte was sent yet"),
        (progress(9, 9, 9, ended=True, broken=OSError(errno.EHOSTUNREACH, "")), "no route to host"),
    ],
)
def test_a_connection_that_broke_is_a_network_error(state, why):
    with pytest.raises(NetworkError, match=why):
        state.check_end()


def test_silence_tells_how_far_it_got():
    error = progress(9, 4).silence(0.5)
    assert str(error).startswith(
        "the server was silent for 0.5 s: it answered 4 bytes so far (9 were sent)."
    )
    assert error.status == 6
