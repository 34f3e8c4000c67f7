from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from fastlin.bench.contestants import Model
from fastlin.bench.correctness import check
from fastlin.bench.data import make_data
from fastlin.bench.peers import PEERS, chosen_peers, thread_counts, variant_label
from fastlin.bench.problems import DTYPES, Problem
from fastlin.errors import InputError


def problem(dtype: str, n_classes: int) -> Problem:
    return Problem("small", 256, 64, n_classes, 32, dtype)


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in PEERS if name != "sgdclassifier"])
def test_every_variant_does_the_same_mathematics(name: str, dtype: str, n_classes: int) -> None:
    peer = PEERS[name]
    if not peer.installed:
        pytest.skip(f"{peer.title} is missing; install it with: {peer.install}")
    small = problem(dtype, n_classes)
    data = make_data(small)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever a peer says while it is imported
        variants = peer.variants(small, 2)
    assert variants
    assert len({variant.label for variant in variants}) == len(variants)
    for variant in variants:
        result = check(variant.build, small, data)
        assert result.passed, (variant.label, result)


@pytest.mark.parametrize("name", PEERS)
def test_a_second_run_after_reset_gives_the_same(name: str) -> None:
    peer = PEERS[name]
    if not peer.installed:
        pytest.skip(f"{peer.title} is missing; install it with: {peer.install}")
    small = problem("float32", 10)
    start = Model.zeros(small)
    contestant = peer.variants(small, 1)[0].build(small, make_data(small), start)
    outcomes = []
    for _ in range(2):
        contestant.reset()
        contestant.run()
        outcomes.append(contestant.outcome())
    assert np.array_equal(outcomes[0].model.weights, outcomes[1].model.weights)
    assert np.abs(outcomes[0].model.weights).max() > 0
    assert not start.weights.any()


def test_read_only_rows_are_taken_without_a_word() -> None:
    small = problem("uint8", 10)
    data = make_data(small)
    data.rows.flags.writeable = False
    for peer in chosen_peers(None, grid=True):
        if peer.installed:
            for variant in peer.variants(small, 1):
                variant.build(small, data, Model.zeros(small))


def test_peers_are_chosen_by_name_in_the_order_of_the_table() -> None:
    assert [peer.name for peer in chosen_peers(["jax", "numpy"], grid=False)] == ["numpy", "jax"]
    assert chosen_peers([], grid=False) == []
    assert [peer.name for peer in chosen_peers(None, grid=False)] == list(PEERS)
    assert "sgdclassifier" not in [peer.name for peer in chosen_peers(None, grid=True)]


def test_an_unknown_peer_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="peer 'tensorflow' is unknown; choose from numpy, "):
        chosen_peers(["tensorflow"], grid=False)


def test_a_peer_that_is_not_installed_says_so_without_being_imported() -> None:
    absent = replace(PEERS["jax"], package="no_such_package", module="no_such_module")
    assert not absent.installed
    assert PEERS["numpy"].installed


def test_labels_tell_variants_apart() -> None:
    assert thread_counts(4) == [4, 1]
    assert thread_counts(1) == [1]
    assert variant_label(4, all_threads=4, converted=False) == ""
    assert variant_label(1, all_threads=4, narrow="uint8", converted=True) == (
        "1 thread, float32 copy made beforehand"
    )
    assert variant_label(4, all_threads=4, narrow="float16") == "float16 widened a batch"
