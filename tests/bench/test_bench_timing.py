from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from fastlin.bench import timing
from fastlin.bench.timing import (
    Spread,
    Timed,
    available_cores,
    fastest_of,
    interleaved_rounds,
    pinned_to_cores,
    time_once,
    time_repeatedly,
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


class Clock:
    """Stands for the module `time`; only what is done here takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def timed(self, *seconds: float) -> Timed:
        """Return a contestant whose runs take so long, in turn, and whose reset takes 100 s."""
        each = iter(seconds)
        return Timed(lambda: self.sleep(100), lambda: self.sleep(next(each)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_every_run_is_reset_before() -> None:
    recorder = Recorder()
    time_once(recorder.timed("a"))
    fastest_of(recorder.timed("b"), calls=2)
    runs = len(recorder.calls) // 2 - 1
    assert runs >= 3
    assert recorder.calls[0::2] == ["reset a"] + runs * ["reset b"]
    assert recorder.calls[1::2] == ["run a"] + runs * ["run b"]


def test_the_run_alone_is_timed(clock: Clock) -> None:
    assert time_once(clock.timed(3.0)) == 3.0


def test_the_fastest_call_is_not_the_first(clock: Clock) -> None:
    assert fastest_of(clock.timed(1.0, 5.0, 4.0, 6.0)) == 4.0


def test_short_runs_are_repeated_and_their_median_counts(clock: Clock) -> None:
    timed = clock.timed(0.004, 0.008, 0.002, 0.003, 0.009, 0.5, 0.7)
    timed = Timed(lambda: None, timed.run)
    assert time_repeatedly(timed) == pytest.approx(0.004)
    assert time_repeatedly(timed) == pytest.approx(0.5)
    assert time_repeatedly(timed) == pytest.approx(0.7)


def test_a_round_gives_one_time_even_if_its_runs_are_repeated() -> None:
    recorder = Recorder()
    seconds = interleaved_rounds({name: recorder.timed(name) for name in "ab"}, 2, settle_seconds=0)
    runs = [call[-1] for call in recorder.calls if call.startswith("run")]
    assert len(runs) > 20
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


def test_contestants_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "REPEAT_SECONDS", 0.0)
    recorder = Recorder()
    seconds = interleaved_rounds(
        {name: recorder.timed(name) for name in "abc"}, 3, settle_seconds=0
    )
    runs = [call[-1] for call in recorder.calls if call.startswith("run")]
    # The warm-up round, then each short run once untimed and once timed.
    assert "".join(runs) == "abc" + 3 * "aabbcc"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_neither_warm_up_nor_pause_is_among_the_times(clock: Clock) -> None:
    """A short run is made once more after each pause, when caches are cold."""
    contestants = {
        "long": clock.timed(9.0, 2.0, 3.0),
        "short": clock.timed(0.1, 0.2, 0.0625, 0.2, 0.125),
    }
    seconds = interleaved_rounds(contestants, 2)
    assert {name: list(times) for name, times in seconds.items()} == {
        "long": [2.0, 3.0],
        "short": [0.0625, 0.125],
    }


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
