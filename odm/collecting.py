"""A break for the cyclic garbage collector, while thousands of objects are made to be kept.

The collector counts what is made, not what is garbage: a list of 100,000 documents, eight objects
each, makes it go through all that the process holds four times, which is as much again as it costs
to decode and to validate them. And the larger the heap, the longer each time.

A break is for what runs in one go: no ``await`` inside. It is the process's, so it is as short as
what it is for; what is due runs when it ends. This module knows no documents.
"""

from __future__ import annotations

import gc


class collector_paused:  # noqa: N801 - reads as what it is: with collector_paused()
    """Switch the collector off for a block, and on again if it was on.

    Of blocks inside of each other, and of those of two threads, the one that has switched it off
    switches it on; the other finds it off and leaves it. So it is on in the end, whoever ends last.
    """

    __slots__ = ("_was_on",)

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        if self._was_on:
            gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_on:
            gc.enable()
