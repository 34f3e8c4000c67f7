"""Where the threads of a run wait for each other, as intrinsics of the Numba backend.

Starting threads takes as long as a phase of a step, so a run starts them once and lets them meet at
a barrier, like the C backend's (``csrc/team.h``). That needs all threads at once, which no
threading layer promises: the threads first wait a while for each other, and all get the same answer
whether all came.
"""

from __future__ import annotations

import os
import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastlin.kernels.jit.options import intrinsic
from fastlin.kernels.jit.vectors import INT64

# Words of a meeting, each on a cache line of its own: threads that have come to the barrier, how
# often it has opened; threads that have come to the run, whether all came (1) or not (2), whether
# one has taken over the work, and 1 + the position to leave off at, which is of 64 bits.
MEETING_WORDS = 6 * 16
ARRIVED, OPENED, CAME, ANSWER, TAKEN, LEAVES_OFF = (64 * word for word in range(6))
SPINS = 200
"""Looks at the barrier before a waiting thread gives up its core."""
PATIENCE = 20_000
"""Times that a thread gives up its core for those that have not come: some 10 milliseconds."""


def _word(builder: Any, meeting: ir.Value, offset: int) -> ir.Value:
    address = builder.add(meeting, INT64(offset))
    return builder.inttoptr(address, ir.IntType(32).as_pointer())


def _look(builder: Any, pointer: ir.Value) -> ir.Value:
    return builder.load_atomic(pointer, ordering="acquire", align=4)


def _count(builder: Any, pointer: ir.Value) -> ir.Value:
    """Add one and return how many that makes."""
    one = ir.IntType(32)(1)
    return builder.add(builder.atomic_rmw("add", pointer, one, "acq_rel"), one)


def _pause(builder: Any) -> None:
    """Tell the processor that this is a wait, where there is a way to say so."""
    if platform.machine() in ("x86_64", "AMD64"):
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
        )
        builder.call(function, [])


def _give_up_core(builder: Any) -> None:
    if os.name == "posix":
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield"
        )
        builder.call(function, [])


def _wait_while(builder: Any, condition: Any, spins: int, patience: int | None) -> ir.Value:
    """Emit a wait while ``condition()`` holds; return whether it still does.

    Looks ``spins`` times, then gives up the core between looks, ``patience`` times or for ever.
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
        limit = builder.icmp_signed("<", n, INT64(spins + patience))
        builder.cbranch(builder.and_(holds, limit), turn, done)
    else:
        builder.cbranch(holds, turn, done)
    builder.position_at_end(turn)
    builder.store(builder.add(n, INT64(1)), turns)
    with builder.if_else(builder.icmp_signed("<", n, INT64(spins))) as (soon, later):
        with soon:
            _pause(builder)
        with later:
            _give_up_core(builder)
    builder.branch(look)
    builder.position_at_end(done)
    return holds


@intrinsic
def wait_for_all(typingctx: Any, meeting: Any, n_threads: Any) -> Any:
    """Wait until that many threads wait here; ``meeting``: address of its words."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        meeting, n_threads = args
        int32 = ir.IntType(32)
        arrived, opened = (_word(builder, meeting, word) for word in (ARRIVED, OPENED))
        with builder.if_then(builder.icmp_signed(">", n_threads, INT64(1))):
            before = _look(builder, opened)
            count = builder.zext(_count(builder, arrived), INT64)
            last = builder.icmp_signed("==", count, n_threads)
            with builder.if_else(last) as (open_it, wait):
                with open_it:
                    builder.store_atomic(int32(0), arrived, ordering="monotonic", align=4)
                    after = builder.add(before, int32(1))
                    builder.store_atomic(after, opened, ordering="release", align=4)
                with wait:
                    _wait_while(
                        builder,
                        lambda: builder.icmp_signed("==", _look(builder, opened), before),
                        SPINS,
                        None,
                    )
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


@intrinsic
def all_came(typingctx: Any, meeting: Any, n_threads: Any) -> Any:
    """Wait a while for that many threads; return whether all came, to all the same answer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        meeting, n_threads = args
        int32 = ir.IntType(32)
        came, answer = (_word(builder, meeting, word) for word in (CAME, ANSWER))
        count = builder.zext(_count(builder, came), INT64)

        def settle(value: int) -> None:
            builder.cmpxchg(answer, int32(0), int32(value), "acq_rel", "acquire")

        with builder.if_then(builder.icmp_signed("==", count, n_threads)):
            settle(1)
        open_question = _wait_while(
            builder,
            lambda: builder.icmp_signed("==", _look(builder, answer), int32(0)),
            SPINS,
            PATIENCE,
        )
        with builder.if_then(open_question):
            settle(2)
        return builder.icmp_signed("==", _look(builder, answer), int32(1))

    return types.boolean(types.int64, types.int64), codegen


@intrinsic
def told_to_stop(typingctx: Any, stop: Any) -> Any:
    """Return whether a kernel shall leave off; ``stop``: see :mod:`fastlin.kernels.interrupts`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _is_raised(builder, args[0])

    return types.boolean(types.int64), codegen


def _is_raised(builder: Any, stop: ir.Value) -> ir.Value:
    int32 = ir.IntType(32)
    word = builder.load_atomic(
        builder.inttoptr(stop, int32.as_pointer()), ordering="monotonic", align=4
    )
    return builder.icmp_signed("!=", word, int32(0))


@intrinsic
def decide_to_leave_off(typingctx: Any, meeting: Any, stop: Any, thread: Any, position: Any) -> Any:
    """Let thread 0 decide at a position whether to leave off there, before the threads meet.

    All must do so at the same position, or one would wait for ever. A decision at the next one,
    which thread 0 may take before a slower thread has asked about this one, does not change the
    answer of :func:`leaves_off`.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        meeting, stop, thread, position = args
        is_first = builder.icmp_signed("==", thread, INT64(0))
        with builder.if_then(builder.and_(is_first, _is_raised(builder, stop))):
            decided = builder.add(position, INT64(1))
            builder.store_atomic(decided, _decision(builder, meeting), "monotonic", align=8)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), codegen


@intrinsic
def leaves_off(typingctx: Any, meeting: Any, position: Any) -> Any:
    """Return whether the threads leave off at a position, after they have met there."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        meeting, position = args
        decided = builder.load_atomic(_decision(builder, meeting), "monotonic", align=8)
        reached = builder.icmp_signed("<", position, builder.sub(decided, INT64(1)))
        return builder.and_(builder.icmp_signed("!=", decided, INT64(0)), builder.not_(reached))

    return types.boolean(types.int64, types.int64), codegen


def _decision(builder: Any, meeting: ir.Value) -> ir.Value:
    address = builder.add(meeting, INT64(LEAVES_OFF))
    return builder.inttoptr(address, INT64.as_pointer())


@intrinsic
def first_to_give_up(typingctx: Any, meeting: Any) -> Any:
    """Return whether this thread is the first to ask."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        count = _count(builder, _word(builder, args[0], TAKEN))
        return builder.icmp_signed("==", count, ir.IntType(32)(1))

    return types.boolean(types.int64), codegen
