"""The pages in a real browser: what a reader does with mouse and keys, what is printed, what is asked of the network.

Skipped where there is no Chromium with its driver (Debian: ``apt install chromium chromium-driver``).
"""

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bids_lfenhance.config import GroupSettings
from bids_lfenhance.reports.page import write_report
from bids_lfenhance.reports.rendering import encode_thumbnail
from bids_lfenhance.workflows.group import run_group

from .browser import BROWSER, DRIVER, Browser, browser
from .fake_cohort import Cohort
from .fake_cohort import build as build_cohort
from .fake_derivative import Recipe, build, phantom

pytestmark = pytest.mark.skipif(not (DRIVER and BROWSER), reason="no chromium and chromedriver on this machine")

VIEWER = ".viewer[data-images=images]"
STAGE = f"{VIEWER} .stage"
CANVAS = f"{VIEWER} canvas"
DOWN, SPACE, ESCAPE = "\ue015", " ", "\ue00c"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A derivative with regions to hover over; its page is written."""
    folder = build(tmp_path_factory.mktemp("page"), phantom((40, 48, 40)), Recipe(contrasts=("T1w", "T2w")))
    write_report(folder, "01")
    return folder


@pytest.fixture(scope="module")
def one(out: Path) -> Iterator[Browser]:
    """One browser for all tests; its downloads go beside the page."""
    with browser(out) as started:
        yield started


@pytest.fixture
def shown(one: Browser, out: Path) -> Browser:
    """The browser with the page just opened and its first pictures drawn."""
    one.open(out / "sub-01.html")
    one.wait(f"return document.querySelectorAll('{CANVAS}[data-slice]').length === 3")
    return one


def index(b: Browser) -> int:
    return int(b.run(f"return document.querySelector('{CANVAS}').dataset.slice"))


def position(b: Browser) -> str:
    return str(b.run(f"return document.querySelector('{VIEWER} .slice output').textContent"))


def pixels(b: Browser, number: int = 0) -> str:
    """The picture on a canvas, to be compared with another."""
    return str(b.run(f"return document.querySelectorAll('{CANVAS}')[{number}].toDataURL()"))


def settle(b: Browser) -> None:
    """Wait until what was asked for is drawn."""
    b.wait(
        f"const v = document.querySelector('{VIEWER}'); return [...v.querySelectorAll('canvas')].every("
        "(one) => one.dataset.slice === v.querySelector('.slice input').value)"
    )


def test_it_opens_without_complaint_and_asks_nothing_of_the_network(shown: Browser, out: Path):
    shown.middle("section[id$=trust] .viewer")
    shown.wait("return document.querySelectorAll('.viewer[data-images=maps] canvas[data-slice]').length === 4")
    shown.wait("return !document.querySelector('.cover')")  # what stands in while the volumes are decoded is gone
    assert shown.complaints() == []
    assert set(shown.requests()) <= {(out / "sub-01.html").resolve().as_uri()}


def test_verdict_pictures_and_sentences_are_on_the_first_screen(shown: Browser):
    bottoms = shown.run(
        "return ['.summaries', arguments[0]].map((one) => document.querySelector(one).getBoundingClientRect().bottom)",
        CANVAS,
    )
    assert max(bottoms) <= 900
    assert shown.run("return document.documentElement.scrollWidth") <= 1280
    assert shown.run("return [...document.querySelectorAll('.summaries b')].length") == 3 * 2


def test_it_fits_a_telephone(one: Browser, out: Path):
    one.open(out / "sub-01.html", 390, 844)
    one.wait(f"return document.querySelector('{CANVAS}[data-slice]')")
    assert one.run("return document.documentElement.scrollWidth") <= 390


def test_the_wheel_steps_through_every_slice_and_then_the_page_goes_on(shown: Browser):
    place, before = shown.middle(CANVAS), index(shown)
    still = shown.run("return performance.now() + 500")
    shown.wait("return performance.now() > arguments[0]", still)  # a wheel while the page scrolls goes to the page
    for number in (1, 2, 3):
        shown.turn(place, 100)
        shown.wait(f"return document.querySelector('{CANVAS}').dataset.slice === arguments[0]", str(before - number))
    shown.turn(place, -100)
    shown.wait(f"return document.querySelector('{CANVAS}').dataset.slice === arguments[0]", str(before - 2))
    assert shown.run(f"return document.querySelector('{VIEWER} .slice input').max") == "39"
    shown.run(
        f"const s = document.querySelector('{VIEWER} .slice input'); s.value = 0; s.dispatchEvent(new Event('input'))"
    )
    top = shown.run("return scrollY")
    shown.turn(place, 100)
    shown.wait("return scrollY > arguments[0]", top)


def test_keys_step_zoom_and_choose(shown: Browser):
    shown.run(f"document.querySelector('{STAGE}').focus()")
    before, picture = index(shown), pixels(shown)
    shown.press(DOWN, DOWN)
    settle(shown)
    assert index(shown) == before - 2
    assert pixels(shown) != picture
    shown.press("2")
    shown.run(f"document.querySelector('{STAGE}').focus()")
    assert position(shown).startswith("y = ")
    settle(shown)
    whole = pixels(shown)
    shown.press("+")
    shown.wait(f"return document.querySelector('{CANVAS}').toDataURL() !== arguments[0]", whole)
    shown.press("0")
    shown.wait(f"return document.querySelector('{CANVAS}').toDataURL() === arguments[0]", whole)
    shown.press("o")
    assert shown.run(f"return document.querySelector('{VIEWER} select').value") == "mask"
    shown.wait(f"return document.querySelector('{CANVAS}').toDataURL() !== arguments[0]", whole)


def test_keys_go_on_after_a_click_on_a_control(shown: Browser):
    """In either case of letters, and from whichever control has the focus."""
    shown.click(shown.middle(f"{VIEWER} .plane label", 2))
    shown.wait(f"return document.activeElement === document.querySelector('{STAGE}')")
    before = index(shown)
    shown.press(DOWN)
    settle(shown)
    assert position(shown).startswith("x = ")
    assert index(shown) == before - 1
    shown.press("O")
    assert shown.run(f"return document.querySelector('{VIEWER} select').value") == "mask"
    shown.run(f"document.querySelector('{VIEWER} .plane input:checked').focus()")
    shown.press("1", "o")
    assert position(shown).startswith("z = ")
    assert shown.run("return document.activeElement.type") == "radio", "keys leave the focus where it was"
    assert shown.run(f"return document.querySelector('{VIEWER} select').value") == "tissue"


def test_outlines_are_those_of_the_image_they_are_drawn_on(shown: Browser):
    script = "return JSON.parse(document.querySelector('script.volumes').textContent).contrasts[0]"
    contrast = shown.run(script)
    keys = {image["key"] for image in contrast["images"]}
    assert keys - {"inrSample"} == set(contrast["tissue"])
    assert {path.split("/")[-2] for path in contrast["tissue"].values()} == set(contrast["tissue"])


def test_flicker_and_divider_show_one_image_after_the_other(shown: Browser):
    shown.run(f"document.querySelector('{STAGE}').focus()")
    shown.press("m")
    shown.wait(f"return document.querySelectorAll('{CANVAS}').length === 1")
    place = shown.middle(CANVAS)
    settle(shown)
    halves = pixels(shown)
    shown.click(place, (place[0] + 60, place[1]))
    shown.wait(f"return document.querySelector('{CANVAS}').toDataURL() !== arguments[0]", halves)
    assert float(shown.run(f"return document.querySelector('{VIEWER} .split input').value")) > 55
    shown.click(shown.middle(f"{VIEWER} .mode label", 2))
    name = f"return document.querySelector('{VIEWER} figcaption b').textContent"
    first = shown.run(name)
    shown.run(f"document.querySelector('{STAGE}').focus()")
    shown.press(SPACE)
    assert {first, shown.run(name)} == {"Low field", "Enhanced (inr)"}


def test_a_click_changes_contrast_and_plane_for_all_pictures(shown: Browser):
    before = pixels(shown)
    shown.click(shown.middle(f"{VIEWER} .contrast label", 1))
    shown.wait(f"return document.querySelector('{CANVAS}').toDataURL() !== arguments[0]", before)
    shown.click(shown.middle(f"{VIEWER} .plane label", 2))
    assert position(shown).startswith("x = ")
    settle(shown)
    assert shown.complaints() == []


def test_the_pictures_are_the_volumes_on_disk(shown: Browser, out: Path):
    """Oracle: nibabel. The same place in coronal and sagittal, read from canvases that were cut from axial slices."""
    import nibabel as nib
    import numpy as np

    path = next(out.glob("sub-01/ses-HFC/anat/*_desc-inr_T1w.nii.gz"))
    data = np.asarray(nib.load(path).dataobj)
    script = (
        f"const c = document.querySelectorAll('{CANVAS}')[1];"
        "const p = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
        "const out = []; for (let y = 1; y < c.height; y += 3) for (let x = 1; x < c.width; x += 3)"
        "out.push(p.data[4 * (y * c.width + x)]); return [c.width / 3, out]"
    )
    for key, axis in (("1", 2), ("2", 1), ("3", 0)):
        shown.run(f"document.querySelector('{STAGE}').focus()")
        shown.press(key)
        settle(shown)
        width, values = shown.run(script)
        picture = np.array(values, float).reshape(-1, int(width))
        wanted = np.take(data, index(shown), axis=axis).T[::-1]
        assert picture.shape == wanted.shape
        assert np.corrcoef(picture.ravel(), np.clip(wanted, 0, np.percentile(data, 99.7)).ravel())[0, 1] > 0.985


def test_a_rating_is_saved_as_json(shown: Browser, out: Path):
    shown.click(shown.middle(".rating fieldset label", 1))
    shown.run("document.querySelector('.rating [name=comment]').value = 'a “ring”'")
    shown.click(shown.middle(".rating button"))
    path = out / "sub-01_ses-HFC_rating.json"
    for _ in range(100):
        if path.is_file():
            break
        shown.wait("return new Promise((done) => setTimeout(() => done(true), 50))")
    rated = json.loads(path.read_text(encoding="utf-8"))
    assert (rated["participant_id"], rated["session_id"], rated["comment"]) == ("sub-01", "ses-HFC", "a “ring”")
    assert [(one["contrast"], one["rating"]) for one in rated["images"]] == [("T1w", "doubtful"), ("T2w", None)]
    assert set(rated["images"][0]["Usable"]) == {"look", "segment", "measure"}


def test_every_section_is_printed_with_its_pictures(shown: Browser):
    heads = shown.run("return [...document.querySelectorAll('h3')].map((one) => one.textContent)")
    assert len(heads) == 6
    shown.command("Emulation.setEmulatedMedia", media="print")
    seen = shown.run("return [...document.querySelectorAll('h3')].map((one) => one.getClientRects().length)")
    figures = shown.run(
        "return [...document.querySelectorAll('figure img')].filter((one) => one.offsetHeight > 50).length"
    )
    shown.command("Emulation.setEmulatedMedia", media="")
    assert seen == [1] * 6
    assert figures == 2 * 4  # comparison, maps, alignment, tissue of either contrast
    content = shown.pdf()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") >= 4
    streams = [
        zlib.decompress(one)
        for one in re.findall(rb"stream\r?\n(x.*?)endstream", content, re.DOTALL)
        if one[:1] == b"x"
    ]
    assert streams


def test_a_dot_and_a_small_picture_of_the_group_lead_to_the_subject(one: Browser, tmp_path: Path):
    _, derivative = build_cohort(tmp_path, Cohort(3, ("A",), ("T1w",), reference=None))
    for number in (1, 2, 3):
        name = f"sub-{number:03d}"
        (derivative / f"{name}.html").write_text("<title>it</title>")
        folder = derivative / name / "figures"
        folder.mkdir()
        (folder / f"{name}_ses-A_desc-thumbnail_T1w.jpg").write_bytes(
            encode_thumbnail(phantom((24, 28, 24))[:, :, 12] * 60, 20)
        )
    run_group(GroupSettings(tmp_path / "raw", derivative))
    for what in ("svg a circle", ".wall a img"):
        one.open(derivative / "group.html")
        assert one.run("return document.querySelectorAll('.wall img').length") == 3
        one.click(one.middle(what))
        one.wait("return document.title === 'it'")
    one.open(derivative / "group.html")
    head = one.middle("table.sortable thead button", 1)
    one.click(head)
    assert one.run("return document.querySelector('th[aria-sort]') !== null")
    assert one.complaints() == []
