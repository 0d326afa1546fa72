"""Ctrl-C asks to stop; twice, it interrupts; afterwards everything is as before."""

import os
import signal
import threading

import pytest

from edgepart.training.interrupt import stop_on_interrupt


def test_the_first_interrupt_asks_and_the_second_one_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_interrupt() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_is_asked():
    answers = []

    def work():
        with stop_on_interrupt() as stop:
            answers.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
