"""Ctrl-C held back: not lost, and not raised before its time."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from moo.cli._interrupt import Interrupt
from moo.signals import interrupts_held_back


@pytest.fixture(autouse=True)
def another_thread() -> Iterator[None]:
    """A thread that the kernel may hand the process's signals to, as libraries and displays have them."""
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait)
    thread.start()
    yield
    is_over.set()
    thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM])
def test_an_interrupt_is_raised_at_the_end_of_the_block_and_not_in_it(number) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupt() as interrupt:  # noqa: PT012  # it comes at an end
        interrupt.requested = True
        with interrupts_held_back():
            for _ in range(3):
                os.kill(os.getpid(), number)
            done.append("whole")
        done.append("beyond")
    assert done == ["whole"]


def test_blocks_may_be_nested_and_the_outermost_counts() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # as above
        with interrupts_held_back():
            with interrupts_held_back():
                os.kill(os.getpid(), signal.SIGINT)
            done.append("whole")
        done.append("beyond")
    assert done == ["whole"]


def test_handlers_and_mask_are_as_before() -> None:
    handler, mask = signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with interrupts_held_back():
        pass
    assert signal.getsignal(signal.SIGINT) is handler
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


def test_another_thread_than_the_main_one_has_nothing_to_hold_back() -> None:
    done = []

    def work() -> None:
        with interrupts_held_back():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGINT)]
