"""How the work of a function grows with its input.

Work is counted in processor time of this thread alone, which neither other processes nor waiting
add to. Of each size the least of several runs counts, and only ratios are compared.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import thread_time_ns
from typing import TypeVar

LINEAR = 3.0
"""The most that twice the input may cost: linear work doubles, quadratic work is four times."""

_RUNS, _MORE = 3, 7
_LEAST = 1_000_000

_Input = TypeVar("_Input")


def doubling(work: Callable[[_Input], object], small: _Input, large: _Input) -> float:
    """Return how many times the work for ``small`` the work for ``large`` is.

    It measures again as long as the ratio is above LINEAR: a run can only seem slower than it is.
    """
    with _no_garbage():
        times = _times(work, small)
        least = [_once(work, each, times) for each in (small, large)]
        for run in range(_RUNS + _MORE):
            if run >= _RUNS and least[1] <= LINEAR * least[0]:
                break
            least = [
                min(before, _once(work, each, times))
                for before, each in zip(least, (small, large), strict=True)
            ]
    return least[1] / least[0]


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Have no garbage collected: that is work on all that the process has."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _times(work: Callable[[_Input], object], small: _Input) -> int:
    """Return how often to repeat work that is too short to be measured."""
    times = 1
    while times < 1 << 12 and _once(work, small, times) < _LEAST:
        times *= 2
    return times


def _once(work: Callable[[_Input], object], given: _Input, times: int) -> int:
    began = thread_time_ns()
    for _ in range(times):
        work(given)
    return thread_time_ns() - began
