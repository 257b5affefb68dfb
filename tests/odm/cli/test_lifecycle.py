from __future__ import annotations

import asyncio
import os
import signal

import pytest

from odm.cli.lifecycle import Stopped, run


async def _signalled(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)
    await asyncio.Event().wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_command_and_gives_the_shells_exit_code(
    number: signal.Signals, code: int
) -> None:
    with pytest.raises(Stopped) as caught:
        run(_signalled(number))
    assert caught.value.exit_code == code


def test_the_command_tidies_up_and_a_second_signal_does_not_disturb_it() -> None:
    tidied = []

    async def command() -> None:
        try:
            await _signalled(signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.01)  # the second signal is delivered in here
            tidied.append(True)

    with pytest.raises(Stopped):
        run(command())
    assert tidied == [True]


def test_a_command_that_takes_the_cancellation_for_its_end_was_stopped_all_the_same() -> None:
    async def command() -> None:
        try:
            await _signalled(signal.SIGTERM)
        except asyncio.CancelledError:
            return

    with pytest.raises(Stopped) as caught:
        run(command())
    assert caught.value.exit_code == 143


def test_the_result_comes_back_and_handlers_are_as_before() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    async def command() -> int:
        return 7

    assert run(command()) == 7
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_cancellation_of_its_own_is_no_signal() -> None:
    async def command() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(command())
