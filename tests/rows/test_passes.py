"""Passes: the sums of parts, joined in any order, and steps that can be sent to other processes."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest

from fastlin.fitting import all_right_of
from fastlin.kernels import get_backend
from fastlin.rows.dense import DenseRows
from fastlin.rows.passes import Cut, Threaded, Tree, pairwise_sum, passes, run
from fastlin.rows.samples import Samples
from fastlin.rows.scaling import extremes_of, squares_of, sums_of
from fastlin.rows.validation import largest_of
from fastlin.solvers.evaluation import weighted_score_of
from fastlin.solvers.full_pass import Kernels, loss_gradient_of, score_of
from fastlin.solvers.newton_bound import hessian_of, reach_of

STEPS = (
    *(loss_gradient_of, score_of, weighted_score_of, extremes_of, sums_of, squares_of),
    *(largest_of, hessian_of, reach_of, all_right_of),
)


def total(block: Samples) -> tuple[float, int]:
    return float(block.rows.to_array().sum()), len(block.rows)


def first_value(block: Samples, offset: float, own: float) -> float:
    return float(block.rows.to_array()[0, 0]) + offset + own


class HowMany(Threaded):
    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def with_threads(self, n_threads: int) -> HowMany:
        return HowMany(n_threads)


def threads(block: Samples, how_many: HowMany) -> tuple[int]:
    return (how_many.n_threads,)


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7, 8, 13, 64, 100])
def test_nodes_of_any_split_in_any_order_give_the_same_bits(n_parts: int) -> None:
    rng = np.random.default_rng(n_parts)
    parts = [(float(x),) for x in rng.standard_normal(n_parts) * 10.0 ** rng.integers(-9, 9)]
    expected = pairwise_sum(parts)
    for _ in range(50):
        n_cuts = int(rng.integers(0, n_parts))
        cuts = sorted(rng.choice(np.arange(1, n_parts), n_cuts, replace=False)) if n_cuts else []
        trees = []
        for first, stop in itertools.pairwise([0, *map(int, cuts), n_parts]):
            trees.append(Tree())
            for place in rng.permutation(np.arange(first, stop)):
                trees[-1].add(0, int(place), parts[place])
            # Only nodes that no neighbour of the same split completes are left.
            assert len(trees[-1].nodes) <= 2 * max(1, (stop - first).bit_length())
        joined = Tree()
        for index in rng.permutation(len(trees)):
            for (height, place), value in trees[index].nodes.items():
                joined.add(height, place, value)
        assert joined.total() == expected


def test_a_run_of_blocks_elsewhere_has_the_nodes_of_all() -> None:
    rng = np.random.default_rng(0)
    samples = Samples(DenseRows(rng.standard_normal((1000, 3))))
    cut = Cut(64, np.dtype(np.float64))
    whole = pairwise_sum(map(total, cut.blocks(samples)))
    tree = Tree()
    for first, stop in ((5, 16), (0, 3), (3, 5)):
        part = samples.part(slice(first * 64, stop * 64))
        for (height, place), value in run(part, cut, first, total, (), None, 1, adds=True).items():
            tree.add(height, place, value)
    assert tree.total() == whole
    assert cut.n_blocks(1000) == 16
    assert [place.stop for place in cut.slices(130)] == [64, 128, 130]


def test_a_map_is_in_the_order_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DenseRows, "rows_of_a_block", lambda rows, dtype: 10)
    samples = Samples(DenseRows(np.arange(35.0)[:, np.newaxis]))
    found = passes(samples, np.dtype(np.float64)).map(first_value, 0.5, own=[0, 100, 200, 300])
    assert list(found) == [0.5, 110.5, 220.5, 330.5]


def test_each_process_has_its_own_number_of_threads() -> None:
    samples, cut = Samples(DenseRows(np.ones((5, 1)))), Cut(5, None)
    assert run(samples, cut, 0, threads, (HowMany(1),), None, 3, adds=False) == {0: (3,)}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_steps_are_sent_by_name(step: Any) -> None:
    assert pickle.loads(pickle.dumps(step)) is step
    assert len(pickle.dumps(step)) < 200


def test_kernels_are_sent_by_name() -> None:
    kernels = pickle.loads(pickle.dumps(Kernels(get_backend("numpy"), 3)))
    assert (kernels.backend.name, kernels.n_threads) == ("numpy", 3)


def test_samples_remember_how_labels_were_renumbered() -> None:
    samples = Samples(DenseRows(np.ones((4, 1))), np.array([0, 1, 2, 1], np.int32))
    once = samples.renumbered(np.array([2, 0, 1], np.int32))
    twice = once.renumbered(np.array([5, 6, 7], np.int32))
    assert once.labels.tolist() == [2, 0, 1, 0]
    assert twice.labels.tolist() == [7, 5, 6, 5]
    assert twice.renumbering is not None
    assert twice.renumbering[samples.labels].tolist() == twice.labels.tolist()
