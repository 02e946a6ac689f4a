"""Every figure on the group page, from the tables of the participant level by an independent few lines."""

import math

import numpy as np
import pytest
from scipy import stats

from .fake_cohort import SEGMENTED, Cohort, build
from .group_reader import Sources, Tables, numbers, people
from .test_group import report

SUBJECTS = 9
CONTRASTS = ("T1w", "T2w")
SESSIONS = {"all, averaged": ("ses-HFC", "ses-HFE"), "HFC": ("ses-HFC",), "HFE": ("ses-HFE",)}
BOTH = SESSIONS["all, averaged"]
IMAGES = {"Low field": "preproc", "Enhanced (inr)": "inr", "Enhanced (interp)": "interp"}
DEEP = ("thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala")
STRUCTURES = list(dict.fromkeys(name.removeprefix("left ").removeprefix("right ") for name in SEGMENTED["regions"]))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort") / "it"
    build(root, Cohort(subjects=SUBJECTS, methods=("inr", "interp"), segmentations=("tissue", "regions")))
    image = "sub-002/ses-HFC/anat/sub-002_ses-HFC_space-GE_res-1mm_desc-interp_T2w.nii.gz"
    (root / "derivative" / image).unlink()
    report(root)
    gone = {("sub-002", "ses-HFC", "T2w", "interp")}
    sources = Sources(root / "derivative", ("inr", "interp"), "ses-GE", gone)
    return Tables((root / "derivative" / "group.html").read_text()), sources, root


def close(cell, values, scale=1.0):
    """A cell with mean ± SD."""
    assert float(cell.figure) / scale == pytest.approx(values.mean(), rel=1e-5, abs=1e-9)
    mean, sd = (float(part.replace("−", "-")) for part in cell.text.split(" ± "))
    assert mean == pytest.approx(values.mean(), abs=max(0.1 * values.std(ddof=1), 6e-4))
    assert sd == pytest.approx(values.std(ddof=1), rel=0.06, abs=6e-4)


def holm(raw):
    from statsmodels.stats.multitest import multipletests

    return list(multipletests(raw, method="holm")[1])


def headline(sources, contrast, image):
    """(subjects, sessions) of each quantity of the first table, by head."""
    subjects, sessions = [f"sub-{n + 1:03d}" for n in range(SUBJECTS)], ("ses-HFC", "ses-HFE")

    def table(*key):
        return np.array([[sources.figures[key].get((s, k), np.nan) for k in sessions] for s in subjects])

    found = {
        head: table(contrast, image, "brain-fit", "brain", metric)
        for head, metric in (("PSNR, dB", "psnr"), ("SSIM", "ssim"), ("LPIPS", "lpips"))
    }
    for suffix, names in (("", STRUCTURES), (", deep", DEEP)):
        dice = [table(contrast, image, "regions", name, "dice") for name in names]
        found[f"Dice{suffix}"] = np.mean(dice, axis=0)
        own, high = (
            np.array([table(contrast, of, "regions", name, "volume") for name in names]) for of in (image, "high")
        )
        found[f"Volume error{suffix}, %"] = np.mean(100 * abs(own - high) / high, axis=0)
        if not suffix:
            first, second = own[..., 0], own[..., 1]
            found["Retest, %"] = np.mean(200 * abs(second - first) / (first + second), axis=0)[:, None]
    return found


def test_the_first_table_is_made_from_every_subject(page):
    tables, sources, root = page
    rows = tables.rows(tables.where("Dice, deep")[0])
    assert len(rows) == 2 * 3
    tested = {}
    for row in rows:
        contrast, image = row["", "Contrast"].text, IMAGES[row["", "Image"].text]
        own, base = headline(sources, contrast, image), headline(sources, contrast, "preproc")
        for head, cells in own.items():
            known = ~np.isnan(cells).all(axis=1)
            close(row["", head], np.nanmean(cells[known], axis=1))
            if image != "preproc":
                both = np.where(np.isnan(cells) | np.isnan(base[head]), np.nan, cells - base[head])
                change = np.nanmean(both[~np.isnan(both).all(axis=1)], axis=1)
                told = numbers(row["", head].note)
                decimals = len(row["", head].note.partition(",")[0].partition(".")[2])
                assert told[0] == pytest.approx(change.mean(), abs=0.51 * 10**-decimals)
                tested[contrast, image, head] = told[1]
    summary = {
        (r["contrast"], r["image"], r["quantity"]): r
        for r in read_group(root, "summary")
        if r["session_id"] in ("all", "ses-HFC–ses-HFE") and r["seg"] in ("regions", "n/a")
    }
    quantities = {"PSNR, dB": "psnr", "Dice": "dice", "Retest, %": "repeat_percent"}
    for head, quantity in quantities.items():
        for contrast in CONTRASTS:
            p = float(summary[contrast, "inr", quantity]["p_holm"])
            assert tested[contrast, "inr", head] == pytest.approx(p, rel=0.2)


def read_group(root, name):
    from .group_reader import read

    return read(root / "derivative" / "group" / f"{name}.tsv")


def test_what_is_said_first_follows_from_the_tests(page):
    root = page[2]
    text = (root / "derivative" / "group.html").read_text()
    said = text.partition('<ul class="findings">')[2].partition("</ul>")[0]
    line = next(part for part in said.split("<li>") if part.startswith("<strong>T1w, enhanced (inr)"))
    better = line.partition(">better</span>")[2].partition("<span")[0]
    assert {"PSNR", "SSIM", "Dice", "Dice, deep"} <= {word.strip() for word in better.partition("</li>")[0].split(";")}
    assert "worse</span> LPIPS" in line, "planted the wrong way round: a larger LPIPS is worse"
    assert "Retest" in line.partition("no difference shown</span>")[2]


def test_image_quality(page):
    tables, sources, _ = page
    (number,) = tables.where("Change of PSNR")
    rows, heads = [r for r in tables.tables[number] if r], tables.heads[number]
    assert len(rows) == 2 * 3 * 3
    raw = {}
    for row in rows:
        cell = dict(zip(heads, row, strict=False))
        contrast, sessions, image = cell["Contrast"].text, SESSIONS[cell["Session"].text], IMAGES[cell["Image"].text]
        for metric, title in (("psnr", "PSNR, dB"), ("ssim", "SSIM"), ("ncc", "NCC"), ("nmse", "NMSE")):
            values = sources.values((contrast, image, "brain-fit", "brain", metric), sessions)
            close(cell[title], values)
            assert int(cell["Subjects"].text) == len(values)
        if image != "preproc":
            keys = [(contrast, of, "brain-fit", "brain", "psnr") for of in (image, "preproc")]
            both = sources.pairs(*keys, sessions)
            close(cell["Change of PSNR"], both[:, 0] - both[:, 1])
            raw[contrast, sessions, image] = (stats.wilcoxon(*both.T).pvalue, float(row[heads.index("p")].figure))
    for averaged in (True, False):
        p, shown = zip(*(both for key, both in raw.items() if (key[1] == BOTH) is averaged), strict=True)
        assert list(shown) == pytest.approx(holm(p)), "the sessions averaged are a family of their own"


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_overlap_of_structures_side_by_side(page, contrast):
    tables, sources, _ = page
    number = tables.where("Structure", "Dice")[2 * CONTRASTS.index(contrast)]
    rows = tables.rows(number)
    assert [row["", "Structure"].text for row in rows] == STRUCTURES
    raw = []
    for row in rows:
        name = row["", "Structure"].text
        for title, image in IMAGES.items():
            key = (contrast, image, "regions", name, "dice")
            close(row[title, "Dice"], sources.values(key, BOTH))
            if image != "preproc":
                both = sources.pairs(key, (contrast, "preproc", "regions", name, "dice"), BOTH)
                close(row[title, "Change"], both[:, 0] - both[:, 1])
                raw.append((stats.wilcoxon(*both.T).pvalue, float(row[title, "p"].figure)))
    p, shown = zip(*raw, strict=True)
    assert list(shown) == pytest.approx(holm(p))


def test_every_overlap_by_session_and_side(page):
    tables, sources, _ = page
    found = tables.where("Region", "Dice", "Change")
    assert len(found) == 2 * 2
    for number, (contrast, seg) in zip(found, [(c, s) for c in CONTRASTS for s in ("regions", "tissue")], strict=True):
        rows = tables.rows(number)
        assert len(rows) == 9 * (len(SEGMENTED[seg]) + (14 if seg == "regions" else 0))
        for row in rows:
            key = (contrast, IMAGES[row["", "Image"].text], seg, row["", "Region"].text, "dice")
            close(row["", "Dice"], sources.values(key, SESSIONS[row["", "Session"].text]))


def icc_and_ccc(values, truth):
    """ICC(2,1) of two raters by the mean squares (Shrout and Fleiss 1979, p. 423), and Lin's CCC, written out."""
    both, n, difference = np.column_stack([values, truth]), len(values), values - truth
    rows, raters = 2 * both.mean(axis=1).var(ddof=1), n * both.mean(axis=0).var(ddof=1)
    error = (both.var(ddof=1) * (2 * n - 1) - rows * (n - 1) - raters) / (n - 1)
    covariance = np.cov(values, truth, ddof=0)
    ccc = 2 * covariance[0, 1] / (covariance.trace() + difference.mean() ** 2)
    return (rows - error) / (rows + error + 2 * (raters - error) / n), ccc


def check_bias(single, bias, limits, intervals=""):
    """Texts of bias [interval] and of limits, and the intervals of the limits, against the papers' formulas.

    ``single``: differences in every session of every subject; the limits are of one session.
    """
    difference, n = np.array([np.mean(own) for own in single]), len(single)
    mean, sd = difference.mean(), difference.std(ddof=1)
    t = stats.t.ppf(0.975, n - 1)
    half = t * sd / math.sqrt(n)
    assert numbers(bias) == pytest.approx([mean, mean - half, mean + half], abs=max(0.06 * half, 6e-4))
    spare = sum(len(own) - 1 for own in single)
    within = sum(np.var(own) * len(own) for own in single) / max(spare, 1)
    within *= 1 - np.mean([1 / len(own) for own in single])
    whole = math.sqrt(sd**2 + within)
    assert numbers(limits) == pytest.approx([mean - 1.96 * whole, mean + 1.96 * whole], abs=max(0.06 * whole, 6e-4))
    of_sd = (sd**4 / (n - 1) + within**2 / max(spare, 1)) / (2 * whole**2)
    half = t * math.sqrt(sd**2 / n + 1.96**2 * of_sd)
    ends = [end + shift for end in (mean - 1.96 * whole, mean + 1.96 * whole) for shift in (0, -half, half)]
    if intervals:
        assert numbers(intervals) == pytest.approx(ends, abs=max(0.06 * half, 6e-4))


@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize("seg", ["regions", "tissue"])
def test_bias_and_agreement_side_by_side(page, contrast, seg):
    tables, sources, _ = page
    place = 2 * CONTRASTS.index(contrast) + (seg == "tissue")
    bias = tables.rows(tables.where("Structure", "High field, mL")[place])
    agreed = tables.rows(tables.where("Structure", "CCC")[place])
    names = [*(STRUCTURES if seg == "regions" else SEGMENTED["tissue"])]
    names += ["total intracranial"] if seg == "regions" else []
    assert [row["", "Structure"].text for row in bias] == [row["", "Structure"].text for row in agreed] == names
    for name, row, other in zip(names, bias, agreed, strict=True):
        for title, image in IMAGES.items():
            keys = [(contrast, of, seg, name, "volume") for of in (image, "high")]
            values, truth = sources.pairs(*keys, BOTH).T
            close(row[title, "Difference, %"], 100 * (values - truth) / truth)
            cell = row[title, "Bias and limits, mL"]
            check_bias(sources.differences(*keys, BOTH), cell.text, cell.note)
            icc, ccc = icc_and_ccc(values, truth)
            assert float(other[title, "ICC(2,1)"].figure) == pytest.approx(icc)
            assert float(other[title, "CCC"].figure) == pytest.approx(ccc)
            r = stats.pearsonr(values, truth)
            assert float(other[title, "r"].figure) == pytest.approx(r.statistic)
            assert numbers(other[title, "r"].note) == pytest.approx(list(r.confidence_interval(0.95)), abs=0.006)


def check_row(row, both, reference, single):
    """A row of the long tables of volumes; ``single``: differences in every session of every subject."""
    values, truth = both.T
    assert int(row["", "Subjects"].text) == len(values)
    close(row["", "Volume, mL"], values, scale=1000)
    close(row["", reference], truth, scale=1000)
    close(row["", "Difference, %"], 100 * (values - truth) / truth)
    limits = row["", "Limits of agreement, mL"]
    check_bias(single, row["", "Bias, mL"].text, limits.text, limits.note)
    icc, ccc = icc_and_ccc(values, truth)
    assert float(row["", "ICC(2,1)"].figure) == pytest.approx(icc)
    assert float(row["", "CCC"].figure) == pytest.approx(ccc)
    assert float(row["", "r"].figure) == pytest.approx(np.corrcoef(values, truth)[0, 1])


def test_every_volume_by_session_and_side(page):
    tables, sources, _ = page
    found = tables.where("Region", "High field, mL")
    for number, (contrast, seg) in zip(found, [(c, s) for c in CONTRASTS for s in ("regions", "tissue")], strict=True):
        rows = tables.rows(number)
        assert len(rows) == 9 * (len(SEGMENTED[seg]) + (15 if seg == "regions" else 0))
        for row in rows:
            name, image = row["", "Region"].text, IMAGES[row["", "Image"].text]
            keys = [(contrast, of, seg, name, "volume") for of in (image, "high")]
            sessions = SESSIONS[row["", "Session"].text]
            check_row(row, sources.pairs(*keys, sessions), "High field, mL", sources.differences(*keys, sessions))


def test_test_and_retest(page):
    tables, sources, _ = page
    found = tables.where("Region", "First session, mL")
    short = tables.where("Structure", "CV, %")
    for place, (contrast, seg) in enumerate((c, s) for c in CONTRASTS for s in ("regions", "tissue")):
        beside = {row["", "Structure"].text: row for row in tables.rows(short[place])}
        for row in tables.rows(found[place]):
            assert row["", "Sessions"].text == "HFC–HFE"
            name, title = row["", "Region"].text, row["", "Image"].text
            own = sources.figures[contrast, IMAGES[title], seg, name, "volume"]
            people_ = [s for s in sorted({s for s, _ in own}) if (s, "ses-HFC") in own and (s, "ses-HFE") in own]
            assert len(people_) == SUBJECTS - (contrast == "T2w" and title == "Enhanced (interp)")
            both = np.array([[own[s, "ses-HFE"], own[s, "ses-HFC"]] for s in people_])
            check_row(row, both, "First session, mL", both @ [[1], [-1]])
            cv = 100 * math.sqrt(np.mean((both[:, 0] - both[:, 1]) ** 2) / 2) / both.mean()
            assert float(row["", "Within-subject CV, %"].figure) == pytest.approx(cv)
            if name in beside:
                assert float(beside[name][title, "CV, %"].figure) == pytest.approx(cv)
                cell = beside[name][title, "Bias and limits, mL"]
                check_bias(both @ [[1], [-1]], cell.text, cell.note)


def test_sex_and_age(page):
    tables, sources, root = page
    told = people(root / "raw")
    seen = set()
    for row in tables.rows(tables.where("r with age", "Quantity")[0]):
        contrast, image = row["", "Contrast"].text, IMAGES[row["", "Image"].text]
        cells = headline(sources, contrast, image).get(row["", "Quantity"].text)
        if cells is None or row["", "Quantity"].text == "Retest, %":
            continue
        seen.add(row["", "Quantity"].text)
        known = ~np.isnan(cells).all(axis=1)
        assert known.all()
        means, who = np.nanmean(cells, axis=1), [f"sub-{n + 1:03d}" for n in range(SUBJECTS)]
        for sex in "FM":
            own = [mean for subject, mean in zip(who, means, strict=True) if told[subject]["sex"] == sex]
            assert float(row["", f"Sex {sex}"].figure) == pytest.approx(np.mean(own), rel=1e-5)
            assert row["", f"Sex {sex}"].text.endswith(f"({len(own)})")
        r = stats.pearsonr([float(told[s]["age"]) for s in who], means)
        assert float(row["", "r with age"].figure) == pytest.approx(r.statistic)
        assert float(row["", "p"].figure) == pytest.approx(r.pvalue)
    assert {"PSNR, dB", "Dice", "Volume error, deep, %"} <= seen


def test_volumes_and_age(page):
    tables, sources, root = page
    told = people(root / "raw")
    found = tables.where("Structure", "r with age")
    assert len(found) == 2
    for contrast, number in zip(CONTRASTS, found, strict=True):
        rows = tables.rows(number)
        assert len(rows) == len(STRUCTURES) + 1
        for row in rows:
            for title, image in {"High field": "high", **IMAGES}.items():
                own = sources.figures[contrast, image, "regions", row["", "Structure"].text, "volume"]
                who = sorted({subject for subject, _ in own})
                values = [np.mean([own[s, k] for k in BOTH if (s, k) in own]) for s in who]
                r = stats.pearsonr([float(told[s]["age"]) for s in who], values)
                assert float(row[title, "r with age"].figure) == pytest.approx(r.statistic, rel=1e-4)
                assert int(row[title, "n"].text) == len(who)
