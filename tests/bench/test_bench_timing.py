from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from fastlin.bench.timing import (
    Spread,
    Timed,
    available_cores,
    fastest_of,
    interleaved_rounds,
    pinned_to_cores,
    time_once,
)
from fastlin.errors import InputError


class Recorder:
    """Contestants that only note that they were called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def timed(self, name: str) -> Timed:
        return Timed(
            lambda: self.calls.append(f"reset {name}"), lambda: self.calls.append(f"run {name}")
        )


def test_every_run_is_reset_before() -> None:
    recorder = Recorder()
    assert time_once(recorder.timed("a")) >= 0
    fastest_of(recorder.timed("b"), calls=2)
    assert recorder.calls[0::2] == ["reset a"] + 3 * ["reset b"]
    assert recorder.calls[1::2] == ["run a"] + 3 * ["run b"]


def test_contestants_take_turns() -> None:
    recorder = Recorder()
    seconds = interleaved_rounds(
        {name: recorder.timed(name) for name in "abc"}, 3, settle_seconds=0
    )
    runs = [call[-1] for call in recorder.calls if call.startswith("run")]
    # The warm-up round, then each short run once untimed and once timed.
    assert "".join(runs) == "abc" + 3 * "aabbcc"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_the_warm_up_is_not_among_the_times() -> None:
    waited = iter([0.3, 0.0, 0.0])
    pause = threading.Event()
    slow_at_first = Timed(lambda: None, lambda: pause.wait(next(waited)) and None)
    seconds = interleaved_rounds({"a": slow_at_first}, 1, settle_seconds=0)
    assert seconds["a"].max() < 0.3


def test_no_round_is_a_mistake() -> None:
    with pytest.raises(InputError, match="rounds must be at least 1, got 0"):
        interleaved_rounds({}, 0)


def test_spread_is_median_and_quartiles() -> None:
    assert Spread.of(np.array([5.0, 1.0, 2.0, 4.0, 3.0])) == Spread(3.0, 2.0, 4.0)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_pinning_reaches_every_thread_and_ends() -> None:
    before = os.sched_getaffinity(0)
    seen: list[set[int]] = []
    go = threading.Event()
    started_before = threading.Thread(
        target=lambda: (go.wait(), seen.append(os.sched_getaffinity(0)))
    )
    started_before.start()
    with pinned_to_cores(1):
        assert available_cores() == 1
        go.set()
        started_before.join()
    assert [len(cores) for cores in seen] == [1]
    assert os.sched_getaffinity(0) == before
