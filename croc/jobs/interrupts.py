"""Ctrl-C in asynchronous work: never in the middle of making or closing an event loop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


def run_async(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run asynchronous work to its end, as :func:`asyncio.run` does.

    :func:`asyncio.run` handles SIGINT only while the work runs. An interrupt before or after that breaks a
    loop that is half made or half closed, whose complaints then follow the message that the user should read.
    Here the first interrupt cancels the work whenever it comes, and a second one stops at once.

    Args:
        work: makes the coroutine, once.

    Returns:
        What the coroutine returns.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, and the work has ended or was never begun.
    """
    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return asyncio.run(work())
    interrupts = 0
    task: asyncio.Task[Any] | None = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > 1:
            raise KeyboardInterrupt
        if task is not None and not task.done():
            task.cancel()
            task.get_loop().call_soon_threadsafe(lambda: None)  # it may be waiting for a response

    async def cancellable() -> T:
        nonlocal task
        task = asyncio.current_task()
        if interrupts:
            raise KeyboardInterrupt
        return await work()

    signal.signal(signal.SIGINT, interrupt)
    try:
        result = asyncio.run(cancellable())
    except asyncio.CancelledError:
        if not interrupts:
            raise
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupts:  # while the loop was closed
        raise KeyboardInterrupt
    return result
