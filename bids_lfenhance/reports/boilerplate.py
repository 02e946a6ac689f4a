"""The methods text for a paper, made from what the sidecars say was done, with its references and licences."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..methods import METHODS, description
from .collect import Output, Session, Subject, collect
from .tables import field_strength

REFERENCES = {
    "bids": "Gorgolewski KJ et al. The brain imaging data structure. Sci Data 2016;3:160044. doi:10.1038/sdata.2016.44",
    "apps": "Gorgolewski KJ et al. BIDS Apps. PLoS Comput Biol 2017;13:e1005209. doi:10.1371/journal.pcbi.1005209",
    "nipype": "Gorgolewski K et al. Nipype. Front Neuroinform 2011;5:13. doi:10.3389/fninf.2011.00013",
    "n4": "Tustison NJ et al. N4ITK: improved N3 bias correction. IEEE Trans Med Imaging 2010;29:1310-20. "
    "doi:10.1109/TMI.2010.2046908",
    "mni": "Fonov V et al. Unbiased average age-appropriate atlases for pediatric studies. NeuroImage 2011;54:313-27. "
    "doi:10.1016/j.neuroimage.2010.07.033",
    "nilearn": "Abraham A et al. Machine learning for neuroimaging with scikit-learn. Front Neuroinform 2014;8:14. "
    "doi:10.3389/fninf.2014.00014",
    "heteroscedastic": "Kendall A, Gal Y. What uncertainties do we need in Bayesian deep learning for computer vision? "
    "NeurIPS 2017. arXiv:1703.04977",
    "synthseg": "Billot B et al. SynthSeg: segmentation of brain MRI scans of any contrast and resolution without "
    "retraining. Med Image Anal 2023;86:102789. doi:10.1016/j.media.2023.102789",
    "ssim": "Wang Z et al. Image quality assessment: from error visibility to structural similarity. "
    "IEEE Trans Image Process 2004;13:600-12. doi:10.1109/TIP.2003.819861",
}

LICENCES = (
    ("bids_lfenhance", "Apache-2.0"),
    ("ANTs through antspyx", "Apache-2.0"),
    ("MNI152 (ICBM 2009a), bundled by nilearn", "free to use with its copyright notice; nilearn BSD-3-Clause"),
    ("nipype", "Apache-2.0"),
    ("nibabel, PyBIDS, nitransforms", "MIT, MIT, BSD-3-Clause"),
    ("PyTorch, NumPy, SciPy, scikit-image", "BSD-3-Clause"),
)


@dataclass(frozen=True)
class Methods:
    """Paragraphs of plain text with references as [n], the references in that order, and (what, licence) pairs."""

    paragraphs: tuple[str, ...]
    references: tuple[str, ...]
    licences: tuple[tuple[str, str], ...]


class _Citing:
    """Numbers references, keys of ``REFERENCES`` or texts, in the order in which they are first named."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, *keys: str) -> str:
        self.keys += [key for key in keys if key not in self.keys]
        return "[" + ", ".join(str(self.keys.index(key) + 1) for key in keys) + "]"


def boilerplate(out_dir: Path, subject: str | None = None) -> str:
    """Markdown: the methods section of a paper about this derivative, of one subject or of all.

    Of all, what is said must hold for every subject, so the settings come from the first that has an enhanced image.
    """
    names = [subject] if subject else sorted(p.name[4:] for p in out_dir.glob("sub-*") if p.is_dir())
    collected = [collect(out_dir, name) for name in names]
    subjects = [s for s in collected if _enhanced(s)] or collected
    if not subjects:
        return "# Methods\n\nNothing has been processed yet.\n"
    methods = describe(subjects)
    lines = ["# Methods", ""]
    for paragraph in methods.paragraphs:
        lines += [paragraph, ""]
    lines += ["# References", "", *(f"{n}. {text}" for n, text in enumerate(methods.references, 1)), ""]
    lines += ["# Licences", "", *(f"- {what}: {licence}" for what, licence in methods.licences), ""]
    return "\n".join(lines)


def describe(subjects: list[Subject]) -> Methods:
    """What was done, from the first subject's sidecars; counts are over all of them."""
    cite, first = _Citing(), subjects[0]
    if not any(subject.sessions for subject in subjects):
        return Methods(("No session was finished, so there is no method to describe.",), (), LICENCES)
    images = _enhanced(first)
    sidecar = images[0].sidecar if images else {}
    parts = [
        _opening(subjects, sidecar, cite),
        _preparation(first, cite),
        *(_enhancement(output, cite) for output in _one_per_label(images)),
        _regions(first, cite),
        _trust(first, cite),
        "The images are estimates for research use and not for diagnosis.",
    ]
    references = tuple(REFERENCES.get(key, key) for key in cite.keys)
    return Methods(tuple(p for p in parts if p), references, (*_data_licences(first), *LICENCES))


def _enhanced(subject: Subject) -> list[Output]:
    return [o for session in subject.sessions for channel in session.channels for o in channel.enhanced.values()]


def _one_per_label(images: Iterable[Output]) -> list[Output]:
    return list({output.desc: output for output in images}.values())


def _opening(subjects: list[Subject], sidecar: Any, cite: _Citing) -> str:
    sessions = [session for subject in subjects for session in subject.sessions]
    version = str(sidecar.get("GeneratedWith", "")).removeprefix("bids_lfenhance ")
    low = sorted({field_strength(s.get("FieldStrength")) for x in sessions for s in _scans(x)} - {"–"})
    stacks = sum(len(_scans(session)) for session in sessions)
    paired = sum(session.reference is not None for session in sessions)
    return (
        f"Low-field brain MRI{' (' + ', '.join(low) + ')' if low else ''}, organised as BIDS {cite('bids')}, was "
        f"processed with the BIDS App {cite('apps')} bids_lfenhance{' ' + version if version else ''}, a workflow on "
        f"Nipype {cite('nipype')}: {_count(len(subjects), 'subject')}, {_count(len(sessions), 'low-field session')}, "
        f"{_count(stacks, 'scan')}, {paired} of the sessions with a high-field reference."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _scans(session: Session) -> list[Any]:
    scans = session.record.get("Scans")
    return [scan for scan in scans if isinstance(scan, dict)] if isinstance(scans, list) else []


def _preparation(subject: Subject, cite: _Citing) -> str:
    paired = any(session.reference for session in subject.sessions)
    target = " and then to the high-field reference" if paired else ""
    return (
        f"Each scan was corrected for intensity non-uniformity with N4 {cite('n4')}; the scans of a session were "
        f"aligned rigidly to one another{target} by least squares, each blurred by the other's slice profile, and "
        "interpolated once on to a 1 mm isotropic grid. The plain mean of the scans of a contrast is the low-field "
        "baseline. Brain mask and tissue (cerebrospinal fluid, grey and white matter) were found in each image with "
        f"priors of the MNI152 template {cite('mni')} bundled by nilearn {cite('nilearn')}."
    )


def _regions(subject: Subject, cite: _Citing) -> str:
    """The segmentation of the anatomical regions; empty if there was none."""
    channels = [channel for session in subject.sessions for channel in session.channels]
    output = next((one.output for channel in channels for one in channel.regions.values()), None)
    if output is None:
        return ""
    if output.entities.get("seg") == "synthseg":
        return (
            f"Anatomical regions were segmented in each image by SynthSeg {cite('synthseg')} (mri_synthseg --robust)."
        )
    digest = str(output.sidecar.get("WeightsHash", ""))
    return (
        "Anatomical regions were segmented in each image by a network for images of any contrast, which learnt from "
        f"images painted from label maps in the manner of SynthSeg {cite('synthseg')}; it was shown each image and its "
        f"mirror image{f', weights {digest[:12]}' if digest else ''}."
    )


def _enhancement(output: Output, cite: _Citing) -> str:
    sidecar = output.sidecar
    method, settings = str(sidecar.get("Method", output.desc)), sidecar.get("MethodSettings") or {}
    draws = sidecar.get("Draws")
    about = description(method) if method in METHODS else None
    if about and about.sentence:
        digest = str((sidecar.get("Records") or [{}])[0].get("weights_sha256", ""))
        text = (
            f"High-field-like images were estimated by {about.sentence} {cite(*about.references)}"
            f"{f', weights {digest[:12]}' if digest else ''}."
        )
    elif method == "interp":
        how = {"mean": "their plain mean", "sr": "super-resolution that models their slice profiles"}
        text = f"The scans of a contrast were fused by {how.get(str(settings.get('fusion')), 'interpolation')}."
    else:
        text = f"High-field-like images were estimated with the method {method}."
    if isinstance(draws, int) and draws > 1:
        text += f" The result is the mean of {draws} draws."
    if "ExpectedErrorPercent" in sidecar:
        text += f" The standard deviation of its error is the method's own estimate {cite('heteroscedastic')}."
    listed = ", ".join(f"{key} = {value}" for key, value in settings.items())
    seed = f"; seed {sidecar['Seed']}" if "Seed" in sidecar else ""
    return f"{text} Settings of {output.desc}: {listed or 'defaults'}{seed}."


def _trust(subject: Subject, cite: _Citing) -> str:
    text = (
        "A risk map compares the result, degraded again as each scan was acquired, with that scan, in units of the "
        "noise; it is blind to detail finer than the scans resolve."
    )
    if any(session.metrics for session in subject.sessions):
        text += (
            " Against high field, peak signal-to-noise ratio, structural similarity "
            f"{cite('ssim')} and further metrics were computed under named protocols, with the plain mean as the "
            "baseline; we decide by the protocol brain-fit (inside the brain, least-squares gain and offset, data "
            "range the 99.9th percentile of the reference)."
        )
    return text


def _data_licences(subject: Subject) -> list[tuple[str, str]]:
    """The source dataset and the derivative's licence, as the dataset's description has them."""
    sources = subject.dataset.get("SourceDatasets")
    rows = []
    for source in sources if isinstance(sources, list) else []:
        if isinstance(source, dict):
            words = [str(source[key]) for key in ("Name", "DOI", "URL") if source.get(key)]
            words += [f"version {source['Version']}"] if source.get("Version") else []
            rows.append((f"Source data: {', '.join(words) or 'unnamed'}", str(source.get("License") or "as published")))
    if subject.dataset.get("License"):
        rows.append(("This derivative", str(subject.dataset["License"])))
    return rows
