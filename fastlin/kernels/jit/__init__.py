"""The Numba backend, and its design.

Algorithm, blocking and layout are those of the C backend (``csrc/request.h``), so what is said here
about panels, slices and bits holds there too. What differs is how code is made and threads start.

**A step.** ``n`` rows, ``d`` features and ``k`` classes are cut like this; the words are those of
:mod:`fastlin.kernels.blocking`, which decides all sizes for both backends from the shape, the types
and the vector registers::

                 slice 0             slice 1
           +-------------------+-------------------+
    panel  |                   |                   |   X   [row][feature], where it was
    of     |   thread 0        |   thread 1        |   A   partial logits of each slice
    rows   |                   |                   |
           +-------------------+-------------------+
           ================ barrier ================   B   sum of the slices, softmax, residual
           +-------------------+-------------------+
    block  | v0  v1  v2  ...   |  ...              |   W   packed, by vectors of features
    of     |   thread 0        |   thread 1        |   C   gradient of each slice, and update
    classes+-------------------+-------------------+

**Layout.** Packed weights are ``[block][vector of features][class in block][lane]``. A micro-kernel
holds the sums of one block in registers and reads the block's weights from front to back, in whole
vectors (the picture is in ``csrc/dense/layout.h``). A panel is as many rows as stay in a core's
cache from A, which reads them first, to C, which reads them again. A thread has the same features
in A and in C, so the weights that it updates stay in its own cache. Sparse rows have no vectors of
features: their weights lie ``[feature][class]``, and what a row stores touches one run of classes.
With many classes the vectors of dense rows hold classes, too (:mod:`.many_classes.layout`): A and C
are then products of matrices whose rows are widened and copied once, and no lanes are added up.

**Barrier.** The end of a ``prange`` would do as a barrier, but then each phase starts the threads
again, which takes about as long as a phase, some ten microseconds. So one ``prange`` starts them
for all steps of a call, and within it they meet at a barrier that spins (:mod:`.barrier`), once to
three times a panel. A barrier needs all its threads at once, which no threading layer promises: the
threads first wait a while for each other, and if not all come, one does the whole work.

**Emitted code.** The innermost loops are emitted as LLVM's vectors (:mod:`.vectors`, :mod:`.emit`),
since Numba's loops cannot say three things: that a rectangle of sums stays in registers; that the
widest registers are used (LLVM's vectorizer prefers half of them, and gives up if arrays might
overlap); and which products are rounded together with their sum. The option ``contract`` allows
that and does not demand it, so two micro-kernels could round the same sum in two ways, and the bits
would depend on which of them a thread's features fall to. Everything else is plain Numba: loops
over blocks, slices, panels and steps, in ``logits.py``, ``gradient.py`` and ``run.py``.

**Forms of call.**

- From Python, :func:`.launch.start` calls machine code by its address, once a call of the backend:
  no types are looked up, and Python's lock is released. A kernel takes three integers, the address
  of its arguments (:mod:`.memory`), the thread and the number of threads, whatever its types.
- A compiled loop calls a function that is marked ``@inner``: LLVM sees both, and may inline one.
- A compiled loop calls another kernel by its address (:func:`.memory.call_kernel`), as a run calls
  its phases: each phase is compiled once, not copied into the run and compiled there again.
- A kernel is compiled for a :class:`.Kind`, the types and sizes that it is for, which is bound to
  it as ``this_kind`` (:func:`.compiled.compile_body`). So one source serves all types, and the kind
  tells each intrinsic what to emit. The runs over dense rows and the residuals read no row, so they
  are compiled for the weights alone (:attr:`.Kind.without_rows`), and serve all rows.

**The same bits at any number of threads.** Blocks and slices follow from the shape, the types and
the registers, never from the threads. A logit is the sum of the slices' parts, from the first to
the last; an entry of the gradient is summed by one thread, row after row, panel after panel; passes
keep a loss for each panel and add them up in order. Threads only divide who computes which.
"""
