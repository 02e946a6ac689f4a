"""The group level on made-up cohorts: every figure on the page from the tables by an independent few lines."""

import csv
import html.parser
import itertools
import json
import math
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bids_lfenhance.config import GroupSettings
from bids_lfenhance.reports.cohort import damage
from bids_lfenhance.reports.group_dictionary import TABLES
from bids_lfenhance.workflows.group import run_group

from .fake_cohort import BIAS_MM3, LOW_SHARE, PSNR_GAIN, Cohort, build

SUBJECTS = 9


class Tables(html.parser.HTMLParser):
    """The sortable tables of a page: one list of rows per table, a cell is (text, figure or None)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables, self.heads, self._cell, self._figure = [], [], None, None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        about = dict(attrs)
        if tag == "table":
            self.tables.append([])
            self.heads.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell, self._figure = [], about.get("data-v")

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            text = "".join(self._cell).strip()
            if tag == "td":
                self.tables[-1][-1].append((text, self._figure))
            else:
                self.heads[-1].append(text)
            self._cell = None

    def named(self, column: str) -> tuple[list[str], list[list[tuple[str, str | None]]]]:
        """Heads and rows of the first table with a column of this name."""
        index = next(i for i, head in enumerate(self.heads) if column in head)
        return self.heads[index], [row for row in self.tables[index] if row]


def report(root: Path, drawn: bool = False, **options):
    """A run; figures, which take most of the time, only where they are asked for."""
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr("bids_lfenhance.workflows.group.group_figures", lambda cohort: [])
        return run_group(GroupSettings(root / "raw", root / "derivative", **options))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort") / "it"
    build(root, Cohort(subjects=SUBJECTS, methods=("inr", "interp")))
    (root / "derivative" / "sub-002").joinpath("ses-HFC/anat").joinpath(
        "sub-002_ses-HFC_space-GE_res-1mm_desc-interp_T2w.nii.gz"
    ).unlink()
    return root, report(root, drawn=True), (root / "derivative" / "group.html").read_text()


def source_metric(root: Path, contrast: str, image: str, metric: str) -> dict[str, dict[str, float]]:
    """Subject → session → figure, from the tables of the participant level."""
    found: dict[str, dict[str, float]] = {}
    method = "inr" if image == "preproc" else image
    for path in sorted((root / "derivative").glob(f"sub-*/ses-*/anat/*_desc-{method}_qc.tsv")):
        _, subject, session = path.relative_to(root).parts[:3]
        for row in read(path):
            key = (row["contrast"], row["image"], row["protocol"], row["metric"])
            gone = (subject, session, contrast, image) == ("sub-002", "ses-HFC", "T2w", "interp")
            if key == (contrast, image, "brain-fit", metric) and not gone:
                found.setdefault(subject, {})[session] = float(row["value"])
    return found


def source_volume(root: Path, contrast: str, image: str, name: str) -> dict[str, dict[str, float]]:
    """Subject → low-field session → mL."""
    found: dict[str, dict[str, float]] = {}
    session = "GE" if image == "high" else "HF?"
    desc = "preproc" if image in ("high", "preproc") else image
    for path in sorted((root / "derivative").glob(f"sub-*/ses-{session}/anat/*_desc-{desc}{contrast}_dseg.tsv")):
        _, subject, session = path.relative_to(root).parts[:3]
        value = next(float(row["volume_mm3"]) / 1000 for row in read(path) if row["name"] == name)
        labels = ("ses-HFC", "ses-HFE") if image == "high" else (session,)
        found.setdefault(subject, {}).update(dict.fromkeys(labels, value))
    return found


SESSIONS = {"all, averaged": ("ses-HFC", "ses-HFE"), "HFC": ("ses-HFC",), "HFE": ("ses-HFE",)}
IMAGES = {"Low field": "preproc", "Enhanced (inr)": "inr", "Enhanced (interp)": "interp"}


def pairs_of(first: dict, second: dict, session: str) -> np.ndarray:
    """(n, 2): subjects that have both, their sessions averaged."""
    rows = []
    for subject in sorted(first):
        labels = [s for s in SESSIONS[session] if s in first[subject] and s in second.get(subject, {})]
        if labels:
            rows.append([statistics.fmean(x[subject][s] for s in labels) for x in (first, second)])
    return np.array(rows)


def test_every_figure_of_image_quality_is_that_of_the_tables(made):
    root, _, page = made
    heads, rows = Tables(page).named("PSNR, dB")
    assert len(rows) == 2 * 3 * 3
    raw_p = {}
    for row in rows:
        cell = dict(zip(heads, row, strict=False))
        contrast, session, image = cell["Contrast"][0], cell["Session"][0], IMAGES[cell["Image"][0]]
        for metric, title in (("psnr", "PSNR, dB"), ("ssim", "SSIM"), ("ncc", "NCC"), ("nmse", "NMSE")):
            own = source_metric(root, contrast, image, metric)
            values = pairs_of(own, own, session)[:, 0]
            assert float(cell[title][1]) == pytest.approx(values.mean(), rel=1e-5)
            mean, sd = (float(part) for part in cell[title][0].split(" ± "))
            assert mean == pytest.approx(values.mean(), abs=0.1 * sd)
            assert sd == pytest.approx(values.std(ddof=1), rel=0.05)
            assert int(cell["Subjects"][0]) == len(values)
        if image != "preproc":
            both = pairs_of(
                source_metric(root, contrast, image, "psnr"), source_metric(root, contrast, "preproc", "psnr"), session
            )
            assert float(cell["Change of PSNR"][1]) == pytest.approx((both[:, 0] - both[:, 1]).mean(), rel=1e-5)
            raw_p[contrast, session, image] = (stats.wilcoxon(*both.T).pvalue, float(row[heads.index("p")][1]))
    from statsmodels.stats.multitest import multipletests

    raw, shown = zip(*raw_p.values(), strict=True)
    assert list(shown) == pytest.approx(list(multipletests(raw, method="holm")[1]))


def test_every_figure_of_volumes_is_that_of_the_tables(made):
    root, _, page = made
    checked = 0
    parsed = Tables(page)
    tables = [i for i, head in enumerate(parsed.heads) if "High field, mL" in head]
    for contrast, index in zip(("T1w", "T2w"), tables, strict=True):
        for row in filter(None, parsed.tables[index]):
            cell = dict(zip(parsed.heads[index], row, strict=True))
            name, session, image = cell["Region"][0], cell["Session"][0], IMAGES[cell["Image"][0]]
            high = source_volume(root, contrast, "high", name)
            own = source_volume(root, contrast, image, name)
            if image == "interp" and contrast == "T2w":
                del own["sub-002"]["ses-HFC"]
            check_agreement(cell, pairs_of(own, high, session), "High field, mL")
            checked += 1
    assert checked == 2 * 3 * 3 * 3


def check_agreement(cell: dict, both: np.ndarray, reference: str) -> None:
    values, truth = both.T
    n, difference = len(values), values - truth
    assert int(cell["Subjects"][0]) == n
    assert float(cell["Volume, mL"][1]) / 1000 == pytest.approx(values.mean(), rel=1e-5)
    assert float(cell[reference][1]) / 1000 == pytest.approx(truth.mean(), rel=1e-5)
    assert float(cell["Difference, %"][1]) == pytest.approx(np.mean(100 * difference / truth), rel=1e-4)
    sd = difference.std(ddof=1)
    half = stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n)
    bias, low, high = numbers(cell["Bias, mL"][0])
    expected = [difference.mean(), difference.mean() - half, difference.mean() + half]
    assert [bias, low, high] == pytest.approx(expected, abs=0.06 * half)
    limits = numbers(cell["Limits of agreement, mL"][0])
    assert limits == pytest.approx([difference.mean() - 1.96 * sd, difference.mean() + 1.96 * sd], rel=6e-3)
    assert float(cell["r"][1]) == pytest.approx(np.corrcoef(values, truth)[0, 1])
    covariance = np.cov(values, truth, ddof=0)
    ccc = 2 * covariance[0, 1] / (covariance.trace() + difference.mean() ** 2)
    assert float(cell["CCC"][1]) == pytest.approx(ccc)
    # ICC(2,1) of two raters by the mean squares, written out (Shrout and Fleiss 1979, p. 423)
    rows = 2 * both.mean(axis=1).var(ddof=1)
    raters = n * both.mean(axis=0).var(ddof=1)
    error = (both.var(ddof=1) * (2 * n - 1) - rows * (n - 1) - raters) / (n - 1)
    assert float(cell["ICC(2,1)"][1]) == pytest.approx((rows - error) / (rows + error + 2 * (raters - error) / n))


def numbers(text: str) -> list[float]:
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text.replace("−", "-"))]


def test_every_figure_of_test_retest_is_that_of_the_tables(made):
    root, _, page = made
    parsed = Tables(page)
    tables = [i for i, head in enumerate(parsed.heads) if "First session, mL" in head]
    for contrast, index in zip(("T1w", "T2w"), tables, strict=True):
        for row in filter(None, parsed.tables[index]):
            cell = dict(zip(parsed.heads[index], row, strict=True))
            assert cell["Sessions"][0] == "HFC–HFE"
            image = IMAGES[cell["Image"][0]]
            own = source_volume(root, contrast, image, cell["Region"][0])
            if image == "interp" and contrast == "T2w":
                del own["sub-002"]
            both = np.array([[own[s]["ses-HFE"], own[s]["ses-HFC"]] for s in sorted(own)])
            check_agreement(cell, both, "First session, mL")
            cv = 100 * math.sqrt(np.mean((both[:, 0] - both[:, 1]) ** 2) / 2) / both.mean()
            assert float(cell["Within-subject CV, %"][1]) == pytest.approx(cv)


def test_every_figure_by_sex_and_age_is_that_of_the_tables(made):
    root, _, page = made
    heads, rows = Tables(page).named("r with age")
    people = {row["participant_id"]: row for row in read(root / "raw" / "participants.tsv")}
    checked = 0
    for row in rows:
        cell = dict(zip(heads, row, strict=True))
        image = IMAGES[cell["Image"][0]]
        if cell["Quantity"][0] != "PSNR":
            continue
        own = source_metric(root, cell["Contrast"][0], image, "psnr")
        means = {subject: statistics.fmean(of.values()) for subject, of in own.items()}
        for sex in "FM":
            values = [value for subject, value in means.items() if people[subject]["sex"] == sex]
            assert float(cell[f"Sex {sex}"][1]) == pytest.approx(statistics.fmean(values), rel=1e-5)
            assert cell[f"Sex {sex}"][0].endswith(f"({len(values)})")
        r = stats.pearsonr([float(people[s]["age"]) for s in means], list(means.values()))
        assert float(cell["r with age"][1]) == pytest.approx(r.statistic)
        assert float(cell["p"][1]) == pytest.approx(r.pvalue)
        checked += 1
    assert checked == 2 * 3


def test_quality_control_shows_the_worst_scan(made):
    root, _, page = made
    heads, rows = Tables(page).named("Verdict")
    assert len(rows) == 2 * SUBJECTS
    for row in rows:
        cell = dict(zip(heads, row, strict=True))
        name, session = cell["Subject"][0], cell["Session"][0]
        record = json.loads(next((root / "derivative").glob(f"{name}/ses-{session}/anat/*preproc_qc.json")).read_text())
        for title, key, worst in (
            ("SNR", "SNR", min),
            ("Rotation, °", "RotationDeg", max),
            ("Shift, mm", "TranslationMm", max),
        ):
            assert float(cell[title][1]) == pytest.approx(worst(scan[key] for scan in record["Scans"]))
        shares = [
            json.loads(path.read_text())["FractionAbove"]
            for path in (root / "derivative" / name / f"ses-{session}" / "anat").glob("*Risk_*.json")
        ]
        risk = max(shares) * record["Anatomy"]["MaskVolumeMl"]
        assert float(cell["Risk volume, mL"][1]) == pytest.approx(risk)


def test_what_was_planted_is_found(made):
    root = made[0] / "derivative" / "group"
    rows = {(r["contrast"], r["session"], r["name"], r["image"], r["measure"]): r for r in read(root / "volumes.tsv")}
    low, enhanced = (rows["T1w", "all", "GM", image, "volume_mm3"] for image in ("preproc", "inr"))
    assert float(low["difference_percent_mean"]) == pytest.approx(100 * (LOW_SHARE - 1), abs=1)
    assert float(enhanced["bias_low"]) < BIAS_MM3 < float(enhanced["bias_high"])
    assert float(low["bias_high"]) < 0
    assert float(enhanced["icc"]) > 0.9 > float(low["icc"])
    gains = [
        r
        for r in read(root / "metrics.tsv")
        if (r["protocol"], r["metric"], r["session"]) == ("brain-fit", "psnr", "all")
    ]
    for row in gains:
        if row["image"] == "inr":
            assert float(row["difference_mean"]) == pytest.approx(PSNR_GAIN, abs=0.2)
            assert float(row["p_holm"]) < 0.05
        elif row["image"] == "interp":
            assert float(row["p_holm"]) > 0.05


def test_a_missing_image_is_a_row_and_no_figure(made):
    root, outcome, page = made
    assert outcome.exit_code == 1
    assert outcome.incomplete == ("002",)
    (row,) = [r for r in read(root / "derivative" / "group" / "images.tsv") if r["status"] != "complete"]
    assert (row["subject"], row["session"], row["contrast"], row["image"]) == ("002", "HFC", "T2w", "interp")
    assert row["status"] == "half-written"  # its sidecar is there
    (line,) = Tables(page).named("Detail")[1]
    assert line[0][0] == "sub-002"
    n = {
        (r["image"], r["session"]): r["n"]
        for r in read(root / "derivative" / "group" / "metrics.tsv")
        if (r["contrast"], r["metric"], r["protocol"]) == ("T2w", "psnr", "brain-fit")
    }
    assert n["interp", "HFC"] == str(SUBJECTS - 1)
    assert n["inr", "HFC"] == n["interp", "all"] == str(SUBJECTS)


def test_every_table_has_its_dictionary_and_the_page_stands_alone(made):
    root, _, page = made
    folder = root / "derivative" / "group"
    for name, columns in TABLES.items():
        told = json.loads((folder / f"{name}.json").read_text())
        rows = read(folder / f"{name}.tsv")
        assert list(rows[0]) == list(columns) == list(told)
        assert all(entry["Description"] for entry in told.values())
    addresses = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert [a for a in addresses if not re.match(r"#|data:|sub-\d+\.html$", a)] == []
    assert "Dice is not in this derivative" in page
    for figure in ("metrics", "bland-altman_T1w", "volumes_T2w", "retest_T1w"):
        assert (folder / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert b"</svg>" in (folder / "figures" / f"{figure}.svg").read_bytes()
    assert "group" in (root / "derivative" / ".bidsignore").read_text().splitlines()
    assert not list(folder.rglob(".tmp-*"))


def test_dice_is_shown_where_the_tables_have_it(tmp_path):
    build(tmp_path, Cohort(subjects=6, sessions=("A",), contrasts=("T1w",)))
    dice = itertools.count(80)
    for path in sorted((tmp_path / "derivative").glob("sub-*/ses-A/anat/*_desc-inr_qc.tsv")):
        value = next(dice) / 100
        rows = [
            f"T1w\t{image}\thippocampus\tlabels\tdice\t{v}" for image, v in (("preproc", value - 0.2), ("inr", value))
        ]
        path.write_text(path.read_text() + "\n".join(rows) + "\n")
    assert report(tmp_path).exit_code == 0
    heads, rows = Tables((tmp_path / "derivative" / "group.html").read_text()).named("Dice")
    cells = [dict(zip(heads, row, strict=True)) for row in rows]
    assert [cell["Region"][0] for cell in cells] == ["hippocampus"] * 2
    assert float(cells[1]["Dice"][1]) == pytest.approx(0.825)
    assert float(cells[1]["Change"][1]) == pytest.approx(0.2)


@pytest.mark.parametrize("subjects", [0, 1, 2])
def test_few_subjects_make_a_page_that_says_what_is_missing(tmp_path, subjects):
    build(tmp_path, Cohort(subjects=subjects, sessions=("A",), contrasts=("T1w",)))
    outcome = report(tmp_path, drawn=subjects == 1)
    page = outcome.page.read_text()
    assert outcome.exit_code == (0 if subjects else 1)
    assert ("There is no subject in this derivative" in page) is (subjects == 0)
    assert "No subject has two low-field sessions" in page
    if subjects:
        assert f"n = {subjects}" in page
        assert "too few for a test" in page
        assert not re.search(r">[^<]*\bnan\b|\"nan\"", page.partition("<script>")[0])


def test_a_derivative_without_high_field_says_so(tmp_path):
    build(tmp_path, Cohort(subjects=3, reference=None, contrasts=("T1w",)))
    outcome = report(tmp_path)
    page = outcome.page.read_text()
    assert outcome.exit_code == 0
    assert "There are no metrics" in page
    assert "There are no volumes to compare" in page
    assert Tables(page).named("Within-subject CV, %")[1]


def test_half_finished_subjects_are_named(tmp_path):
    build(tmp_path, Cohort(subjects=4, sessions=("A",), contrasts=("T1w",)))
    out = tmp_path / "derivative"
    (out / "sub-009").mkdir()
    next(out.glob("sub-002/ses-A/anat/*_desc-inr_qc.tsv")).unlink()
    image = next(out.glob("sub-003/ses-A/anat/*_desc-inr_T1w.nii.gz"))
    image.write_bytes(image.read_bytes()[:-9])
    next(out.glob("sub-001/ses-GE/anat/*_desc-preproc_T1w.nii.gz")).write_bytes(b"")
    next(out.glob("sub-004/ses-A/anat/*_desc-preproc_qc.json")).write_text('{"Scans": [3, null], "Anato')
    outcome = report(tmp_path)
    found = {(r["subject"], r["status"]) for r in read(out / "group" / "images.tsv")}
    assert {("009", "missing"), ("002", "no metrics"), ("003", "half-written")} <= found
    assert set(outcome.incomplete) >= {"001", "002", "003", "009"}
    rows = [r for r in read(out / "group" / "volumes.tsv") if r["measure"] == "volume_mm3"]
    counted = {(r["image"], r["n"]) for r in rows}
    assert counted == {("preproc", "2"), ("inr", "1")}, "what is not whole, or has no record, counts in no figure"
    assert {r["subject"]: r["verdict"] for r in read(out / "group" / "quality.tsv")}["004"] == "fail"


def test_words_of_the_dataset_are_escaped(tmp_path):
    bad = "<script>alert(1)</script>&\"'"
    raw, out = build(tmp_path, Cohort(subjects=2, sessions=("A",), contrasts=("T1w",), name=bad))
    for folder in (raw, out):
        text = (folder / "participants.tsv").read_text()
        (folder / "participants.tsv").write_text(text.replace("\tM\n", f"\t{bad}\n"))
    for path in out.glob("sub-*/ses-*/anat/*_dseg.tsv"):
        path.write_text(path.read_text().replace("CSF", bad))
    page = report(tmp_path).page.read_text()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 3


def test_subjects_and_sessions_can_be_chosen(tmp_path):
    build(tmp_path, Cohort(subjects=3, contrasts=("T1w",)))
    report(tmp_path, participant_label=("sub-001", "003"), session_label=("ses-HFC",))
    rows = read(tmp_path / "derivative" / "group" / "quality.tsv")
    assert [(row["subject"], row["session"]) for row in rows] == [("001", "HFC"), ("003", "HFC")]


def test_damage_is_seen_from_header_and_end(tmp_path):
    import nibabel as nib

    for name in ("a.nii.gz", "b.nii"):
        path = tmp_path / name
        nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(9, 8, 7)), np.eye(4)), path)
        assert damage(path) == ""
        path.write_bytes(path.read_bytes()[:-5])
        assert damage(path) == "cut short"
        path.write_bytes(b"")
        assert damage(path) == "empty file"
        path.write_bytes(b"not an image at all" * 9)
        assert damage(path) == "not a readable NIfTI file"
