"""The page of one subject: one HTML file that opens anywhere, made from what lies on disk."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..bids.atomic import atomic_write
from ..evaluation.protocols import PRIMARY
from ..evaluation.thresholds import PURPOSES
from . import rendering as fig
from .boilerplate import boilerplate, describe
from .collect import Session, Subject, collect
from .session_figures import Album, draw_session, save_figures, slices_for
from .tables import (
    comparisons,
    field_strength,
    lesion_rows,
    metric_description,
    metric_name,
    metric_rows,
    millilitres,
    number,
    protocols,
    region_rows,
    scan_rows,
    signed,
    volume_rows,
)
from .usable import gaps_of, judged, warnings_of

__all__ = ["boilerplate", "tells_of_failure", "write_report"]

TEMPLATE = "report.html.jinja"

FAILED = '<meta name="bids_lfenhance" content="a step failed">'
"""In the head of a page that tells of a failed step, and only there: what the dataset says is escaped."""


def write_report(out_dir: Path, subject: str, run_dir: Path | None = None) -> Path:
    """The path of ``sub-<subject>.html``, which is on disk when this returns, as are the figures beside the images.

    Parameters
    ----------
    out_dir : the derivative
    subject : label, with or without ``sub-``
    run_dir : the run's log folder (default: the latest under ``logs/``); its crash texts and settings are shown
    """
    out_dir, subject = Path(out_dir), subject.removeprefix("sub-")
    subject_data = collect(out_dir, subject, run_dir)
    parts: list[dict[str, Any]] = []
    sprites: dict[str, str] = {}
    slices = slices_for(sum(len(session.channels) for session in subject_data.sessions))
    for session in subject_data.sessions:
        album = draw_session(session, image_names(session), slices)
        head = f"sub-{subject}" + (f"_ses-{session.name}" if session.name else "")
        save_figures(album, out_dir / f"sub-{subject}" / "figures", head)
        sprites |= {key: fig.data_uri(content) for key, content in album.sprites.items()}
        parts.append(session_part(session, subject_data, album))
    return atomic_write(out_dir / f"sub-{subject}.html", render(subject_data, parts, sprites))


def tells_of_failure(page: Path) -> bool:
    """Whether a page is the one that a failed run left."""
    try:
        return FAILED in page.read_text(encoding="utf-8").partition("<style>")[0]
    except (OSError, ValueError):
        return True


def image_names(session: Session) -> dict[str, str]:
    """What each image is called on the page."""
    return {"low": "Low field", "high": "High field"} | {label: f"Enhanced ({label})" for label in session.labels}


def render(subject: Subject, parts: list[dict[str, Any]], sprites: Mapping[str, str]) -> str:
    """The HTML text; every string from the dataset is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from .. import __version__
    from ..data import data_path, read_text

    folder = data_path(TEMPLATE).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "metric": metric_name,
        "meaning": metric_description,
        "ml": millilitres,
        "signed": signed,
    }
    return environment.get_template(TEMPLATE).render(
        subject=subject,
        sessions=parts,
        sprites=sprites,
        methods=describe([subject]),
        provenance=provenance(subject),
        version=__version__,
        failed=Markup(FAILED),
        style=Markup(read_text("report.css")),  # our own file, not the dataset's
        script=Markup(read_text("report.js")),
    )


def session_part(session: Session, subject: Subject, album: Album) -> dict[str, Any]:
    """What the template needs of one session."""
    return {
        "id": f"ses-{session.name}" if session.name else "session",
        "title": f"Session {session.name}" if session.name else "Session",
        "session": session,
        "names": image_names(session),
        "judged": judged(session, broken_of(session, album)),
        "gaps": gaps_of(session, subject.run, album.problems),
        "warnings": warnings_of(session),
        "against": comparisons(session),
        "cards": cards(session, album),
        "facts": facts(session),
        "scans": scan_rows(session),
        "viewer": album.viewer,
        "registration": registration_viewer(album.viewer),
        "maps": dict(album.maps) | {"plain": True} if album.maps else None,
        "pictures": {name: fig.data_uri(content) for name, content in album.files.items()},
        "windows": album.windows,
        "std_note": std_note(session),
        "scales": [scale_part(entry) for entry in album.scales],
        "volumes": {channel.contrast: volume_rows(channel, session) for channel in session.channels},
        "regions": {channel.contrast: region_rows(channel, session) for channel in session.channels},
        "lesions": lesion_rows(session),
        "protocols": [(name, protocol_description(name), metric_rows(session, name)) for name in protocols(session)],
        "primary": PRIMARY,
        "purposes": PURPOSES,
    }


def broken_of(session: Session, album: Album) -> dict[str, str]:
    """The enhanced images that could not be read, by name, each with the sentence that says so."""
    names = [output.path.name for channel in session.channels for output in channel.enhanced.values()]
    return {name: problem for name in names for problem in album.problems if problem.startswith(name)}


def facts(session: Session) -> list[tuple[str, str]]:
    """The first things to know about a session: (what, value)."""
    scans = scan_rows(session)
    strengths = ", ".join(dict.fromkeys(row["field"] for row in scans)) or "unknown"
    methods = {str(o.sidecar.get("Method", label)) for c in session.channels for label, o in c.enhanced.items()}
    reference = session.reference
    name = _reference_name(reference) if reference else "none: fidelity cannot be measured"
    aside = [("Not shown, of another run", "; ".join(session.aside))] if session.aside else []
    return [
        ("Method", ", ".join(sorted(methods)) or "no enhanced image"),
        ("Contrasts", ", ".join(channel.contrast for channel in session.channels) or "none"),
        ("Low-field scans", f"{len(scans)} at {strengths}" if scans else "no record"),
        ("High-field reference", name),
        *aside,
    ]


def _reference_name(reference: Mapping[str, Any]) -> str:
    """Session and files of the high field that a session is compared with."""
    files = reference.get("Files")
    listed = ", ".join(map(str, files)) if isinstance(files, list) else ""
    return f"session {reference.get('Session') or '(the same)'}{': ' if listed else ''}{listed}"


def cards(session: Session, album: Album) -> list[dict[str, str]]:
    """The key numbers, the low-field baseline beside each."""
    tiles = []
    for row in metric_rows(session, PRIMARY):
        if row.region == "brain" and row.metric in ("psnr", "ssim"):
            for result in row.results:
                tiles.append(
                    {
                        "name": f"{row.contrast} {metric_name(row.metric)}",
                        "value": f"{result.value} {row.unit}".strip(),
                        "beside": f"plain mean {row.baseline} ({result.change})",
                        "judged": result.judged,
                        "label": result.label if len(session.labels) > 1 else "",
                    }
                )
    for entry in album.scales:
        if entry["kind"] == "Std":
            value, what = f"{number(entry['median'], 2)} %", "Expected error, median"
            beside = "standard deviation as its method says it, of the median brain intensity"
        elif isinstance(share := entry["about"].get("FractionAbove"), int | float):
            value, what = (
                "< 0.01 %" if 0 < share < 1e-4 else f"{number(100 * share, 2)} %",
                "Brain above the risk threshold",
            )
            beside = f"of {entry['scale'].threshold:g} noise units"
        else:
            continue
        label = entry["label"] if len(session.labels) > 1 else ""
        tiles.append(
            {"name": f"{entry['contrast']} {what}", "value": value, "beside": beside, "judged": "", "label": label}
        )
    return tiles


def std_note(session: Session) -> str:
    """Why there is no standard deviation, where there is none; nothing where there is one."""
    if any(channel.std for channel in session.channels):
        return ""
    return "There is no map of the expected error: the method does not say how large its error is."


def registration_viewer(viewer: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The same pictures, low and high field only; None where no contrast has both."""
    if viewer is None:
        return None
    contrasts = []
    for contrast in viewer["contrasts"]:
        pair = [image for image in contrast["images"] if image["key"] in ("low", "high")]
        if len(pair) == 2:
            contrasts.append(contrast | {"images": pair})
    return dict(viewer) | {"contrasts": contrasts, "mode": "flicker"} if contrasts else None


def scale_part(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A colour bar and what is said beside it."""
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


def protocol_description(name: str) -> str:
    """What a protocol does, in the words of the evaluation."""
    from ..evaluation.protocols import PROTOCOLS

    return PROTOCOLS[name].description if name in PROTOCOLS else ""


def provenance(subject: Subject) -> list[dict[str, Any]]:
    """One entry per enhanced image: how it was made, as its sidecar says."""
    channels = [channel for session in subject.sessions for channel in session.channels]
    images = [output for channel in channels for output in channel.enhanced.values()]
    return [
        {
            "file": output.path.name,
            "rows": list(_provenance_rows(output.sidecar)),
            "sources": [str(source) for source in output.sidecar.get("Sources") or []],
        }
        for output in images
    ]


_TOLD = ("Method", "Budget", "MethodSettings", "SettingsHash", "Seed", "Draws", "Sloppy", "Synthetic", "GeneratedWith")


def _provenance_rows(sidecar: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((key, _plain(sidecar[key])) for key in _TOLD if key in sidecar)
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
