"""The files of figures beside a page: all are there, can be printed, and are missed where one is lost."""

from pathlib import Path

import numpy as np
from PIL import Image

from bids_lfenhance.reports.page import is_whole, write_report

from .conftest import undrawn
from .fake_derivative import Recipe, build, phantom

SMALL = (24, 28, 24)


def test_figures_are_left_beside_the_images(derivative: Path):
    names = {path.name for path in (derivative / "sub-01" / "figures").iterdir()}
    expected = {
        f"sub-01_ses-{session}_desc-{kind}_{contrast}.jpg"
        for session in ("HFC", "HFE")
        for kind in ("comparison", "registration", "inrMaps", "tissue", "thumbnail")
        for contrast in ("T1w", "T2w")
    }
    assert names == expected
    assert not list(derivative.rglob("*.part"))


def test_figures_can_be_printed(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    write_report(out, "01")
    figures = [path for path in (out / "sub-01" / "figures").iterdir() if "thumbnail" not in path.name]
    assert len(figures) == 4
    for path in figures:
        with Image.open(path) as image:
            assert image.width == 1200
            assert np.asarray(image).std() > 20


def test_a_page_is_whole_with_the_figures_that_were_saved_beside_it(tmp_path: Path):
    with undrawn():
        page = write_report(build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",))), "01")
    figures = sorted((page.parent / "sub-01" / "figures").iterdir())
    assert figures
    assert is_whole(page)
    figures[0].unlink()
    assert not is_whole(page)
    with undrawn():
        write_report(page.parent, "01")
    assert is_whole(page)
    page.unlink()
    assert not is_whole(page)


def test_figures_of_what_is_gone_go_and_others_stay(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w", "T2w")))
    with undrawn():
        write_report(out, "01")
    folder = out / "sub-01" / "figures"
    (folder / "mine_T2w.jpg").write_bytes(b"mine")
    assert list(folder.glob("sub-01*_T2w.jpg"))
    for path in out.glob("sub-01/ses-*/anat/*T2w*"):
        path.unlink()
    with undrawn():
        write_report(out, "01")
    assert not list(folder.glob("sub-01*_T2w.jpg"))
    assert (folder / "mine_T2w.jpg").is_file()
    assert list(folder.glob("sub-01*_T1w.jpg"))
