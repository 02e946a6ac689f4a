"""The command ``enhance``: the stacks of one scan to one image, without a dataset."""

import argparse
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from ..api import enhance
from ..config import CONTRASTS
from ..errors import InputError, ScanWarning, usable_paths
from ..evaluation.thresholds import PURPOSES
from ..imaging.inputs import files_of
from ..methods.options import TargetContrast
from ..outputs import OUTPUTS, check_outputs
from ..resources import temporary_folder
from .help import print_lines
from .parts import refuse_misspelt

COMMAND = "enhance"

SILENCE = 30.0
"""Seconds without a line after which one says that the step goes on."""

EPILOG = """examples:
  bids_lfenhance enhance T1w.nii.gz -o enhanced.nii.gz
  bids_lfenhance enhance axi.nii.gz cor.nii.gz sag.nii.gz --suffix T2w -o enhanced.nii.gz --std error.nii.gz
  bids_lfenhance enhance scans/ --suffix T1w -o enhanced.nii.gz --regions regions.nii.gz --volumes volumes.tsv
exit codes: 0 everything asked for is on disk; 1 the method failed; 2 usage or unusable input; 130 stopped.
Research use only; never for a diagnosis."""


def is_enhance_command(words: Sequence[str]) -> bool:
    """Whether a command line is this command, and not a dataset in a folder named like it.

    >>> is_enhance_command(["enhance", "scan.nii.gz"]), is_enhance_command(["enhance", "out", "participant"])
    (True, False)
    """
    from ..config import LEVELS

    return list(words[:1]) == [COMMAND] and not (len(words) > 2 and words[2] in LEVELS)


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog=f"bids_lfenhance {COMMAND}",
        description="One low-field brain scan, from one stack or several, to one high-field-like image.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("scans", nargs="+", metavar="SCAN", help="NIfTI image, folder or quoted pattern: the stacks of one contrast")
    add(
        "-o", "--out", dest="image", required=True, type=Path, metavar="OUT", help="the enhanced image, .nii.gz or .nii"
    )
    add("--suffix", choices=CONTRASTS, help="contrast, where names do not say it; scans named as another are left out")
    add("--std", type=Path, metavar="FILE", help="write the standard deviation of the error here")
    add("--mask", type=Path, metavar="FILE", help="write the brain mask here")
    add("--regions", type=Path, metavar="FILE", help="write the labels of 32 regions here; takes longer")
    add("--volumes", type=Path, metavar="FILE", help="write the volumes of the regions here, .tsv or .csv")
    add("--qc", type=Path, metavar="FILE", help="write a page with the verdict and pictures here, .html")
    add("--keep-geometry", action="store_true", help="results on the voxels of the first scan, not 1 mm RAS")
    add(
        "--target-contrast",
        choices=get_args(TargetContrast),
        default="auto",
        help="contrast of T1w: own, that of the scan; high-field, as an MPRAGE at 3 T; auto, half way; learned, of the "
        "high field that the weights were trained on; others keep their own (default: auto)",
    )
    add("--precision", choices=("bf16", "fp32"), default="bf16", help="arithmetic of the network (default: bf16)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: auto)")
    add("--weights", default="auto", help="folder, file or name of weights of fusionnet (default: the bundled)")
    return parser


@contextmanager
def progress_lines(silence: float = SILENCE) -> Iterator[Callable[[str], None]]:
    """Yields a function that prints a line with the seconds since the start, a long step again and again."""
    start, ended, printed = time.monotonic(), threading.Event(), threading.Event()
    latest = [""]

    def show(text: str, step: bool = True) -> None:
        latest[0] = text if step else latest[0]
        printed.set()
        print(f"[{time.monotonic() - start:4.0f} s] {text}", file=sys.stderr, flush=True)  # noqa: T201

    def repeat() -> None:
        while not ended.is_set():
            if not printed.wait(silence):
                show(f"still {latest[0].partition(';')[0]}", step=False)
            printed.clear()

    repeater = threading.Thread(target=repeat, daemon=True)
    repeater.start()
    try:
        yield show
    finally:
        ended.set()
        printed.set()
        repeater.join()


def run_enhance(words: Sequence[str]) -> int:
    """0 once everything asked for is on disk; ``words`` are those after the command.

    Raises ``InputError`` and ``MethodError`` as ``api.enhance`` does, ``SystemExit`` for usage errors.
    """
    parser = build_parser()
    refuse_misspelt(parser, words)
    given = parser.parse_args(list(words))
    _check_scans(given.scans)
    _check_outputs(given)
    temporary_folder()  # torch makes files when it is imported
    with progress_lines() as show:
        _enhance(given, show)
    return 0


def _enhance(given: argparse.Namespace, show: Callable[[str], None]) -> None:
    """Enhance and save; progress, warnings and verdict go to stderr."""
    show(f"bids_lfenhance enhance: loading, then {', '.join(given.scans)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScanWarning)  # they are shown below, once
        result = enhance(
            *given.scans,
            suffix=given.suffix,
            keep_geometry=given.keep_geometry,
            target_contrast=given.target_contrast,
            precision=given.precision,
            device=given.device,
            weights=given.weights,
            progress=show,
        )
    for warning in result.warnings:
        show(f"Warning: {warning}")
    if given.regions or given.volumes:
        show("finding regions")
    print_lines(*result.save(**_outputs(given)))
    for reason in result.verdict.reasons:
        show(reason)
    show("usable " + ", ".join(f"{PURPOSES[name]}: {word}" for name, word in result.verdict.words.items()))
    show("done")


def _outputs(given: argparse.Namespace) -> dict[str, Path]:
    """Where each output goes that was asked for."""
    return {name: path for name in OUTPUTS if (path := getattr(given, name)) is not None}


@usable_paths()
def _check_scans(scans: Sequence[str]) -> None:
    """Refuse a dataset, which has a command of its own."""
    for scan in scans:
        if (Path(scan) / "dataset_description.json").is_file():
            message = (
                f"Expected the stacks of one scan, found the BIDS dataset {scan}; for a dataset use: "
                f"bids_lfenhance {scan} OUT_DIR participant"
            )
            raise InputError(message, code="bad-image", path=Path(scan))


@usable_paths()
def _check_outputs(given: argparse.Namespace) -> None:
    """Refuse before anything is computed what could not be written."""
    outputs = _outputs(given)
    check_outputs(outputs, files_of(given.scans))
    for path in outputs.values():
        _check_writable(path.resolve())


def _check_writable(path: Path) -> None:
    """Raise InputError if no file can be written in the folder of a path, or in the nearest one above that exists."""
    folder = next(parent for parent in path.parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        message = (
            f"Expected a folder that can be written for {path}, found that {folder} cannot ({error.strerror}); name "
            "another."
        )
        raise InputError(message, code="bad-output", path=path) from error
