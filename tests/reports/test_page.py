"""The page: stands alone, shows the figures of the derivative, escapes what it shows, says what is missing."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.reports.boilerplate import boilerplate
from bids_lfenhance.reports.collect import collect
from bids_lfenhance.reports.page import reports_failure, write_report
from bids_lfenhance.reports.session_images import MARGIN_MM
from bids_lfenhance.reports.tables import number

from .conftest import RUN, undrawn
from .fake_derivative import Recipe, build, phantom, save
from .page_reader import Reader, read
from .verdicts import verdicts

SMALL = (24, 28, 24)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} \u2028 & \"'"


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """No figures for print, but where they are looked at."""
    with undrawn():
        yield


def report(out: Path) -> Reader:
    return read(write_report(out, "01").read_text(encoding="utf-8"))


def test_it_stands_alone(page: str):
    reader = read(page)
    assert all(address.startswith(("#", "data:")) for address in reader.addresses)
    assert not re.search(r"https?://|@import|url\(", page.replace("http://www.w3.org", ""))
    inside = [address[1:] for address in reader.addresses if address.startswith("#")]
    assert set(inside) <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))


def viewers_of(reader: Reader) -> list[dict]:
    """What the page's script is told of every session."""
    return [json.loads(block) for block in reader.scripts if '"contrasts"' in block and block.lstrip().startswith("{")]


def test_every_picture_a_viewer_names_is_there(page: str):
    reader = read(page)
    (pictures,) = [json.loads(block) for block in reader.scripts if '"data:image/' in block]
    viewers = viewers_of(reader)
    assert len(viewers) == 2
    wanted = set()
    for viewer in viewers:
        for contrast in viewer["contrasts"]:
            shown = [*contrast["images"], *contrast["maps"]]
            wanted |= {f"{viewer['id']}/{contrast['name']}/{image['key']}" for image in shown}
            wanted |= {*contrast["tissue"].values(), *contrast["regions"].values()}
    assert wanted == set(pictures)
    assert all(uri.startswith("data:image/") or uri in pictures for uri in pictures.values())


def test_every_voxel_of_the_head_can_be_looked_at(derivative: Path, page: str):
    """The scalp too: the pictures reach beyond the brain on every side where the image does."""
    mask = np.asarray(nib.load(next(derivative.glob("sub-01/ses-HFC/anat/*_desc-brain_mask.nii.gz"))).dataobj) > 0
    viewer = viewers_of(read(page))[0]
    for axis, size in enumerate(viewer["size"]):
        used = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        wanted = min(mask.shape[axis] - 1, used[-1] + MARGIN_MM) - max(0, used[0] - MARGIN_MM) + 1
        assert size == wanted
    assert viewer["zoom"] == [1, 1, 1]


def test_every_metric_of_the_table_is_shown(derivative: Path, page: str):
    text = read(page).text
    lines = (derivative / "sub-01/ses-HFC/anat/sub-01_ses-HFC_desc-inr_qc.tsv").read_text().splitlines()[1:]
    assert len(lines) == 96
    for line in lines:
        *_, protocol, _, value = line.split("\t")
        assert number(float(value), 4) in text
        assert f"protocol {protocol}" in text
    assert text.index("protocol brain-fit") < text.index("protocol h2lo")


def test_every_volume_of_the_tables_is_shown(derivative: Path, page: str):
    text = read(page).text
    tables = sorted(derivative.glob("sub-01/ses-HFC/anat/*_dseg.tsv"))
    assert len(tables) == 4
    for path in tables:
        for line in path.read_text().splitlines()[1:]:
            assert f"{float(line.split()[2]) / 1000:.1f}" in text


def test_a_loss_against_the_plain_mean_is_said_in_words(page: str):
    text = read(page).text
    assert "T2w: the enhanced image (inr) is worse than the plain mean, PSNR 20.98 dB against 22.53 dB." in text
    assert "T1w: the enhanced image (inr) is worse" not in text
    assert "check: loss of PSNR 1.55 dB, expected at most 0.1 dB" in text


def test_the_page_says_of_each_image_what_its_tables_come_to(derivative: Path, page: str):
    """Worked out again from record, metrics and sidecar on disk, not read from what the writer left there."""
    banner = r'<div class="banner (yes|check|no)"[^>]*>\s*<strong>(\w+) \((\w+)\)</strong> (.*?)\n'
    told = re.findall(banner, page)
    found = {(path.name.split("_")[1], path.stem.rpartition("_")[2]): u for path, u in verdicts(derivative).items()}
    assert len(told) == len(found) == 4
    for (overall, contrast, label, words), session in zip(told, ("HFC", "HFC", "HFE", "HFE"), strict=True):
        usable = found[f"ses-{session}", contrast]
        assert re.findall(r">(\w+)</span>", words) == list(usable.words.values())
        assert (overall, label) == (usable.overall, "inr")
        assert all(reason in read(page).text for reason in usable.reasons)
    assert {usable.overall for usable in found.values()} == {"yes", "check"}, "it loses on one of the contrasts"


def test_scans_what_is_missing_and_the_band_limit_are_told(page: str):
    text = read(page).text
    assert "sub-01_ses-HFC_acq-cor_T2w.nii.gz" in text
    assert "64 mT" in text
    assert "acq-iso_T2w" in text
    assert "blind to detail finer than about 1.8 mm (0.28 cycles/mm) along left–right" in text
    assert "2.6 mm (0.20 cycles/mm) along foot–head" in text
    assert "not for diagnosis" in text
    assert "random_seed = 20261122" in text
    assert "9f2c51d07a" in text


def test_the_page_tells_settings_and_run_of_the_images_not_of_the_last_run(tmp_path: Path):
    """Another run, perhaps one that was killed, came after the one that made them."""
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    late = out / "logs" / "20270101-000000_late"
    late.mkdir()
    (late / "config.toml").write_text('[run]\nmethod = "cssdiff"\nrandom_seed = 7\n')
    for text in (report(out).text, read(write_report(out, "01", late).read_text(encoding="utf-8")).text):
        assert "random_seed = 20261122" in text
        assert "random_seed = 7" not in text
        assert f"run {RUN}" in text
    (out / "logs" / RUN / "config.toml").unlink()
    shutil.rmtree(out / "logs" / RUN)
    assert "The settings file (config.toml) of the run that made the images is not here" in report(out).text


def test_of_two_grids_the_page_shows_that_of_the_last_run_and_names_the_other(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    anat = out / "sub-01" / "ses-HFC" / "anat"
    for path in sorted(anat.glob("*res-1mm_desc-inr_T1w.*")):
        shutil.copy(path, anat / path.name.replace("res-1mm", "res-2mm"))
    record = anat / "sub-01_ses-HFC_desc-preproc_qc.json"
    save(anat / "sub-01_ses-HFC_acq-axi_desc-preproc_T1w", phantom(SMALL), {})  # a stack, whose name has no res-
    assert collect(out, "01").sessions[0].channels[0].enhanced["inr"].entities["res"] == "1mm", "the finer, if unknown"
    for last, other in (("1mm", "2mm"), ("2mm", "1mm")):
        record.write_text(json.dumps(json.loads(record.read_text()) | {"Resolution": last}))
        (session,) = collect(out, "01").sessions
        assert session.channels[0].enhanced["inr"].entities["res"] == last
        assert session.other_grids == (f"desc-inr, res-{other}",)
    assert "Not shown, of another run" in report(out).text


def test_the_page_names_the_files_of_its_reference(page: str):
    assert "High field: sub-01_ses-GE_T1w.nii.gz, sub-01_ses-GE_T2w.nii.gz" in read(page).text


def test_what_the_dataset_says_is_shown_and_never_run(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",), text=HOSTILE))
    anat = out / "sub-01" / "ses-HFC" / "anat"
    record = json.loads((anat / "sub-01_ses-HFC_desc-preproc_qc.json").read_text())
    record["Scans"][0]["File"] = record["Scans"][0]["Plane"] = record["Reference"]["Session"] = HOSTILE
    record["Reference"] = {"Session": "GE", "Files": [HOSTILE]}
    record["Missing"] = [HOSTILE]
    (anat / "sub-01_ses-HFC_desc-preproc_qc.json").write_text(json.dumps(record))
    sidecar = next(anat.glob("*desc-inr_T1w.json"))
    content = json.loads(sidecar.read_text())
    content |= {"Method": HOSTILE, "MethodSettings": {HOSTILE: HOSTILE}, "Warnings": [HOSTILE], "Sources": [HOSTILE]}
    sidecar.write_text(json.dumps(content))
    with (anat / "sub-01_ses-HFC_desc-inr_qc.tsv").open("a") as table:
        table.write("\t".join(["T1w", "inr", "brain", "<b>p</b>", "<i>m</i>", "1.5"]) + "\n")
    (out / "logs" / RUN / "crash-sub_01_wf.txt").write_text(HOSTILE)
    page = write_report(out, "01").read_text(encoding="utf-8")
    reader = read(page)
    harmless = read(report_of_harmless(tmp_path / "harmless"))
    assert reader.tags.count("script") == harmless.tags.count("script")
    assert reader.handlers == []
    assert "<b>p</b>" not in page
    assert "alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }}" in reader.text
    assert page.count("<img src=x") == 0


@pytest.mark.parametrize("description", ["{}", "[]", '{"Name": ["<b>x</b>"]}', "broken", None])
def test_a_derivative_with_a_poor_description_has_a_report(tmp_path: Path, description: str | None):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    path = out / "dataset_description.json"
    path.unlink() if description is None else path.write_text(description)
    assert "<b>x" not in write_report(out, "01").read_text(encoding="utf-8")


def report_of_harmless(out: Path) -> str:
    return write_report(build(out, phantom(SMALL), Recipe(contrasts=("T1w",))), "01").read_text(encoding="utf-8")


@pytest.mark.parametrize("pattern", ["*desc-inr_T1w.nii.gz", "*desc-preproc_T1w.nii.gz", "*desc-inrRisk_T1w.nii.gz"])
def test_a_missing_image_fails_at_the_top_and_leaves_no_empty_frame(tmp_path: Path, pattern: str):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    next((out / "sub-01" / "ses-HFC" / "anat").glob(pattern)).unlink()
    reader = report(out)
    assert "Not everything is here" in reader.text
    assert "Missing: sub-01_ses-HFC" in reader.text
    assert ("no: there is no enhanced image" in reader.text) is ("inr_T1w" in pattern)
    assert "" not in reader.addresses


def test_a_broken_image_is_named(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    path = next((out / "sub-01" / "ses-HFC" / "anat").glob("*desc-inr_T1w.nii.gz"))
    path.write_bytes(path.read_bytes()[:2000])
    reader = report(out)
    assert f"no: {path.name} cannot be read" in reader.text


def test_a_crash_is_at_the_top_with_its_text(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    shutil.rmtree(out / "sub-01")
    name = "crash-lfenhance_wf.sub_01_wf.session_HFC_wf.prepare-101010.txt"
    (out / "logs" / RUN / name).write_text("Node: x\n\nInputError: Expected a scan, found NaN; check it.")
    text = report(out).text
    assert "InputError: Expected a scan, found NaN; check it." in text
    assert "There is no low-field image of sub-01" in text
    assert reports_failure(out / "sub-01.html")
    (out / "logs" / RUN / name).unlink()
    report(out)
    assert not reports_failure(out / "sub-01.html")


def test_a_session_of_which_no_image_could_be_made_is_on_the_page(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    anat = out / "sub-01" / "ses-HFE" / "anat"
    anat.mkdir(parents=True)
    record = {"Failure": "a.nii.gz shows no head", "Scans": [{"File": "a.nii.gz", "Contrast": "T1w"}], "Method": "inr"}
    (anat / "sub-01_ses-HFE_desc-preproc_qc.json").write_text(json.dumps(record))
    text = report(out).text
    assert "Session HFE" in text
    assert "T1w (inr) to look at no · to segment no · to measure volumes no" in text
    assert "no: a.nii.gz shows no head" in text
    assert "Missing: sub-01_ses-HFE" not in text


def test_low_field_only_without_skull_one_contrast_one_draw(tmp_path: Path):
    recipe = Recipe(reference=None, contrasts=("FLAIR",), draws=1, skull=False, methods=("interp",))
    reader = report(build(tmp_path, phantom(SMALL), recipe))
    assert "FLAIR (interp) to look at yes · to segment yes · to measure volumes yes" in reader.text
    assert "not verifiable here" in reader.text
    assert "Without a high-field image there is no truth to compare with." in reader.text
    assert "their alignment cannot be shown" in reader.text
    assert "the method does not say how large its error is" in reader.text
    assert "High field" not in "".join(reader.scripts[:3])
    assert "" not in reader.addresses


def test_two_results_stand_side_by_side(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",), methods=("inr", "interp"), sloppy=True))
    text = report(out).text
    assert "check: made with --sloppy" in text
    assert "T1w (interp) to look at check · to segment no · to measure volumes no" in text
    assert "Enhanced (inr)" in text
    assert "Enhanced (interp)" in text


def test_the_boilerplate_says_what_was_done(derivative: Path):
    text = boilerplate(derivative, ["01"])
    assert boilerplate(derivative) == text
    assert "1 subject, 2 low-field sessions, 12 scans, 2 of the sessions with a high-field reference" in text
    assert "bids_lfenhance 0.1.0" in text
    assert "mean of 3 draws" in text
    assert "width = 96" in text
    assert "seed 20261122" in text
    cited = {int(n) for group in re.findall(r"\[([\d, ]+)\]", text) for n in group.split(",")}
    listed = {int(n) for n in re.findall(r"^(\d+)\. ", text, re.MULTILINE)}
    assert cited == listed == set(range(1, len(listed) + 1))
    assert "doi:10.18112/openneuro.ds006557.v1.0.2" in text


def test_a_rerun_writes_the_same_page(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    first = write_report(out, "sub-01").read_text(encoding="utf-8")
    assert write_report(out, "01", out / "logs" / RUN).read_text(encoding="utf-8") == first


@pytest.mark.parametrize("seg", ["regions", "synthseg"])
def test_regions_are_shown_with_volumes_and_confidence(tmp_path: Path, seg: str) -> None:
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    labels = np.where(phantom(SMALL) == 2, 17, 0).astype(np.uint8)
    low, high = (next(out.glob(f"sub-01/ses-{name}/anat/*desc-brain_mask.nii.gz")) for name in ("HFC", "GE"))
    for mask, desc, volume in ((low, "preproc", 4120), (low, "inr", 3960), (high, "preproc", 4000)):
        path = mask.with_name(
            mask.name.replace("res-1mm_desc-brain_mask.nii.gz", f"seg-{seg}_res-1mm_desc-{desc}T1w_dseg")
        )
        save(path, labels, {"SegmentationNote": "in two contrasts"} if (seg, desc) == ("regions", "inr") else {})
        lines = (
            "index\tname\tvolume_mm3\tconfidence\tvolume_error_mm3\tvolume_error_percent",
            f"17\tleft hippocampus\t{volume}\t0.8125\t" + ("198\t5" if desc == "inr" else "n/a\tn/a"),
            "n/a\ttotal intracranial\t1e6\tn/a\tn/a\tn/a",
        )
        path.with_name(f"{path.name}.tsv").write_text("\n".join(lines))
    with next(out.glob("sub-01/ses-HFC/anat/*_desc-inr_qc.tsv")).open("a") as table:
        table.write(f"T1w\tpreproc\tleft hippocampus\tseg-{seg}\tdice\t0.7149\n")
        table.write(f"T1w\tinr\tleft hippocampus\tseg-{seg}\tdice\tn/a\n")
    text = write_report(out, "01").read_text(encoding="utf-8")
    row = re.search(r'background: #[0-9a-f]{6}"></span>left hippocampus</td>(.*?)</tr>', text)
    assert row is not None
    cells = re.findall(r"<td>(.*?)</td>", row[1])
    assert cells == [
        "4.12 <small>(+3 %, Dice 0.71)</small>",
        "0.81",
        "3.96 <small>± 0.20, 5 %</small> <small>(−1 %)</small>",
        "0.81",
        "4.00",
    ]
    assert "rotocol seg-" not in text, "what is measured on labels stands beside the volumes"
    assert "<td>total intracranial</td><td>1000.00" in text
    assert ("mri_synthseg" in text) is (seg == "synthseg")
    assert ("painted from label maps" in text) is (seg == "regions")
    assert ("in the contrast of high field, too" in text) is (seg == "regions")
    assert "10.1016/j.media.2023.102789" in text
    assert (out / "sub-01" / "figures" / "sub-01_ses-HFC_desc-regions_T1w.jpg").is_file()
    Reader().feed(text)


def test_the_methods_own_maps_are_shown_and_told(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(maps=("Sample", "DrawsStd"), contrasts=("T1w",)))
    text = write_report(out, "01").read_text(encoding="utf-8")
    reader = read(text)
    assert "What DrawsStd is & means. Median in the brain" in reader.text
    assert "T1w spread of the draws" in reader.text
    (contrast,) = [contrast for viewer in viewers_of(reader) for contrast in viewer["contrasts"]]
    assert {"Spread of the draws", "Risk map", "What changed"} <= {one["name"] for one in contrast["maps"]}
    assert "One possible image (inr)" in {one["name"] for one in contrast["images"]}, "it is an image, and shown as one"
    assert "Missing" not in reader.text


@pytest.mark.parametrize("field", ["Description", "FractionSeen", "FractionAbove", "Median"])
def test_a_map_whose_sidecar_lacks_a_field_is_shown(tmp_path: Path, field: str):
    out = build(tmp_path, phantom(SMALL), Recipe(maps=("Error",), contrasts=("T1w",)))
    for path in (*out.glob("sub-01/ses-*/anat/*Error_T1w.json"), *out.glob("sub-01/ses-*/anat/*Risk_T1w.json")):
        record = json.loads(path.read_text())
        record[field] = None
        path.write_text(json.dumps(record))
    assert "T1w expected error" in write_report(out, "01").read_text(encoding="utf-8")


def test_what_was_changed_is_shown_with_its_sign(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(maps=("Change",), contrasts=("T1w",)))
    path = next(out.glob("sub-01/ses-HFC/anat/*_desc-inrChange_T1w.nii.gz"))
    names = [path.with_name(path.name.replace("inrChange", desc)) for desc in ("inr", "preproc")]
    image, low = (np.asarray(nib.load(name).dataobj) for name in names)
    save(path.with_name(path.name.removesuffix(".nii.gz")), (image - low).astype(np.float32), {"Description": "What."})
    bar = write_report(out, "01").read_text(encoding="utf-8").partition("T1w what changed</strong>")[2]
    assert bar.startswith(", % of median brain intensity")
    low_end, middle, high_end = re.findall(r"<span>(.*?)</span>", bar)[:3]
    assert (low_end, middle) == (f"−{high_end}", "0"), "as much below as above"


def test_the_error_to_expect_is_shown_in_per_cent(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(maps=("Change", "Error"), contrasts=("T1w",)))
    text = write_report(out, "01").read_text(encoding="utf-8")
    assert text.count("T1w expected error</strong>, % of median brain intensity") == 1, (
        "and not the scale it is made from"
    )
    assert "What Error is & means. Median in the brain" in read(text).text, "as its sidecar says"
    assert "T1w change map" not in text, "it is shown once, with brightness and contrast matched"


def test_lesions_stand_beside_each_other_in_every_image(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(contrasts=("T1w",)))
    assert "<h4>Lesions</h4>" not in write_report(out, "01").read_text(encoding="utf-8")
    path = next(out.glob("sub-01/ses-HFC/anat/*_desc-inr_T1w.json"))
    found = {"Masks": ["x_mask.nii.gz"], "VolumeMl": 1.25, "Count": 3, "Contrast": {"preproc": -0.2, "inr": 0.013}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Lesions": found}))
    row = re.search(r"<h4>Lesions</h4>.*?<tbody>\s*<tr>(.*?)</tr>", write_report(out, "01").read_text("utf-8"), re.S)
    assert row is not None
    assert re.findall(r"<td.*?>(.*?)</td>", row[1]) == ["T1w", "inr", "3", "1.25", "−20 %", "+1.3 %", "–"]
