"""The whole command on a small dataset, from outside: exit codes, summary and report agree with the disk."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.bids.sidecars import optional_json
from bids_lfenhance.cli.run import main
from bids_lfenhance.reports.page import reports_failure
from bids_lfenhance.reports.summary import usable_sentence
from bids_lfenhance.reports.tables import number

from .dataset import tiny_regions, write_dataset
from .reports.page_reader import read
from .reports.verdicts import verdicts
from .tables import read_numbers

PLAIN = ("--segmentation", "none")
"""For runs whose regions nobody looks at: 15 CPU-s an image."""

OTHERS = ("--participant-label", *(f"0{number}" for number in range(2, 8)), *PLAIN)
"""All but the one subject whose regions are looked at."""

KEYS = ("contrast", "region", "protocol", "metric")

OPTIONS = ("--sloppy", "--method", "interp", "--nprocs", "2", "--mem-gb", "6")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole run")  # a space in the path, as users have
    write_dataset(folder / "bids")
    tiny_regions(folder / "regions")
    return folder


def arguments(place: Path, *words: str, out: str = "out", bids: str = "bids") -> list[str]:
    regions = () if set(PLAIN) <= set(words) else ("--segmentation-weights", str(place / "regions"))
    folders = [str(place / bids), str(place / out), "participant", "-w", str(place / "work")]
    return [*folders, *regions, *OPTIONS, *words]


def app(place: Path, *words: str, **folders: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "bids_lfenhance", *arguments(place, *words, **folders)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)


@pytest.fixture(scope="module")
def first(place: Path) -> subprocess.CompletedProcess:
    """A run of all but sub-01, into a folder where a run of sub-01 with regions left its results."""
    done = app(place, "--participant-label", "01")
    assert done.returncode == 0, done.stdout + done.stderr
    return app(place, *OTHERS)


def images(place: Path, out: str = "out") -> dict[str, str]:
    """Hash of every image by its path."""
    root = place / out
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.nii.gz"))
    }


def test_failed_subjects_are_named_and_the_others_done(first, place):
    assert first.returncode == 1, first.stdout + first.stderr
    assert "1 subject(s) done: sub-02" in first.stdout
    assert "skipped sub-03" in first.stdout
    for subject, words in {
        "04": "cut short",
        "05": "JSON",
        "06": "finite",
        "07": "annex",
    }.items():
        (line,) = [line for line in first.stdout.splitlines() if line.startswith(f"FAILED sub-{subject}")]
        assert words in line
        assert not list((place / "out").glob(f"sub-{subject}/**/*.nii.gz"))
    assert "Traceback" not in first.stdout + first.stderr
    assert "Not everything asked for is on disk." in first.stdout


def test_one_warning_a_session_for_a_wrong_field_strength(first):
    assert len([line for line in first.stderr.splitlines() if "0.006" in line]) <= 6


def test_the_report_of_a_failed_subject_says_why(first, place):
    assert "cut short" in (place / "out" / "sub-04.html").read_text()
    page = place / "out" / "sub-05.html"
    assert "sub-05_ses-HFC_acq-axi_T1w.json" in page.read_text(), "its sidecar let nothing be planned"
    assert reports_failure(page)


def test_the_report_shows_what_was_made_on_the_coarser_grid(first, place):
    page = (place / "out" / "sub-02.html").read_text()
    assert "Missing" not in page
    assert "No image of this session" not in page
    assert "cut short" not in page


@pytest.mark.parametrize("subject", ["01", "02"])
def test_the_page_says_what_the_tables_on_disk_come_to(first, place, subject):
    """Verdict, reasons, figures against high field and volumes, worked out again; sub-02 has no high field."""
    out = place / "out"
    text = read((out / f"sub-{subject}.html").read_text(encoding="utf-8")).text
    judged = {path: usable for path, usable in verdicts(out).items() if f"sub-{subject}_" in path.name}
    assert judged
    for path, usable in judged.items():
        assert usable.sidecar().items() <= optional_json(path).items()
        assert usable_sentence(usable) in text
        assert all(reason in text for reason in usable.reasons)
    rows = [row for path in (out / f"sub-{subject}").rglob("*_desc-interp_qc.tsv") for row in read_numbers(path)]
    assert bool(rows) == (subject == "01")
    told = [row for row in rows if not row["protocol"].startswith("seg-") and isinstance(row["value"], int | float)]
    assert all(number(row["value"], 4) in text for row in told)
    psnr = {
        row["image"]: row["value"]
        for row in rows
        if [row[key] for key in KEYS] == ["T1w", "brain", "brain-fit", "psnr"]
    }
    assert not rows or f"PSNR {psnr['preproc']:.2f} → {psnr['interp']:.2f} dB" in text
    for path in (out / f"sub-{subject}").rglob("*_dseg.tsv"):
        volumes = [row["volume_mm3"] for row in read_numbers(path) if isinstance(row["volume_mm3"], float | int)]
        assert volumes
        digits = 2 if "seg-regions" in path.name else 1
        assert all(f"{volume / 1000:.{digits}f}" in text for volume in volumes)


@pytest.fixture(scope="module")
def grouped(first, place: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "bids_lfenhance", str(place / "bids"), str(place / "out"), "group"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_the_group_level_reads_what_the_participant_level_wrote(grouped, place):
    assert grouped.returncode == 1, "some subjects failed, so something is missing"
    assert "INCOMPLETE sub-04, sub-05, sub-06, sub-07" in grouped.stdout, "regions are no fault of --sloppy"
    assert "made with --sloppy, never for a study" in grouped.stdout
    assert "Traceback" not in grouped.stderr
    table = (place / "out" / "group" / "overlap.tsv").read_text().splitlines()
    told = [line.split("\t") for line in table if "\tregions\thippocampus\tpreproc\t" in line]
    assert len(told) == 1
    assert told[0][5] == "1", "sub-01 alone has high field"
    volumes = (place / "out" / "group" / "volumes.tsv").read_text()
    for word in ("\ttissue\tGM\t", "\tregions\tleft thalamus\t", "\tregions\tthalamus\t", "total intracranial"):
        assert word in volumes


def test_the_derivative_is_valid(grouped, place):
    if not (validator := shutil.which("bids-validator-deno")):
        pytest.skip("bids-validator-deno is not installed")
    for folder in ("out",):
        done = subprocess.run([validator, "--format", "json", str(place / folder)], capture_output=True, check=False)
        errors = [i for i in json.loads(done.stdout)["issues"]["issues"] if i["severity"] == "error"]
        assert errors == []


def test_what_was_written_is_what_was_promised(first, place):
    anat = place / "out" / "sub-01" / "ses-HFC" / "anat"
    enhanced = nib.load(anat / "sub-01_ses-HFC_space-GE_res-2mm_desc-interp_T1w.nii.gz")
    reference = nib.load(
        place / "out" / "sub-01" / "ses-GE" / "anat" / "sub-01_ses-GE_acq-MPRAGE_res-2mm_desc-preproc_T1w.nii.gz"
    )
    assert enhanced.shape == reference.shape
    assert enhanced.header.get_zooms() == (2.0, 2.0, 2.0)
    assert nib.aff2axcodes(enhanced.affine) == ("R", "A", "S")
    record = json.loads((anat / "sub-01_ses-HFC_desc-preproc_qc.json").read_text())
    assert len(record["Scans"]) == 2
    assert min(scan["Coverage"] for scan in record["Scans"]) > 0.95
    table = (anat / "sub-01_ses-HFC_desc-interp_qc.tsv").read_text()
    assert "brain-fit" in table
    high, low = (
        np.asarray(nib.load(path).dataobj)
        for path in (
            place / "out/sub-01/ses-GE/anat/sub-01_ses-GE_seg-tissue_res-2mm_desc-preprocT1w_dseg.nii.gz",
            anat / "sub-01_ses-HFC_space-GE_seg-tissue_res-2mm_desc-preprocT1w_dseg.nii.gz",
        )
    )
    dice = 2 * np.sum((low == 3) & (high == 3)) / (np.sum(low == 3) + np.sum(high == 3))
    (row,) = (line.split("\t") for line in table.splitlines() if line.startswith("T1w\tpreproc\tWM\tseg-tissue\tdice"))
    assert float(row[-1]) == pytest.approx(dice, rel=1e-5)
    assert (place / "out" / "logs" / "CITATION.md").read_text().strip()
    log = min((place / "out" / "logs").glob("*/run.log")).read_text()
    assert "start  sub-01 ses-HFC prepare" in log
    assert log.rstrip().endswith("on disk.")
    assert "@article{n4," in (place / "out" / "logs" / "CITATION.bib").read_text()
    alone = place / "out" / "sub-02" / "ses-HFC" / "anat"
    assert (alone / "sub-02_ses-HFC_res-2mm_desc-interp_T1w.nii.gz").is_file()
    assert not list(alone.glob("*_qc.tsv")), "no metrics without high field"


def asked(place: Path, capsys: pytest.CaptureFixture[str], *words: str, **folders: str) -> tuple[int, str, str]:
    """The exit code, results and messages of a command that computes no image, in this process."""
    code = main(arguments(place, *words, **folders))
    return code, *capsys.readouterr()


def test_a_rerun_does_nothing_twice(first, place, capsys):
    before = images(place)
    for words in (("--participant-label", "01"), ("--participant-label", "sub-02", *PLAIN)):
        code, results, messages = asked(place, capsys, *words)
        assert code == 0, results + messages
        assert "1 subject(s) already there" in results
    assert images(place) == before


def test_a_figure_and_the_methods_text_that_are_lost_are_made_again(first, place, capsys):
    before, out = images(place), place / "out"
    figure = min((out / "sub-02" / "figures").iterdir())
    figure.unlink()
    again = app(place, "--participant-label", "02", *PLAIN)
    assert again.returncode == 0, again.stdout + again.stderr
    assert figure.is_file()
    (out / "logs" / "CITATION.md").unlink()
    assert asked(place, capsys, "--participant-label", "02", *PLAIN)[0] == 0
    assert (out / "logs" / "CITATION.md").is_file()
    assert images(place) == before


def test_a_second_recipe_stands_beside_the_first(first, place, capsys):
    before = images(place)
    second = ("--participant-label", "02", "--set", "fusion=mean", "--output-label", "plain", *PLAIN)
    done = app(place, *second)
    assert done.returncode == 0, done.stdout + done.stderr
    after = images(place)
    assert before.items() <= after.items(), "the first result is untouched"
    assert any("desc-plain_" in name for name in after)
    for recipe in (PLAIN, second):
        assert "already there" in asked(place, capsys, "--participant-label", "02", *recipe)[1]


def test_reports_and_methods_text_from_disk(first, place, capsys):
    page = place / "out" / "sub-01.html"
    page.unlink()
    code, _, messages = asked(place, capsys, "--reports-only", "--participant-label", "01")
    assert code == 0, messages
    assert page.is_file()
    assert "bids_lfenhance" in asked(place, capsys, "--boilerplate-only", "--participant-label", "01")[1]


@pytest.mark.parametrize(
    ("words", "bids", "out", "sentence"),
    [
        (["--participant-label", "99"], "bids", "x", "99"),
        (["--session-label", "NONE"], "bids", "x", "NONE"),
        ([], "bids", "bids", "would change the raw dataset"),
        ([], "bids", "bids/sub-01", "would change the raw dataset"),
        ([], "nowhere", "x", "no such folder"),
        ([], "empty", "x", "dataset_description.json"),
        (["--skip-bids-validation"], "empty", "x", "empty"),
        (["--device", "cuda:7"], "bids", "x", "GPU"),
        ([], "bids", "file", "file"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_and_2(place, capsys, words, bids, out, sentence):
    (place / "empty").mkdir(exist_ok=True)
    (place / "file").write_text("")
    code, results, messages = asked(place, capsys, *words, bids=bids, out=out)
    assert code == 2, results + messages
    assert "Traceback" not in messages
    assert sentence in messages
    assert "xpected" in messages


def test_a_full_disk_is_a_named_failure(first, place, capsys):
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small file system needs root")
    small = place / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("this machine does not let a test mount a file system")
    try:
        code, results, messages = asked(place, capsys, "--participant-label", "02", out="small/out")
        assert code in (1, 2)
        assert "Traceback" not in results + messages
        assert "free" in results + messages or "space" in results + messages
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.slow
def test_results_in_a_template_space(first, place, tmp_path, monkeypatch):
    """The template is one nilearn bundles, put where TemplateFlow looks: no network is asked for it."""
    from nilearn import datasets

    name = "MNI152NLin2009cAsym"
    folder = tmp_path / f"tpl-{name}"
    folder.mkdir()
    brain = datasets.load_mni152_brain_mask(resolution=2)
    brain.to_filename(folder / f"tpl-{name}_res-02_desc-brain_mask.nii.gz")
    datasets.load_mni152_template(resolution=2).to_filename(folder / f"tpl-{name}_res-02_T1w.nii.gz")
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    done = app(place, "--participant-label", "02", "--output-spaces", f"{name}:res-2", out="spaces")
    assert done.returncode == 0, done.stdout + done.stderr
    anat = place / "spaces" / "sub-02" / "ses-HFC" / "anat"
    labels = nib.load(anat / f"sub-02_ses-HFC_space-{name}_seg-tissue_res-2_desc-interpT1w_dseg.nii.gz")
    ours, theirs = labels.get_fdata() > 0, brain.get_fdata() > 0
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.9
