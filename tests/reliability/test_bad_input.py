"""Bad input by the thousand: sidecars, file names and headers never end in a traceback, nor leave the output folder."""

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bids_lfenhance.cli.run import main
from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.headers import open_scan

from ..refusals import refused

QUICK, MANY = 15, 4000
"""Cases of each test in ``make test`` and in ``make test-slow``: three kinds of input, 12 000 cases in all."""

KEYS = (
    *("ImagingFrequency", "MagneticFieldStrength", "Manufacturer", "SliceThickness", "ImageOrientationPatientDICOM"),
    *("SeriesDescription", "ProtocolName", "AcquisitionTime", "AcquisitionDateTime", "EchoTime", "Name"),
)
SCAN = "sub-01_ses-HFC_acq-axi_T1w"

ODD = {b"deep list": b"[" * 100_000, b"deep object": b'{"a":' * 100_000, b"long number": b"9" * 5000}
"""Contents too long to be drawn: a word for each."""

numbers = st.one_of(st.integers(), st.floats(), st.just(10**400), st.sampled_from([0, -1, 2.7, 0.064, 3, 127.7]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
objects = st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), values, max_size=6)
texts = st.one_of(
    st.one_of(objects, values).map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=60),
    st.sampled_from([b"", b"{", b"\xff\xfe{}", b'{"a": NaN}', *ODD]),
)
labels = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12)
words = st.one_of(labels, st.sampled_from(["sub-01", "ses-HFC", "acq-axi", "..", "T1w", "run-1", "sub-", "-", "_"]))
names = st.lists(words, min_size=1, max_size=6).map("_".join).filter(lambda name: len(name.encode()) < 200)


def sweep(kind: st.SearchStrategy, check: Callable[[Any], None], cases: int) -> None:
    """Runs the check on that many inputs; the same ones every time."""
    quiet = settings(
        max_examples=cases, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    quiet(given(kind)(check))()


def everything(folder: Path) -> set[str]:
    return {os.path.relpath(Path(where) / name, folder) for where, _, files in os.walk(folder) for name in files}


def plan(put: Callable[[Path, bytes], None]) -> None:
    """A dry run on a small dataset that ``put`` did something to (its root, an image): ends with 0 to 3."""
    with tempfile.TemporaryDirectory() as place:
        bids = Path(place, "bids")
        (bids / "sub-01/ses-HFC/anat").mkdir(parents=True)
        (bids / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
        image = bids / f"sub-01/ses-HFC/anat/{SCAN}.nii.gz"
        image.write_bytes(b"")
        image.with_name(f"{SCAN}.json").write_text('{"ImagingFrequency": 2.7}')
        put(bids, image)
        before = everything(Path(place))
        command = [str(bids), str(Path(place, "out")), "participant", "--dry-run", "--method", "interp"]
        assert main(command) in (0, 1, 2, 3)
        assert everything(Path(place)) == before, "a dry run writes nothing"


@pytest.mark.parametrize("cases", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
def test_sidecars(cases: int) -> None:
    places = st.sampled_from(["dataset_description.json", f"sub-01/ses-HFC/anat/{SCAN}.json", "T1w.json"])

    def check(case: tuple[str, bytes]) -> None:
        plan(lambda bids, image: (bids / case[0]).write_bytes(ODD.get(case[1], case[1])))

    sweep(st.tuples(places, texts), check, cases)


@pytest.mark.parametrize("cases", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
def test_file_names(cases: int) -> None:
    ends = st.sampled_from([".nii.gz", ".nii", ".json", "", ".nii.gz.json"])

    def check(case: tuple[str, str, bool]) -> None:
        def put(bids: Path, image: Path) -> None:
            name, end, folder = case
            if name in (".", "..") and not end:
                return
            path = image.parent / (name + end)
            if folder:
                path = bids / f"sub-{name}" / "anat" / f"sub-{name}_T1w{end}"
                path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(b"{}")

        plan(put)

    sweep(st.tuples(names, ends, st.booleans()), check, cases)


def _packed() -> bytes:
    data = np.random.default_rng(0).integers(0, 900, (12, 13, 11)).astype(np.int16)
    image = nib.Nifti1Image(data, np.diag([15, 14, 13, 1.0]))
    return image.to_bytes()


PACKED = _packed()


@pytest.mark.parametrize("cases", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)])
def test_headers(cases: int) -> None:
    """Bytes of the header changed at random, and the file cut; what is opened is an image, all else a sentence."""
    edits = st.lists(st.tuples(st.integers(0, 351), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)
    places = st.sampled_from([40, 42, 44, 46, 48, 56, 68, 70, 72, 76, 80, 84, 108, 112, 123, 252, 254, 280, 344])
    aimed = st.lists(st.tuples(places, st.binary(min_size=2, max_size=4)), min_size=1, max_size=3)
    shapes = st.tuples(st.one_of(edits, aimed), st.integers(-len(PACKED), 0), st.sampled_from(["", "", "cut", "raw"]))
    folder = Path(tempfile.mkdtemp())

    def check(case: tuple[list[tuple[int, bytes]], int, str]) -> None:
        content = bytearray(PACKED)
        for place, what in case[0]:
            content[place : place + len(what)] = what
        if case[2] == "cut":
            content = content[: case[1]]
        path = folder / ("x.nii" if case[2] == "raw" else "x.nii.gz")
        path.write_bytes(bytes(content) if case[2] == "raw" else gzip.compress(bytes(content), 1))
        with suppress(InputError):
            image, _ = open_scan(path)
            assert np.isfinite(image.get_fdata()).all()
            assert image.ndim == 3

    try:
        sweep(shapes, check, cases)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("content", [b"deep list", b"deep object", b"long number", b'{"MagneticFieldStrength": 1%s}'])
def test_sidecars_that_once_were_a_traceback(content: bytes) -> None:
    text = ODD.get(content) or content.replace(b"%s", b"0" * 400)
    plan(lambda bids, image: image.with_name(f"{SCAN}.json").write_bytes(text))


def test_a_header_that_promises_too_much_asks_for_no_memory(tmp_path: Path) -> None:
    content = bytearray(PACKED)
    content[42:48] = np.array([9000] * 3, "<i2").tobytes()
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(bytes(content)))
    with refused("damaged-file"):
        open_scan(tmp_path / "x.nii.gz")
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(PACKED[:100]))
    with refused("bad-image"):
        open_scan(tmp_path / "x.nii.gz")


def test_a_pointer_into_an_annex_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_text("/annex/objects/MD5E-s1234--0123456789abcdef.nii.gz\n")
    with refused("missing-file"):
        open_scan(tmp_path / "x.nii.gz")
