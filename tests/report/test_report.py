"""The whole report on digits: every file, the schema of the metrics, interruptions, mistakes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import LISTENS_TO_CTRL_C
from matplotlib.image import imread
from processes import first_of

from fastlin.errors import BackendUnavailableError, FastlinError, InputError, OutputError
from fastlin.report import Settings, summary, write_report

QUICK = Settings(binary_epochs=30, softmax_epochs=6, gradient_rows=20)
FIGURES = (
    "2b_loss",
    "2c_accuracy",
    "2e_shuffling",
    "3b_loss",
    "3c_accuracy",
    "3d_gap",
    "4b_weights",
    "4c_accuracy",
    "4e_norms",
)
FILES = {"report.html", "report.pdf", "metrics.json"} | {
    f"task_{name}{suffix}" for name in FIGURES for suffix in (".png", ".svg")
}
NUMBER, WHOLE = "a float", "an int"
SCHEMA: dict[str, Any] = {
    "fastlin": "a str",
    "backend": "a str",
    "dtype": "a str",
    "n_threads": WHOLE,
    "seed": WHOLE,
    "data": {"name": "a str", "n_train": WHOLE, "n_val": WHOLE},
    "tasks": {
        "1": {f"{model}_gradient_error": NUMBER for model in ("logistic", "softmax", "l2")},
        "2b": {"train_loss": NUMBER, "val_loss": NUMBER},
        "2c": {"train_accuracy": NUMBER, "val_accuracy": NUMBER},
        "2d": {
            "stopped_epoch": WHOLE, "stopped_step": WHOLE, "best_step": WHOLE,
            "best_val_loss": NUMBER,
        },
        "2e": {
            "stopped_epoch": WHOLE, "stopped_step": WHOLE, "best_val_loss": NUMBER,
            "val_accuracy": NUMBER, "spikes_unshuffled": WHOLE, "spikes_shuffled": WHOLE,
        },
        "3b": {"train_loss": NUMBER, "val_loss": NUMBER},
        "3c": {"train_accuracy": NUMBER, "val_accuracy": NUMBER},
        "3d": {"accuracy_gap": NUMBER},
        "4b": {"0": {"weight_l2": NUMBER}, "1": {"weight_l2": NUMBER}},
        "4c": {
            penalty: {"val_accuracy": NUMBER, "val_loss": NUMBER}
            for penalty in ("1", "0.1", "0.01", "0.001")
        },
        "4e": dict.fromkeys(("1", "0.1", "0.01", "0.001"), NUMBER),
    },
    "seconds": {"train": NUMBER, "report": NUMBER},
}  # fmt: skip


def schema_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: schema_of(item) for key, item in value.items()}
    return f"{'an' if type(value) is int else 'a'} {type(value).__name__}"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("report") / "new" / "folder"
    return out, write_report(out, "digits", "numpy", n_threads=1, progress=False, settings=QUICK)


@pytest.fixture(scope="module")
def proofs() -> dict[str, bool]:
    from fastlin.report.derivation import symbolic_checks

    return symbolic_checks()


@pytest.fixture(autouse=True)
def _prove_once(proofs: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlin.report.derivation.symbolic_checks", lambda: proofs)


def write_quickly(out: Path, **changes: Any) -> dict[str, Any]:
    quickest = Settings(binary_epochs=1, softmax_epochs=1, gradient_rows=2)
    arguments = {"data": "digits", "backend": "numpy", "n_threads": 1, "settings": quickest}
    return write_report(out, progress=False, **(arguments | changes))


class TestFiles:
    def test_there_is_every_file_and_no_other(self, report: tuple[Path, dict[str, Any]]) -> None:
        assert {path.name for path in report[0].iterdir()} == FILES

    def test_the_metrics_have_the_schema(self, report: tuple[Path, dict[str, Any]]) -> None:
        out, returned = report
        written = json.loads((out / "metrics.json").read_text("utf-8"))
        assert schema_of(written) == SCHEMA
        assert written == returned
        assert written["data"] == {"name": "digits", "n_train": 1438, "n_val": 359}

    def test_the_metrics_belong_together(self, report: tuple[Path, dict[str, Any]]) -> None:
        tasks = report[1]["tasks"]
        assert tasks["2d"]["best_val_loss"] == pytest.approx(tasks["2b"]["val_loss"], rel=1e-9)
        gap = tasks["3c"]["train_accuracy"] - tasks["3c"]["val_accuracy"]
        assert tasks["3d"]["accuracy_gap"] == pytest.approx(gap)
        assert tasks["4b"]["1"]["weight_l2"] == tasks["4e"]["1"]
        assert tasks["4b"]["0"]["weight_l2"] > tasks["4e"]["0.001"] > tasks["4e"]["1"] > 0
        assert all(0 <= error < 1e-6 for error in tasks["1"].values())

    def test_the_summary_has_a_line_for_each_task(
        self, report: tuple[Path, dict[str, Any]]
    ) -> None:
        rows = dict(summary(report[1]))
        assert list(rows) == ["1, 4a", *(t for t in report[1]["tasks"] if t != "1")]
        assert f"epoch {report[1]['tasks']['2d']['stopped_epoch']}" in rows["2d"]

    @pytest.mark.parametrize("name", FIGURES)
    def test_every_figure_shows_something(
        self, report: tuple[Path, dict[str, Any]], name: str
    ) -> None:
        pixels = imread(report[0] / f"task_{name}.png")[..., :3]
        assert min(pixels.shape[:2]) >= 500
        inked = (np.abs(pixels - 1.0) > 0.1).any(axis=2)
        assert 0.005 < inked.mean() < 0.9
        assert "<svg" in (report[0] / f"task_{name}.svg").read_text("utf-8")


class TestDocuments:
    def test_the_page_loads_nothing(self, report: tuple[Path, dict[str, Any]]) -> None:
        page = (report[0] / "report.html").read_text("utf-8")
        loaded = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
        assert len(loaded) > len(FIGURES)
        assert [link for link in loaded if not link.startswith(("data:", "#"))] == []
        assert "<script" not in page
        assert "@import" not in page

    def test_the_page_has_mathml_figures_and_fits_a_phone(
        self, report: tuple[Path, dict[str, Any]]
    ) -> None:
        page = (report[0] / "report.html").read_text("utf-8")
        assert page.count("<math") > 50
        assert page.count('src="data:image/svg+xml;base64,') == len(FIGURES)
        assert page.count('alt="') == len(FIGURES)
        assert 'name="viewport"' in page
        assert "<style>" in page

    def test_the_pdf_has_every_section_in_order(self, report: tuple[Path, dict[str, Any]]) -> None:
        pages = pdf_pages(report[0])
        assert 8 <= len(pages) <= 20
        assert all(len(page) > 100 for page in pages)
        body = " ".join(" ".join(pages[1:]).split())
        sections = (
            "1a Logistic", "1b Softmax", "2b Loss", "2c Accuracy", "2d Early", "2e Shuffling",
            "3b Loss", "3c Accuracy", "3d Signs", "4a Gradient", "4b Weights", "4c Accuracy",
            "4d Why", "4e Norm",
        )  # fmt: skip
        positions = [body.find(section) for section in sections]
        assert -1 not in positions
        assert positions == sorted(positions)

    def test_both_documents_state_the_results(self, report: tuple[Path, dict[str, Any]]) -> None:
        out, metrics = report
        pdf = " ".join(" ".join(pdf_pages(out)).split())
        page = (out / "report.html").read_text("utf-8")
        for number in (
            f"{metrics['tasks']['2b']['val_loss']:.4f}",
            f"{metrics['tasks']['3b']['train_loss']:.4f}",
            f"{100 * metrics['tasks']['4c']['0.1']['val_accuracy']:.2f}",
        ):
            assert number in pdf
            assert number in page
        assert "not proved" not in pdf

    def test_the_figures_are_vectors_in_the_pdf(self, report: tuple[Path, dict[str, Any]]) -> None:
        from pypdf import PdfReader

        pages = PdfReader(report[0] / "report.pdf").pages
        assert sum(len(page.images) for page in pages) <= 25  # weight images, colour bars
        assert any("λ" in page.extract_text() or "𝜆" in page.extract_text() for page in pages)


def pdf_pages(out: Path) -> list[str]:
    from pypdf import PdfReader

    return [page.extract_text() for page in PdfReader(out / "report.pdf").pages]


class TestWriting:
    def test_the_same_seed_gives_the_same_files(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            write_quickly(tmp_path / name)
        for name in FILES - {"metrics.json"}:
            first, second = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
            assert first == second, name

    def test_an_older_report_is_replaced_and_other_files_stay(self, tmp_path: Path) -> None:
        (tmp_path / "report.html").write_text("old")
        (tmp_path / "notes.txt").write_text("mine")
        write_quickly(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == FILES | {"notes.txt"}
        assert (tmp_path / "report.html").stat().st_size > 10_000

    @pytest.mark.parametrize(
        "stage", ["tasks.train_softmax", "drawing.save_all", "document.typeset"]
    )
    @pytest.mark.parametrize("error", first_of(1, [KeyboardInterrupt, FastlinError]))
    def test_what_is_interrupted_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, error: type[Exception]
    ) -> None:
        def interrupt(*_: Any, **__: Any) -> None:
            raise error("stopped")

        monkeypatch.setattr(f"fastlin.report.{stage}", interrupt)
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "report.html").write_text("old")
        for out in ("old", "new/folder"):
            with pytest.raises(error):
                write_quickly(tmp_path / out)
        assert [path.name for path in (tmp_path / "old").iterdir()] == ["report.html"]
        assert (tmp_path / "old" / "report.html").read_text() == "old"
        assert not (tmp_path / "new").exists()

    def test_ctrl_c_leaves_nothing(self, tmp_path: Path) -> None:
        program = (
            f"{LISTENS_TO_CTRL_C} from fastlin.report import write_report;"
            f"write_report({str(tmp_path / 'out')!r}, 'digits', 'numpy')"
        )
        child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("out/.fastlin-report-*")) and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, shown = child.communicate(timeout=120)
        assert child.returncode != 0
        assert "KeyboardInterrupt" in shown
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_is_one_clear_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("fastlin.report.document.typeset", fail)
        with pytest.raises(OutputError, match="No space left"):
            write_quickly(tmp_path)

    def test_progress_goes_to_standard_error(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        quickest = Settings(binary_epochs=1, softmax_epochs=1, gradient_rows=2)
        write_report(tmp_path, "digits", "numpy", n_threads=1, progress=True, settings=quickest)
        printed, shown = capfd.readouterr()
        assert printed == ""
        for task in ("gradient checks", "2b-2d logistic", "2e logistic", "3b-4b softmax, l2 0"):
            assert task in shown
        assert shown.count("softmax, l2") == 5


class TestMistakes:
    @pytest.fixture(autouse=True)
    def _nothing_is_trained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def train(*_: Any, **__: Any) -> None:
            pytest.fail("training started in spite of the mistake")

        monkeypatch.setattr("fastlin.report.tasks.train_all", train)
        monkeypatch.setattr("fastlin.report.derivation.gradient_checks", train)

    def test_a_file_where_the_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("")
        with pytest.raises(OutputError, match=r"cannot write to the output folder .*taken"):
            write_quickly(tmp_path / "taken")

    def test_a_folder_inside_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("")
        with pytest.raises(OutputError, match="cannot write to the output folder"):
            write_quickly(tmp_path / "taken" / "report")

    def test_an_unknown_backend(self, tmp_path: Path) -> None:
        with pytest.raises((InputError, BackendUnavailableError), match="fortran"):
            write_quickly(tmp_path / "out", backend="fortran")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("option", ["seed", "n_threads"])
    def test_negative_numbers(self, tmp_path: Path, option: str) -> None:
        with pytest.raises(InputError, match="is -1; expected"):
            write_quickly(tmp_path / "out", **{option: -1})
        assert not (tmp_path / "out").exists()

    def test_missing_packages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(OutputError, match=r"typst and sympy.*fastlin\[report\]"):
            write_quickly(tmp_path)

    @pytest.mark.parametrize(
        ("n_classes", "n_rows", "message"),
        [(2, 60, "at least 3"), (4, 8, "at least 5")],
    )
    def test_data_that_are_too_small(
        self, tmp_path: Path, n_classes: int, n_rows: int, message: str
    ) -> None:
        path = local_data(tmp_path, n_classes, n_rows)
        with pytest.raises(InputError, match=message):
            write_quickly(tmp_path / "out", data=str(path))


def local_data(folder: Path, n_classes: int, n_rows: int) -> Path:
    generator = np.random.default_rng(0)
    y = np.arange(n_rows) % n_classes
    X = generator.normal(size=(n_rows, 6)) + 2.0 * np.eye(n_classes, 6)[y]
    names = np.array([f"class {chr(97 + label)}" for label in y])
    path = folder / "flowers.npz"
    np.savez(path, X_train=X, y_train=names, X_val=X[:20], y_val=names[:20])
    return path


def test_local_rows_that_are_no_images(tmp_path: Path) -> None:
    path = local_data(tmp_path, n_classes=4, n_rows=120)
    metrics = write_quickly(tmp_path / "out", data=str(path))
    assert schema_of(metrics) == SCHEMA
    text = " ".join(" ".join(pdf_pages(tmp_path / "out")).split())
    assert "These data have no classes 2 and 3" in text
    assert "class a (target 1) from class b (target 0)" in text
    assert "Roughness" not in text
