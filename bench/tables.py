"""Tables of the guide's page on speed, from the records of ``fastlin bench``.

    python bench/tables.py bench/records/zen5 docs/guide/tables
    python bench/tables.py bench/records/xeon16 docs/guide/tables

A folder holds ``epoch.json``, ``probe.json`` and so on, as ``fastlin bench --suite NAME --json``
wrote them in one run on one machine, or ``scaling.json`` of ``bench/scaling.py``. Each becomes a
table that a page includes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from fastlin.bench.results import Case, Results
from fastlin.bench.table import fastest
from fastlin.kernels.blocking import REGISTERS, dense_blocking

NAMES = {
    "fastlin c": "**fastlin, C**",
    "fastlin numba": "**fastlin, Numba**",
    "fastlin numpy": "fastlin, NumPy",
    "PyTorch, nn.Linear + SGD": "PyTorch, ``nn.Linear`` and ``SGD``",
    "scikit-learn SGDClassifier": "scikit-learn ``SGDClassifier``",
    "scikit-learn LogisticRegression": "scikit-learn ``LogisticRegression``",
    "scikit-learn lbfgs": "scikit-learn ``lbfgs``",
}
OURS = ("fastlin c", "fastlin numba", "fastlin numpy")
Rows = list[list[str]]


def milliseconds(case: Case) -> str:
    """Return a median with two to four digits."""
    value = 1000 * case.spread.median
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def on_all_threads(results: Results) -> dict[str, dict[str, Case]]:
    """Return the cases by problem and contestant, without those on a single thread."""
    return {
        problem: {case.contestant: case for case in cases if case.n_threads == results.n_threads}
        for problem, cases in results.by_problem()
    }


def contestants_by_problem(results: Results, titles: dict[str, str], base: str) -> Rows:
    """Return a line for each contestant and a column for each problem, with ratios to ``base``."""
    found = on_all_threads(results)
    problems = [problem for problem in found if titles.get(key(problem))]
    names = dict.fromkeys(
        name for problem in problems for name in found[problem] if ", fit" not in name
    )
    rows = [["", *(titles[key(problem)] for problem in problems)]]
    for name in sorted(names, key=lambda name: OURS.index(name) if name in OURS else len(OURS)):
        row = [NAMES.get(name, name)]
        for problem in problems:
            case = found[problem].get(name)
            ratio = case and case.spread.median / found[problem][base].spread.median
            row.append(f"{milliseconds(case)} ({ratio:.1f})" if case else "")
        rows.append(row)
    return rows


def key(problem: str) -> str:
    return problem.removesuffix("-quick")


def epoch(results: Results) -> Rows:
    titles = {
        f"mnist-{model}-{dtype}-batch128": f"{model}, {dtype}"
        for model, dtypes in (
            ("softmax", ("uint8", "float32", "float64")),
            ("logistic", ("uint8", "float32")),
        )
        for dtype in dtypes
    }
    return contestants_by_problem(results, titles, "fastlin c")


def probe(results: Results) -> Rows:
    rows = [["features, classes, batch", "C, ms", "Numba, ms", "the fastest other, ms", "ratios"]]
    for problem, cases in on_all_threads(results).items():
        match = re.match(r"probe-d(\d+)-k(\d+)-batch(\d+)-float32(-short)?", problem)
        peer = fastest(list(cases.values()), "peer")
        if match is None or peer is None:
            continue
        d, k, batch, short = match.groups()
        c, numba = cases["fastlin c"], cases["fastlin numba"]
        ratios = " / ".join(f"{peer.ratio_to(one).median:.2f}" for one in (c, numba))
        shape = f"{d}, {k}, {batch}" + (", one batch a call" if short else "")
        name = peer.contestant.partition(",")[0].removesuffix(" loop")
        rows.append([shape, milliseconds(c), milliseconds(numba)])
        rows[-1] += [f"{name} {milliseconds(peer)}", ratios]
    return rows


def fit(results: Results) -> Rows:
    rows = [["rows", "backend", "epoch", "``fit``, rate given", '``fit``, ``"auto"``']]
    for problem, cases in on_all_threads(results).items():
        for name, backend in (("fastlin c", "C"), ("fastlin numba", "Numba")):
            kernel = cases[name]
            line = [problem.split("-")[2], backend, milliseconds(kernel)]
            for end in (", fit", ", fit, rate auto"):
                case = cases[name + end]
                line.append(f"{milliseconds(case)} ({case.ratio_to(kernel).median:.2f})")
            rows.append(line)
    return rows


def predict(results: Results) -> Rows:
    rows = [["", "C", "Numba", "NumPy", "scikit-learn"]]
    for problem, cases in on_all_threads(results).items():
        _, method, dtype, *one_row = key(problem).split("-")
        scale = 1000 if one_row else 1
        named = {name.removesuffix(" (1 thread)"): case for name, case in cases.items()}
        values = [
            named[name].spread.median * 1000 * scale
            for name in (*OURS, "scikit-learn LogisticRegression")
        ]
        title = f"``{method}``, {dtype}" + (", one row (µs)" if one_row else "")
        rows.append([title, *(f"{value:.0f}" if one_row else f"{value:.1f}" for value in values)])
    return rows


def to_the_optimum(results: Results) -> Rows:
    rows = [["problem", "contestant", "iterations", "seconds", "times C"]]
    for problem, cases in on_all_threads(results).items():
        base = cases["fastlin c"]
        for name, case in cases.items():
            iterations = re.search(r"(\d+) iterations", case.variant)
            rows.append(
                [
                    problem.removesuffix("-optimum"),
                    NAMES.get(name, name),
                    iterations[1] if iterations else "",
                    f"{case.spread.median:.3g}",
                    f"{case.spread.median / base.spread.median:.1f}",
                ]
            )
    for line, before in zip(rows[:1:-1], rows[-2:0:-1], strict=True):
        line[0] = "" if line[0] == before[0] else line[0]
    return rows


def scaling(results: Results) -> Rows:
    """Speeds relative to one thread, and the number of threads that the model would choose."""
    isa = "avx512" if "avx512f" in results.machine["instruction_set"] else "avx2"
    counts = [2**e for e in range(1, results.n_threads.bit_length()) if 2**e <= results.n_threads]
    rows = [["", *(f"{n} threads" for n in counts), "chosen", "speed"]]
    for problem, cases in results.by_problem():
        found = {(case.contestant, case.n_threads): case for case in cases}

        def speeds(n: int, found: dict[tuple[str, int], Case] = found) -> str:
            """Return the speeds of both backends on so many threads, or the next fewer measured."""
            n = max(count for _, count in found if count <= n)
            of_both = (1 / found[name, n].ratio_to(found[name, 1]).median for name in OURS[:2])
            return " / ".join(f"{speed:.1f}" for speed in of_both)

        row = [problem.removeprefix("threads-"), *(speeds(n) for n in counts), "", ""]
        if match := re.match(r"threads-d(\d+)-k(\d+)-batch(\d+)-float32", problem):
            d, k, batch = map(int, match.groups())
            row[0] = f"{d}, {k}, {batch}"
            chosen = dense_blocking(
                d,
                1 if k == 2 else k,
                60_000,
                batch,
                ("float32", "float32"),
                REGISTERS[isa],
                results.n_threads,
                steps=True,
            ).n_threads
            row[-2:] = str(chosen), speeds(chosen)
        rows.append(row)
    return rows


TABLES: dict[str, Callable[[Results], Rows]] = {
    "epoch": epoch,
    "probe": probe,
    "fit": fit,
    "predict": predict,
    "optimum": to_the_optimum,
    "sparse": to_the_optimum,
    "scaling": scaling,
}


def as_list_table(rows: Rows) -> Iterator[str]:
    """Yield the lines of a table in reST."""
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield ""
    for row in rows:
        for number, cell in enumerate(row):
            yield f"   {'* -' if number == 0 else '  -'} {cell}".rstrip()


def main(records: Path, pages: Path) -> None:
    """Write a table for each record."""
    pages.mkdir(exist_ok=True)
    for name, table in TABLES.items():
        record = records / f"{name}.json"
        if record.exists():
            text = "\n".join(as_list_table(table(Results.load(record)))) + "\n"
            (pages / f"{name}.rst").write_text(text, "utf-8")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
