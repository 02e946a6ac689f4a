"""What the pictures of a session are drawn from: scans where the alignment put them, changes, the weakest regions."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from nitransforms.io.itk import ITKLinearTransform

from bids_lfenhance.imaging.grid import Grid, resample
from bids_lfenhance.reports.collect import collect
from bids_lfenhance.reports.page import write_report
from bids_lfenhance.reports.rendering import plane_slice
from bids_lfenhance.reports.session_images import Frame, find_frame, load_channel, slice_of_stack
from bids_lfenhance.reports.viewer import layers_of, weakest_regions

from .fake_derivative import Recipe, build, phantom, save

SMALL = (24, 28, 24)
UNPAIRED = Recipe(contrasts=("T1w",), reference=None)


def loaded(out: Path) -> tuple[Frame, object]:
    (session,) = collect(out, "01").sessions
    frame = find_frame(session)
    assert frame is not None
    return frame, load_channel(session.channels[0], frame, [])


def test_a_scan_is_shown_where_its_transform_puts_it_and_on_the_page_without_high_field(tmp_path: Path):
    """Oracle: the scan is a known image resampled by a known motion; moved back it is that image again."""
    out = build(tmp_path, phantom(SMALL), UNPAIRED)
    anat = out / "sub-01" / "ses-HFC" / "anat"
    frame, before = loaded(out)
    assert not before.stacks
    motion = np.eye(4)
    angle = np.deg2rad(8)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[:3, 3] = 2.0, -1.0, 1.5
    grid = frame.grid
    inside = np.zeros(grid.shape, np.float32)
    inside[frame.box] = before.images["low"]
    native = resample(inside, np.linalg.inv(motion) @ grid.affine, Grid(grid.affine, grid.shape))
    save(anat / "sub-01_ses-HFC_acq-axi_desc-preproc_T1w", native, {"MagneticFieldStrength": 0.0635})
    text = ITKLinearTransform.from_ras(np.linalg.inv(motion)).to_string(banner=True)
    (anat / "sub-01_ses-HFC_acq-axi_from-T1w_to-session_mode-image_xfm.txt").write_text(text)
    frame, images = loaded(out)
    assert list(images.stacks) == ["axi"]
    place = "axial", images.images["low"].shape[2] // 2
    shown, wanted = slice_of_stack(images.stacks["axi"], frame, *place), plane_slice(images.images["low"], *place)
    where = plane_slice(frame.mask, *place)
    assert np.corrcoef(shown[where], wanted[where])[0, 1] > 0.95
    assert np.corrcoef(plane_slice(native[frame.box], *place)[where], wanted[where])[0, 1] < 0.8
    write_report(out, "01")
    assert (out / "sub-01" / "figures" / "sub-01_ses-HFC_desc-registration_T1w.jpg").is_file()
    (anat / "sub-01_ses-HFC_acq-axi_from-T1w_to-session_mode-image_xfm.txt").write_text("")
    page = write_report(out, "01").read_text(encoding="utf-8")
    assert "sub-01_ses-HFC_acq-axi_from-T1w_to-session_mode-image_xfm.txt cannot be read" in page


def test_what_changed_leaves_out_brightness_and_contrast(tmp_path: Path):
    frame, images = loaded(build(tmp_path, phantom(SMALL), UNPAIRED))
    low = images.images["low"]
    spot = np.zeros_like(low)
    spot[tuple(np.argwhere(frame.mask)[len(np.argwhere(frame.mask)) // 2])] = 60.0
    images.images["inr"] = 3 * low + 20 + spot
    change = layers_of(images, "inr", frame.mask)[0]
    percent = 60 * 100 / np.median(images.images["inr"][frame.mask])
    assert change.values.max() == pytest.approx(percent, rel=0.05)
    assert np.abs(change.values[frame.mask & (spot == 0)]).max() < 0.1 * percent
    assert change.scale.limits[0] == -change.scale.limits[1]


def test_the_weakest_regions_are_those_of_the_largest_expected_error(tmp_path: Path):
    frame, images = loaded(build(tmp_path, phantom(SMALL), UNPAIRED))
    labels = np.zeros(frame.mask.shape, np.uint8)
    thirds = np.array_split(np.argwhere(frame.mask), 3)
    for index, level, part in zip((17, 10, 4), (0.05, 0.3, 0.1), thirds, strict=True):
        labels[tuple(part.T)] = index
        images.std["inr"][tuple(part.T)] = level * images.level("inr", frame.mask)
    images.regions["inr"] = labels
    found = weakest_regions(images, "inr", layers_of(images, "inr", frame.mask), count=2)
    assert [name for name, _ in found] == ["left thalamus", "left lateral ventricle"]
    assert [value for _, value in found] == pytest.approx([30, 10], rel=1e-4)


def test_warnings_that_ask_for_something_stand_apart(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), UNPAIRED)
    record = next(out.glob("sub-01/ses-HFC/anat/*_desc-preproc_qc.json"))
    told = ["Brain extraction may have failed; look at the mask.", "The frequency was used (1 of 1 sidecars)."]
    record.write_text(json.dumps(json.loads(record.read_text()) | {"Warnings": told}))
    page = write_report(out, "01").read_text(encoding="utf-8")
    act, know = (
        re.search(rf"<h4>{head}</h4>\s*<ul.*?</ul>", page, re.DOTALL)
        for head in ("Warnings to act on", "For information")
    )
    assert act is not None
    assert know is not None
    assert told[0] in act[0]
    assert told[1] not in act[0]
    assert told[1] in know[0]
    assert told[0] not in know[0]
