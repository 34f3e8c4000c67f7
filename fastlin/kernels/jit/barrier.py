"""Where the threads of a run wait for each other, as intrinsics of the Numba backend.

Starting threads takes as long as a phase of a step, so a run starts them once and lets them meet at
a barrier, like the C backend's (``csrc/team.h``). That needs all threads at once, which no
threading layer promises: the threads first wait a while for each other, and all get the same answer
whether all came.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils

from fastlin.kernels.jit.emit import Builder, Flag, Integer, emits
from fastlin.kernels.jit.vectors import INT32, INT64

# Words of a barrier, each on a cache line of its own: threads that have come to the barrier, how
# often it has opened; threads that have come to the run, whether all came (1) or not (2), whether
# one has taken over the work, and 1 + the position to leave off at, which is of 64 bits.
BARRIER_WORDS = 6 * 16
ARRIVED, OPENED, CAME, ANSWER, TAKEN, LEAVES_OFF = (64 * word for word in range(6))
LOOKS = 200
"""Looks at the barrier before a waiting thread gives up its core."""
PATIENCE = 20_000
"""Times that a thread gives up its core for those that have not come: some 10 milliseconds."""


def _word(builder: Builder, barrier: ir.Value, offset: int) -> ir.Value:
    address = builder.add(barrier, INT64(offset))
    return builder.inttoptr(address, INT32.as_pointer())


def _look(builder: Builder, pointer: ir.Value) -> ir.Value:
    return builder.load_atomic(pointer, ordering="acquire", align=4)


def _count(builder: Builder, pointer: ir.Value) -> ir.Value:
    """Add one and return how many that makes."""
    one = INT32(1)
    return builder.add(builder.atomic_rmw("add", pointer, one, "acq_rel"), one)


def _pause(builder: Builder) -> None:
    """Tell the processor that this is a wait, if there is a way to say so."""
    if platform.machine() in ("x86_64", "AMD64"):
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
        )
        builder.call(function, [])


def _give_up_core(builder: Builder) -> None:
    if os.name == "posix":
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(INT32, []), "sched_yield"
        )
        builder.call(function, [])


def _wait_while(
    builder: Builder, condition: Callable[[], ir.Value], looks: int, patience: int | None
) -> ir.Value:
    """Emit a wait while ``condition()`` holds; return whether it still does.

    Looks ``looks`` times, then gives up the core between looks, ``patience`` times or for ever.
    """
    turns = cgutils.alloca_once(builder, INT64)
    builder.store(INT64(0), turns)
    look = builder.append_basic_block("look")
    turn = builder.append_basic_block("turn")
    done = builder.append_basic_block("done")
    builder.branch(look)
    builder.position_at_end(look)
    holds = condition()
    n = builder.load(turns)
    if patience is not None:
        limit = builder.icmp_signed("<", n, INT64(looks + patience))
        builder.cbranch(builder.and_(holds, limit), turn, done)
    else:
        builder.cbranch(holds, turn, done)
    builder.position_at_end(turn)
    builder.store(builder.add(n, INT64(1)), turns)
    with builder.if_else(builder.icmp_signed("<", n, INT64(looks))) as (soon, later):
        with soon:
            _pause(builder)
        with later:
            _give_up_core(builder)
    builder.branch(look)
    builder.position_at_end(done)
    return holds


@emits
def wait_for_all(builder: Builder, barrier: Integer, n_threads: Integer) -> None:
    """Wait until that many threads wait here; ``barrier``: address of its words."""
    arrived, opened = (_word(builder, barrier, word) for word in (ARRIVED, OPENED))
    with builder.if_then(builder.icmp_signed(">", n_threads, INT64(1))):
        before = _look(builder, opened)
        count = builder.zext(_count(builder, arrived), INT64)
        last = builder.icmp_signed("==", count, n_threads)
        with builder.if_else(last) as (open_it, wait):
            with open_it:
                builder.store_atomic(INT32(0), arrived, ordering="monotonic", align=4)
                after = builder.add(before, INT32(1))
                builder.store_atomic(after, opened, ordering="release", align=4)
            with wait:
                _wait_while(
                    builder,
                    lambda: builder.icmp_signed("==", _look(builder, opened), before),
                    LOOKS,
                    None,
                )


@emits
def all_came(builder: Builder, barrier: Integer, n_threads: Integer) -> Flag:
    """Wait a while for that many threads; return whether all came, to all the same answer."""
    came, answer = (_word(builder, barrier, word) for word in (CAME, ANSWER))

    def settle(value: int) -> None:
        builder.cmpxchg(answer, INT32(0), INT32(value), "acq_rel", "acquire")

    count = builder.zext(_count(builder, came), INT64)
    with builder.if_then(builder.icmp_signed("==", count, n_threads)):
        settle(1)
    open_question = _wait_while(
        builder,
        lambda: builder.icmp_signed("==", _look(builder, answer), INT32(0)),
        LOOKS,
        PATIENCE,
    )
    with builder.if_then(open_question):
        settle(2)
    return builder.icmp_signed("==", _look(builder, answer), INT32(1))


@emits
def told_to_stop(builder: Builder, stop: Integer) -> Flag:
    """Return whether a kernel shall stop; ``stop``: see :mod:`fastlin.kernels.interrupts`."""
    return _is_raised(builder, stop)


def _is_raised(builder: Builder, stop: ir.Value) -> ir.Value:
    word = builder.load_atomic(_word(builder, stop, 0), ordering="monotonic", align=4)
    return builder.icmp_signed("!=", word, INT32(0))


@emits
def decide_to_leave_off(
    builder: Builder, barrier: Integer, stop: Integer, thread: Integer, position: Integer
) -> None:
    """Let thread 0 decide at a position whether to leave off there, before the threads meet.

    All must do so at the same position, or one would wait for ever. A decision at the next one,
    which thread 0 may take before a slower thread has asked about this one, does not change the
    answer of :func:`leaves_off`.
    """
    is_first = builder.icmp_signed("==", thread, INT64(0))
    with builder.if_then(builder.and_(is_first, _is_raised(builder, stop))):
        decided = builder.add(position, INT64(1))
        builder.store_atomic(decided, _decision(builder, barrier), "monotonic", align=8)


@emits
def leaves_off(builder: Builder, barrier: Integer, position: Integer) -> Flag:
    """Return whether the threads leave off at a position, after they have met there."""
    decided = builder.load_atomic(_decision(builder, barrier), "monotonic", align=8)
    reached = builder.icmp_signed("<", position, builder.sub(decided, INT64(1)))
    return builder.and_(builder.icmp_signed("!=", decided, INT64(0)), builder.not_(reached))


def _decision(builder: Builder, barrier: ir.Value) -> ir.Value:
    address = builder.add(barrier, INT64(LEAVES_OFF))
    return builder.inttoptr(address, INT64.as_pointer())


@emits
def first_to_give_up(builder: Builder, barrier: Integer) -> Flag:
    """Return whether this thread is the first to ask."""
    count = _count(builder, _word(builder, barrier, TAKEN))
    return builder.icmp_signed("==", count, INT32(1))
