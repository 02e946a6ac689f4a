"""The page of one subject: one HTML file that opens anywhere, made from what lies on disk."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bids.atomic import atomic_write
from ..bids.sidecars import session_name
from ..evaluation.protocols import PROTOCOLS
from ..evaluation.thresholds import PURPOSES, explained
from . import rendering as fig
from .boilerplate import describe
from .collect import Session, Subject, collect
from .session_figures import SessionFigures, draw_session, save_figures
from .summary import shown_rows, summary_of
from .tables import (
    field_strength,
    lesion_rows,
    metric_description,
    metric_name,
    metric_rows,
    number,
    percent,
    protocols,
    region_colour,
    region_rows,
    regressions,
    scan_rows,
    volume_rows,
)
from .usable import missing_outputs, usable_images, warnings_of
from .viewer import quality_for

TEMPLATE = "report.html.jinja"

FAILED = '<meta name="bids_lfenhance" content="a step failed">'
"""In the head of a page that tells of a failed step, and only there: what the dataset says is escaped."""


def write_report(out_dir: Path, subject: str, run_dir: Path | None = None) -> Path:
    """The path of ``sub-<subject>.html``, which is on disk when this returns, as are the figures beside the images.

    Figures that an earlier page saved and this one has not are removed.

    Parameters
    ----------
    out_dir : the derivative
    subject : label, with or without ``sub-``
    run_dir : the run's log folder (default: the latest under ``logs/``); its crash texts and settings are shown
    """
    out_dir, subject = Path(out_dir), subject.removeprefix("sub-")
    subject_data = collect(out_dir, subject, run_dir)
    parts: list[dict[str, Any]] = []
    pictures: dict[str, bytes] = {}
    saved: list[str] = []
    quality = quality_for(sum(len(session.channels) for session in subject_data.sessions))
    for session in subject_data.sessions:
        figures = draw_session(session, image_names(session), quality)
        head = session_name(subject, session.name)
        folder = Path(f"sub-{subject}", "figures")
        saved += (str(folder / name) for name in save_figures(figures, out_dir / folder, head))
        pictures |= figures.pictures
        parts.append(session_part(session, subject_data, figures))
    page = out_dir / f"sub-{subject}.html"
    before = figures_of(page)
    atomic_write(page, render(subject_data, parts, each_once(pictures), saved))
    for name in before - set(saved):
        (out_dir / name).unlink(missing_ok=True)  # of what is no longer in the derivative
    return page


def each_once(pictures: Mapping[str, bytes]) -> dict[str, str]:
    """Each picture as a data URI, or as the name of the first that is the same: sessions share their high field.

    >>> each_once({"A/high": b"x", "B/high": b"x"})["B/high"]
    'A/high'
    """
    first: dict[bytes, str] = {}
    return {
        name: fig.data_uri(content) if first.setdefault(content, name) == name else first[content]
        for name, content in pictures.items()
    }


def reports_failure(page: Path) -> bool:
    """Whether a page is the one that a failed run left."""
    try:
        return FAILED in page.read_text(encoding="utf-8").partition("<style>")[0]
    except (OSError, ValueError):
        return True


def is_whole(page: Path) -> bool:
    """Whether a page is there, tells of no failed step, and has all figures beside it that were saved with it."""
    return not reports_failure(page) and all((page.parent / name).is_file() for name in figures_of(page))


def figures_of(page: Path) -> set[str]:
    """The figures that were saved beside a page, as paths from where it is."""
    try:
        head = page.read_text(encoding="utf-8").partition("<style>")[0]
    except (OSError, ValueError):
        return set()
    saved = re.search(r'<meta name="figures" content="([^"]*)">', head)
    return set(saved[1].split()) if saved else set()


def image_names(session: Session) -> dict[str, str]:
    """What each image is called on the page."""
    return {"low": "Low field", "high": "High field"} | {label: f"Enhanced ({label})" for label in session.labels}


def render(subject: Subject, parts: list[dict[str, Any]], pictures: Mapping[str, str], saved: Sequence[str]) -> str:
    """The HTML text, which names the figures ``saved`` beside it; every string from the dataset is escaped."""
    from markupsafe import Markup

    filters: dict[str, Callable] = {
        "explained": explained,
        "number": number,
        "percent": percent,
        "metric": metric_name,
        "meaning": metric_description,
        "colour": region_colour,
    }
    return fig.render(
        TEMPLATE,
        styles=("report.css",),
        scripts=("report_pixels.js", "report.js"),
        filters=filters,
        subject=subject,
        sessions=parts,
        pictures=pictures,
        methods=describe([subject]),
        provenance=provenance(subject),
        failed=Markup(FAILED),
        saved=saved,
    )


def session_part(session: Session, subject: Subject, figures: SessionFigures) -> dict[str, Any]:
    """What the template needs of one session."""
    shown = shown_rows(session)
    about = {name: PROTOCOLS[name].description if name in PROTOCOLS else "" for name in protocols(session)}
    act, know = warnings_of(session)
    return {
        "id": f"ses-{session.name}" if session.name else "session",
        "title": f"Session {session.name}" if session.name else "Session",
        "session": session,
        "names": image_names(session),
        "summaries": [summary_of(session, one, figures) for one in usable_images(session, broken_of(session, figures))],
        "missing_outputs": missing_outputs(session, subject.run, figures.problems),
        "act": act,
        "know": know,
        "regressions": regressions(session),
        "facts": facts(session),
        "scans": scan_rows(session),
        "viewer": figures.viewer,
        "pictures": {name: fig.data_uri(content) for name, content in figures.files.items()},
        "windows": figures.windows,
        "std_note": std_note(session),
        "scales": [scale_part(entry) for entry in figures.scales],
        "volumes": {channel.contrast: volume_rows(channel, session) for channel in session.channels},
        "regions": {channel.contrast: region_rows(channel, session) for channel in session.channels},
        "metrics": shown,
        "protocols": [(name, description, metric_rows(session, name)) for name, description in about.items()],
        "lesions": lesion_rows(session),
        "purposes": PURPOSES,
        "rated": rated(session, subject),
    }


def rated(session: Session, subject: Subject) -> dict[str, Any]:
    """What a rating that is exported says it is of; the page's script adds what the reader chose."""
    images = [
        {"contrast": one.contrast, "image": one.label, "Usable": one.usable.words} for one in usable_images(session)
    ]
    return {
        "participant_id": f"sub-{subject.name}",
        "session_id": f"ses-{session.name}" if session.name else None,
        "run": [run.name for run in subject.runs],
        "images": images,
    }


def broken_of(session: Session, figures: SessionFigures) -> dict[str, str]:
    """The enhanced images that could not be read, by name, each with the sentence that says so."""
    names = [output.path.name for output in session.enhanced]
    return {name: problem for name in names for problem in figures.problems if problem.startswith(name)}


def facts(session: Session) -> list[tuple[str, str]]:
    """The first things to know about a session: (what, value)."""
    scans = scan_rows(session)
    strengths = ", ".join(dict.fromkeys(row["field"] for row in scans)) or "unknown"
    methods = {str(output.sidecar.get("Method", output.desc)) for output in session.enhanced}
    reference = session.reference
    name = f"session {reference.get('Session') or '(the same)'}" if reference else "none"
    aside = [("Not shown, of another run", "; ".join(session.other_grids))] if session.other_grids else []
    return [
        ("Method", ", ".join(sorted(methods)) or "no enhanced image"),
        ("Low-field scans", f"{len(scans)} at {strengths}" if scans else "no record"),
        ("High field", name),
        *aside,
    ]


def std_note(session: Session) -> str:
    """Why there is no standard deviation, where there is none; nothing where there is one."""
    if any(channel.std for channel in session.channels):
        return ""
    return "There is no map of the expected error: the method does not say how large its error is."


def scale_part(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A colour bar and its caption."""
    scale: fig.Scale = entry["scale"]
    low, high = scale.limits
    mark = None if scale.threshold is None else 100 * (scale.threshold - low) / (high - low)
    return dict(entry) | {
        "gradient": ", ".join(fig.colour_stops(scale.colours)),
        "ticks": [number(low + (high - low) * share, 2) for share in (0, 0.5, 1)],
        "mark": mark,
        "unit": scale.unit,
        "threshold": scale.threshold,
    }


def provenance(subject: Subject) -> list[dict[str, Any]]:
    """One entry per enhanced image: how it was made, as its sidecar says."""
    return [
        {
            "file": output.path.name,
            "rows": list(_provenance_rows(output.sidecar)),
            "sources": [str(source) for source in output.sidecar.get("Sources") or []],
        }
        for session in subject.sessions
        for output in session.enhanced
    ]


_PROVENANCE_KEYS = (
    "Method",
    "Budget",
    "MethodSettings",
    "SettingsHash",
    "Seed",
    "Draws",
    "Sloppy",
    "Synthetic",
    "GeneratedWith",
)


def _provenance_rows(sidecar: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((key, _plain(sidecar[key])) for key in _PROVENANCE_KEYS if key in sidecar)
    yield "MagneticFieldStrength", f"{field_strength(sidecar.get('MagneticFieldStrength'))} (acquired)"
    runtime = sidecar.get("Runtime")
    if isinstance(runtime, Mapping):
        yield from ((f"Runtime {key}", _plain(value)) for key, value in runtime.items())
    if sidecar.get("PackageVersions"):
        yield "PackageVersions", _plain(sidecar["PackageVersions"])


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, float):
        return number(value, 4)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
