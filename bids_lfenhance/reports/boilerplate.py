"""The methods text for a paper, made from what the sidecars say was done, with its references and licences."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from ..bids.defects import readable_subjects
from ..bids.describe import plural
from ..bids.scans import shorten
from ..data.references import bibtex, reference_text
from ..methods import METHODS, description
from .collect import Output, Session, Subject, collect
from .made_with import MOST_NAMED, make_of, mixed_makes, named, version_of
from .tables import field_strength

LICENCES = (
    ("bids_lfenhance", "Apache-2.0"),
    ("ITK through SimpleITK", "Apache-2.0"),
    ("MNI152 (ICBM 2009a), bundled by nilearn", "free to use with its copyright notice; nilearn BSD-3-Clause"),
    ("nipype", "Apache-2.0"),
    ("nibabel, PyBIDS, nitransforms", "MIT, MIT, BSD-3-Clause"),
    ("PyTorch, NumPy, SciPy, scikit-image", "BSD-3-Clause"),
)

SOFTWARE = f"""@software{{bids_lfenhance,
  author = {{{{The bids_lfenhance developers}}}},
  title = {{bids_lfenhance: a BIDS App from ultra-low-field brain MRI to high-field-like images}},
  version = {{{__version__}}},
  license = {{Apache-2.0}},
}}
"""

NO_PAPER = "our own, no paper"

SIMULATED = (("physics", ()), ("iqt", ("iqt",)), ("arnold", ("arnold",)), ("h2lo", ("h2lo",)))
"""The references of each simulator."""

STEPS = (
    ("data structure", "bids"),
    ("BIDS Apps", "apps"),
    ("reading of datasets", "pybids"),
    ("workflow", "nipype"),
    ("bias field, by ITK", "n4"),
    ("MNI152 template and priors", "mni"),
    ("which bundles them", "nilearn"),
    ("manner of training of the regions, or --segmentation synthseg", "synthseg"),
    ("for the standard deviation of the error", "kendall"),
    ("metric SSIM", "ssim"),
    ("with --output-spaces", "templateflow"),
)
"""What is cited for each step."""


@dataclass(frozen=True)
class Methods:
    """Paragraphs of plain text with references as [n], their keys in that order, and (what, licence) pairs."""

    paragraphs: tuple[str, ...]
    keys: tuple[str, ...]
    licences: tuple[tuple[str, str], ...]

    @property
    def references(self) -> tuple[str, ...]:
        """The references as text."""
        return tuple(reference_text(key) for key in self.keys)


class ReferenceNumbers:
    """Numbers references by key, in the order in which they are first named."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, *keys: str) -> str:
        """The numbers of these references in brackets, as they stand in the text."""
        self.keys += [key for key in keys if key not in self.keys]
        return "[" + ", ".join(str(self.keys.index(key) + 1) for key in keys) + "]"


def boilerplate(out_dir: Path, subjects: Iterable[str] = ()) -> str:
    """Markdown: the methods section of a paper about this derivative, of these subjects or of all.

    Paragraphs that do not hold for every session name those for which they do.
    """
    return _markdown(_subjects(out_dir, subjects))


def citation(out_dir: Path) -> tuple[str, str]:
    """(``boilerplate`` of all subjects; BibTeX: the software, and what that text cites): each subject is read once."""
    subjects = _subjects(out_dir)
    return _markdown(subjects), "\n".join([SOFTWARE, bibtex(describe(subjects).keys if subjects else ())])


def _markdown(subjects: list[Subject]) -> str:
    if not subjects:
        return "# Methods\n\nNothing has been processed yet.\n"
    methods = describe(subjects)
    lines = ["# Methods", ""]
    for paragraph in methods.paragraphs:
        lines += [paragraph, ""]
    lines += ["# References", "", *(f"{n}. {text}" for n, text in enumerate(methods.references, 1)), ""]
    lines += ["# Licences", "", *(f"- {what}: {licence}" for what, licence in methods.licences), ""]
    return "\n".join(lines)


def what_to_cite() -> str:
    """Markdown: the software, the references of each method and simulator, and of every step; with licences."""
    lines = ["# What to cite", "", f"bids_lfenhance {__version__} (Apache-2.0): see CITATION.cff. Of a derivative,"]
    lines += ["logs/CITATION.md has the methods text, logs/CITATION.bib what it cites.", "", "## Methods", ""]
    for name in METHODS:
        lines += [f"- `{name}`: {'; '.join(map(reference_text, description(name).references)) or NO_PAPER}"]
    lines += [f"- `{name}` (simulator): {'; '.join(map(reference_text, keys)) or NO_PAPER}" for name, keys in SIMULATED]
    lines += ["", "## Every run", "", *(f"- {what}: {reference_text(key)}" for what, key in STEPS)]
    lines += ["", "## Licences", "", *(f"- {what}: {licence}" for what, licence in LICENCES), ""]
    return "\n".join([*lines, "Your data come under the licence of your dataset."])


def _subjects(out_dir: Path, names: Iterable[str] = ()) -> list[Subject]:
    """Those of the derivative, or of these, that may be read and have an enhanced image, or all if none has."""
    found = sorted(names) or sorted(p.name[4:] for p in out_dir.glob("sub-*") if p.is_dir())
    collected = [collect(out_dir, name) for name in readable_subjects(out_dir, found)[0]]
    return [s for s in collected if _enhanced(s)] or collected


def describe(subjects: list[Subject]) -> Methods:
    """What was done, from the sidecars; paragraphs that do not hold for every session name those they hold for."""
    cite = ReferenceNumbers()
    sessions = [session for subject in subjects for session in subject.sessions]
    if not sessions:
        return Methods(("No session was finished, so there is no method to describe.",), (), LICENCES)
    pairs = [(subject, session) for subject in subjects for session in subject.sessions]
    pairs = [pair for pair in pairs if pair[1].enhanced] or pairs
    parts = [
        _opening(subjects, sessions, cite),
        _preparation(sessions, cite),
        *_each(pairs, lambda session: (_enhancement(one, cite) for one in _results(session))),
        *_each(pairs, lambda session: [_regions(session, cite)]),
        _trust(sessions, cite),
        "The images are estimates for research use and not for diagnosis.",
        *_each(pairs, _sloppy),
        *mixed_makes(pairs),
    ]
    return Methods(tuple(p for p in parts if p), tuple(cite.keys), (*_data_licences(subjects[0]), *LICENCES))


def _each(pairs: Sequence[tuple[Subject, Session]], words: Callable[[Session], Iterable[str]]) -> list[str]:
    """The paragraphs about each session, each once, with the sessions it is about where it is not about all."""
    about: dict[str, list[str]] = {}
    for subject, session in pairs:
        for text in filter(None, dict.fromkeys(words(session))):
            about.setdefault(text, []).append(named(subject, session))
    return [
        text if len(some) == len(pairs) else f"Of {plural(len(some), 'session')} ({shorten(some, MOST_NAMED)}): {text}"
        for text, some in about.items()
    ]


def _results(session: Session) -> Iterable[Output]:
    """One image of every result and its settings."""
    return {(output.desc, make_of(output)): output for output in session.enhanced}.values()


def _sloppy(session: Session) -> Iterable[str]:
    if any(output.sidecar.get("Sloppy") is True for output in session.enhanced):
        yield "Made with --sloppy, for trying the app out: not to be published."


def _enhanced(subject: Subject) -> list[Output]:
    return [output for session in subject.sessions for output in session.enhanced]


def _opening(subjects: list[Subject], sessions: Sequence[Session], cite: ReferenceNumbers) -> str:
    versions = " and ".join(sorted({version_of(output) for session in sessions for output in session.enhanced} - {""}))
    low = sorted({field_strength(s.get("FieldStrength")) for session in sessions for s in session.scans} - {"–"})
    stacks = sum(len(session.scans) for session in sessions)
    paired = sum(session.reference is not None for session in sessions)
    return (
        f"Low-field brain MRI{' (' + ', '.join(low) + ')' if low else ''}, organised as BIDS {cite('bids')}, was "
        f"processed with the BIDS App {cite('apps')} bids_lfenhance{' ' + versions if versions else ''}, a workflow on "
        f"Nipype {cite('nipype')}: {plural(len(subjects), 'subject')}, {plural(len(sessions), 'low-field session')}, "
        f"{plural(stacks, 'scan')}, {paired} of the sessions with a high-field reference."
    )


def _preparation(sessions: Sequence[Session], cite: ReferenceNumbers) -> str:
    paired = [session.reference is not None for session in sessions]
    target = " and then to the high-field reference" if any(paired) else ""
    target += " where there is one" if any(paired) and not all(paired) else ""
    grids = sorted({str(session.record.get("Resolution", "1mm")).removesuffix("mm") for session in sessions})
    return (
        f"Each scan was corrected for intensity non-uniformity with N4 {cite('n4')}; the scans of a session were "
        f"aligned rigidly to one another{target} by least squares, each blurred by the other's slice profile, and "
        f"interpolated once on to a {' or '.join(grids)} mm isotropic grid. The plain mean of the scans of a contrast "
        "is the low-field baseline. Brain mask and tissue (cerebrospinal fluid, grey and white matter) were found in "
        f"each image with priors of the MNI152 template {cite('mni')} bundled by nilearn {cite('nilearn')}."
    )


def _regions(session: Session, cite: ReferenceNumbers) -> str:
    """The segmentation of the anatomical regions; empty if there was none."""
    outputs = [one.output for channel in session.channels for one in channel.regions.values()]
    output = next(iter(outputs), None)
    if output is None:
        return ""
    if output.entities.get("seg") == "synthseg":
        return (
            f"Anatomical regions were segmented in each image by SynthSeg {cite('synthseg')} (mri_synthseg --robust)."
        )
    digest = str(output.sidecar.get("WeightsHash", ""))
    both = any("SegmentationNote" in one.sidecar for one in outputs)
    return (
        "Anatomical regions were segmented in each image by a network for images of any contrast, which learnt from "
        f"images painted from label maps in the manner of SynthSeg {cite('synthseg')}; it was shown each image and its "
        f"mirror image{f', weights {digest[:12]}' if digest else ''}."
        f"{' The enhanced T1w was shown in the contrast of high field, too, and posteriors averaged.' if both else ''}"
    )


def _enhancement(output: Output, cite: ReferenceNumbers) -> str:
    sidecar = output.sidecar
    method, settings = str(sidecar.get("Method", output.desc)), sidecar.get("MethodSettings") or {}
    draws = sidecar.get("Draws")
    about = description(method) if method in METHODS else None
    if about and about.sentence:
        record = (sidecar.get("Records") or [{}])[0]
        digest = str(record.get("weights_sha256", ""))
        text = (
            f"High-field-like images were estimated by {about.sentence} {cite(*about.references)}"
            f"{f', weights {digest[:12]}' if digest else ''}.{_correction(record.get('contrasts', {}))}"
            f"{_contrast(record.get('contrasts', ()), settings)}"
        )
    elif method == "interp":
        how = {"mean": "their plain mean", "sr": "super-resolution that models their slice profiles"}
        text = f"The scans of a contrast were fused by {how.get(str(settings.get('fusion')), 'interpolation')}."
    else:
        text = f"High-field-like images were estimated with the method {method}."
    if isinstance(draws, int) and draws > 1:
        text += f" The result is the mean of {draws} draws."
    if "ErrorStdPercent" in sidecar:
        text += f" The standard deviation of its error is the method's own estimate {cite('kendall')}."
    listed = ", ".join(f"{key} = {value}" for key, value in settings.items() if key != "device")
    seed = f"; seed {sidecar['Seed']}" if "Seed" in sidecar else ""
    return f"{text} Settings of {output.desc}: {listed or 'defaults'}{seed}."


def _correction(contrasts: Any) -> str:
    """What the scans did to the learned estimate, by the records of its contrasts; other methods have only names."""
    if not isinstance(contrasts, Mapping) or not any(one.get("correction_rms") for one in contrasts.values()):
        return ""
    return " The estimate was corrected by the scans and averaged with their super-resolution."


def _contrast(contrasts: Collection[str], settings: Mapping[str, Any]) -> str:
    """What was done to the contrast of the estimate, by the settings."""
    way = {"auto": "half of the way", "high-field": "the whole way"}.get(str(settings.get("target_contrast")))
    if not way or "T1w" not in contrasts:
        return ""
    return (
        f" The contrast of T1w was carried {way} to that of an MPRAGE at 3 T by a rising curve of intensity through "
        "its tissue means, where these have the order of a T1w."
    )


def _trust(sessions: Sequence[Session], cite: ReferenceNumbers) -> str:
    text = (
        "A risk map compares the result, degraded again as each scan was acquired, with that scan, in units of the "
        "noise; it is blind to detail finer than the scans resolve."
    )
    if any(session.metrics for session in sessions):
        text += (
            " Against high field, peak signal-to-noise ratio, structural similarity "
            f"{cite('ssim')} and further metrics were computed under named protocols, with the plain mean as the "
            "baseline; the primary protocol is brain-fit (inside the brain, least-squares gain and offset, data "
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
