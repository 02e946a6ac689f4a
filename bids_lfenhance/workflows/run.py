"""The participant level: plan → graph → run → check of what is on disk."""

import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..bids.atomic import atomic_write, locked, remove_drafts
from ..bids.dataset import write_dataset_files
from ..bids.defects import closed_folder
from ..bids.describe import alike, describe
from ..bids.lock import exclusive_run
from ..bids.scans import shorten
from ..bids.sessions import LowFieldSession, Plan
from ..config import RunSpec, Settings, settings_hash, to_toml
from ..derivatives.layout import REGION_LABELS, is_complete, missing_outputs
from ..derivatives.volumes import volumes_path
from ..errors import InputError
from ..imaging.grid import canonical_zoom
from ..methods import get_method
from ..methods.enhance import check_draws
from ..methods.options import SHARES
from ..reports.boilerplate import citation
from ..reports.page import is_whole, reports_failure, write_report
from ..resources import (
    allow_open_files,
    available_cpus,
    available_memory_gb,
    check_room,
    limit_threads,
    temporary_folder,
)
from ..segmentation.regions import label_table
from .inputs import graph_label, reference_key, session_key
from .pool import check_workers
from .progress import append_log, open_log
from .verdicts import ImageVerdict, image_verdicts, record_failures, unusable_images, verdict_lines
from .work_folder import remove_damaged, subject_folder, work_folder, working_in

if TYPE_CHECKING:
    from ..nn.weights import LoadedWeights

MINIMUM_MEMORY_GB = {False: 4.0, True: 1.0}
"""Estimated memory of the most demanding step of a run, GiB, by whether it is ``--sloppy`` (participant.MEMORY_GB)."""

LIBRARIES_GB = 0.7
"""Memory of a process that runs networks, before it has an array (measured)."""

MOST_THREADS = 4
"""More threads than this for one step bring little at 1 mm (benchmarks/)."""


@dataclass
class Outcome:
    """Outcome of a run: subjects done, already complete, failed (subject, sentences), what its images are usable for,
    and its log folder.
    """

    run_dir: Path
    done: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    failed: dict[str, list[str]] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    images: tuple[ImageVerdict, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 only if everything asked for is on disk."""
        return 1 if self.failed else 0


@dataclass(frozen=True)
class Segmenter:
    """``name`` as in ``--segmentation``; ``weights`` of the builtin network and their hash."""

    name: str
    weights: str = "auto"
    sha256: str = ""


def choose_segmenter(settings: Settings) -> Segmenter:
    """The segmenter of ``--segmentation``; by default the bundled network, but none with ``--sloppy``: it is slow.

    Raise ``InputError`` if it is not available.
    """
    from ..nn.weights import default_weights, load_weights
    from ..segmentation.synthseg import check_installed

    own, name = settings.segmentation_weights, settings.segmentation
    if own and name not in (None, "builtin"):
        message = (
            f"Expected --segmentation builtin with --segmentation-weights, found '{name}', which uses none; drop one."
        )
        raise InputError(message, code="no-effect", option="segmentation_weights")
    if name is None:
        name = "builtin" if own or (default_weights("regions") and not settings.sloppy) else "none"
    if name == "synthseg":
        check_installed()
    if name != "builtin":
        return Segmenter(name)
    weights = load_weights(own or "auto", "regions", ())
    return Segmenter(name, str(Path(weights.path).resolve()) if own else "auto", weights.sha256)


def _estimate(method: str, source: str, flow: "LoadedWeights") -> tuple[str, str]:
    """(Weights of the estimate, as named from any folder; their hash); InputError if the flow goes with others."""
    from ..methods.residual_options import ESTIMATE, check_estimate
    from ..nn.weights import is_address, load_weights

    weights = load_weights(source, ESTIMATE, ())
    check_estimate(method, flow.settings.get("estimate_sha256", ""), weights)
    return (source if source == "auto" or is_address(source) else str(weights.path.resolve())), weights.sha256


def make_run_spec(settings: Settings, method_settings: Mapping[str, Any], device: str) -> RunSpec:
    """The specification of a run: settings with every default resolved, resources as far as they exist."""
    method = get_method(settings.method)
    chosen, hashed = dict(method_settings), dict(method_settings)
    asked = method.about.sampling(**chosen)
    check_draws(method, asked, settings.n_samples)
    found: dict[str, Any] = {"maps": {}, "weights_contrasts": ()}
    draws = settings.n_samples or method.about.draws
    if method.about.needs_weights:
        from ..nn.weights import is_address, load_weights

        # Found before anything is computed, and known by content: other weights in the same place are other settings.
        weights = load_weights(chosen["weights"], method.about.weights_name, ())
        if method.resolve:
            method.resolve(asked, weights.settings)  # what does not go with these weights is refused here
        if chosen["weights"] != "auto" and not is_address(chosen["weights"]):
            chosen["weights"] = str(weights.path.resolve())  # steps run in folders of their own
        hashed |= {"weights": weights.sha256, "contrast_share": SHARES.get(chosen.get("target_contrast", ""))}
        hashed |= {key: weights.recipe[key] for key in ("calibration", "spread") if key in weights.recipe}
        if hasattr(asked, "estimate"):
            chosen["estimate"], hashed["estimate"] = _estimate(method.name, asked.estimate, weights)
        found["maps"] = method.map_metadata(weights, asked, draws) if method.map_metadata else {}
        found["weights_contrasts"] = weights.contrasts
    segmenter = choose_segmenter(settings)
    hashed["regions"] = [segmenter.name, segmenter.sha256]
    threads = min(settings.omp_nthreads or MOST_THREADS, available_cpus(), settings.nprocs or available_cpus())
    return RunSpec(
        bids_dir=str(settings.bids_dir),
        out_dir=str(settings.out_dir),
        method=settings.method,
        label=settings.label,
        method_settings=chosen,
        synthetic=method.about.learns_from != "nothing",
        settings_hash=settings_hash(settings, hashed, __version__),
        budget=settings.budget,
        n_samples=draws,
        gives_error_std=method.about.gives_error_std,
        seed=settings.random_seed,
        sloppy=settings.sloppy,
        resolution=f"{canonical_zoom(settings.sloppy):g}mm",
        spaces=settings.output_spaces,
        protocols=settings.protocols,
        device=device,
        threads=threads,
        mem_gb=settings.mem_gb or available_memory_gb(),
        segmentation=segmenter.name,
        segmentation_weights=segmenter.weights,
        segmentation_hash=segmenter.sha256,
        **found,
    )


def check_request(settings: Settings, spec: RunSpec) -> None:
    """Raise ``InputError`` if memory does not suffice or an output space is unknown; writes and fetches nothing."""
    needed = MINIMUM_MEMORY_GB[settings.sloppy]
    if spec.mem_gb < needed:
        advice = "ask for more" if settings.sloppy else "ask for more, or try --sloppy to see the app at work"
        raise InputError(
            f"Expected {needed:g} GiB of memory, found {spec.mem_gb:.1f}; {advice}.", code="no-memory", needed=needed
        )
    if spec.spaces:
        from ..imaging.spatial_normalisation import check_space

        for space in spec.spaces:
            check_space(space)


def preflight(settings: Settings, spec: RunSpec) -> None:
    """Raise ``InputError`` before any computing if folders or disk do not suffice or a template cannot be had."""
    work_dir = settings.work_dir or temporary_folder()
    for folder, name in ((settings.out_dir, "OUT_DIR"), (work_dir, "the work folder"), (temporary_folder(), "TMPDIR")):
        check_room(folder, name)
    check_workers()
    if spec.spaces:
        from ..imaging.spatial_normalisation import template_files

        for space in spec.spaces:
            template_files(space)


def run_participants(settings: Settings, spec: RunSpec, plan: Plan) -> Outcome:
    """Run all subjects of a plan; the outcome is checked against what is on disk."""
    spec = replace(spec, threads=_threads(settings, spec, len(plan.sessions)))
    spec = replace(spec, enhance_gb=_memory_per_enhancement(settings, spec, len(plan.sessions)))
    outcome = Outcome(_start_run(settings, spec, plan), skipped=plan.skipped)
    for subject, sentence in plan.failed:
        outcome.failed.setdefault(subject, []).append(sentence)
        page = settings.out_dir / f"sub-{subject}.html"
        if not page.exists() or reports_failure(page):  # the page of what an earlier run finished stays
            atomic_write(outcome.run_dir / f"crash-sub-{subject}-plan.txt", f"{sentence}\n")
            _failure_page(settings.out_dir, subject, outcome)
    todo: dict[str, Sequence[LowFieldSession]] = {}
    allow_open_files()  # a lock is held on every subject
    with ExitStack() as locks:
        for subject in plan.subjects:
            try:
                if sentence := closed_folder(settings.out_dir / f"sub-{subject}"):
                    raise InputError(sentence, code="not-readable")
                if _is_done(settings, subject, plan.sessions_of(subject), spec):
                    outcome.already.append(subject)
                    _tidy(settings, spec, subject)
                else:
                    locks.enter_context(exclusive_run(settings.out_dir, subject))
                    remove_drafts(settings.out_dir / f"sub-{subject}")
                    todo[subject] = plan.sessions_of(subject)
            except InputError as error:  # a name that no derivative can have, or another run at it
                outcome.failed[subject] = [str(error)]
        if todo:
            failures = _execute(settings, spec, todo, outcome.run_dir)
            _collect_outcomes(settings, spec, todo, failures, outcome)
    outcome.images = image_verdicts(plan.sessions, spec, outcome.failed)
    if settings.strict:
        _apply_strict(outcome)
    if outcome.done or (outcome.already and not (settings.out_dir / "logs" / "CITATION.md").exists()):
        _write_citation(settings.out_dir)
    append_log(outcome.run_dir, summary(outcome, settings.out_dir))
    return outcome


def _apply_strict(outcome: Outcome) -> None:
    """Counts subjects with an image that is not usable for any purpose as failed."""
    for subject, sentences in unusable_images(outcome.images).items():
        outcome.failed.setdefault(subject, sentences)
    for finished in (outcome.done, outcome.already):
        finished[:] = [subject for subject in finished if subject not in outcome.failed]


def _threads(settings: Settings, spec: RunSpec, sessions: int) -> int:
    """Threads of one step: several sessions at once use processors better than several threads for one.

    By what was asked for, not by what is left to do, so that a rerun computes as the first run did.
    """
    if settings.omp_nthreads:
        return spec.threads
    return max(1, min(spec.threads, (settings.nprocs or available_cpus()) // max(sessions, 1)))


def _memory_per_enhancement(settings: Settings, spec: RunSpec, sessions: int) -> float:
    """GiB that each enhancement may take when as many as can run at once do."""
    at_once = [sessions, (settings.nprocs or available_cpus()) // spec.threads]
    at_once.append(int(spec.mem_gb // MINIMUM_MEMORY_GB[settings.sloppy]))
    return spec.mem_gb / max(1, min(at_once)) - LIBRARIES_GB


def _tidy(settings: Settings, spec: RunSpec, subject: str) -> None:
    """Remove the intermediate files of a run that was killed after its last step."""
    left = subject_folder(work_folder(settings, spec), subject)
    if left.is_dir():
        with suppress(InputError), exclusive_run(settings.out_dir, subject):  # another run will tidy up itself
            shutil.rmtree(left, ignore_errors=True)


def _write_citation(out_dir: Path) -> None:
    """Write the methods text of all subjects: read under the lock, so that the last to write has seen them all."""
    with locked(out_dir / "logs" / ".citation.lock"):
        for end, text in zip(("md", "bib"), citation(out_dir), strict=True):
            atomic_write(out_dir / "logs" / f"CITATION.{end}", text)


def _is_done(settings: Settings, subject: str, sessions: Sequence[LowFieldSession], spec: RunSpec) -> bool:
    table = volumes_path(settings.out_dir, subject)
    reported = is_whole(settings.out_dir / f"sub-{subject}.html") and table.is_file() and table.stat().st_size > 0
    return reported and all(is_complete(session, spec) for session in sessions)


def _start_run(settings: Settings, spec: RunSpec, plan: Plan) -> Path:
    """The log folder of this run, with its settings in it; the dataset's own files are written first of all."""
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    about = {settings.label: f"Low field made high-field-like by method {settings.method}"}
    subjects = {session.subject for session in plan.sessions}
    tables = {REGION_LABELS[spec.segmentation]: label_table()} if spec.segmentation in REGION_LABELS else {}
    write_dataset_files(
        settings.out_dir,
        settings.bids_dir,
        about,
        __version__,
        subjects=sorted(subjects),
        labels=tables,
        maps=spec.maps,
    )
    run_dir = settings.out_dir / "logs" / run_id
    atomic_write(run_dir / "config.toml", to_toml(settings, method=spec.method_settings))
    open_log(run_dir, f"{available_cpus()} processors, {spec.mem_gb:.1f} GiB, device {spec.device}", describe(plan))
    return run_dir


def _execute(
    settings: Settings, spec: RunSpec, sessions: Mapping[str, Sequence[LowFieldSession]], run_dir: Path
) -> list[Any]:
    """Runs the graphs of all subjects; returns the failures."""
    os.environ["NIPYPE_NO_ET"] = "1"
    limit_threads(spec.threads)
    work, graphs = work_folder(settings, spec), []
    with working_in(work):
        from .engine import execute_graph
        from .participant import init_subject_wf

        for subject, own in sessions.items():
            left = [session for session in own if not is_complete(session, spec)]
            _clean(subject_folder(work, subject), left, settings.clean_workdir)
            graphs.append(init_subject_wf(subject, left, spec, str(run_dir)))
        return execute_graph(graphs, work, run_dir, settings, spec)


def _clean(folder: Path, sessions: Sequence[LowFieldSession], everything: bool) -> None:
    """Removes of a subject's intermediate files what must be made again, or all: theirs alone, not other subjects'."""
    if everything:
        shutil.rmtree(folder, ignore_errors=True)
    for session in sessions:  # perhaps written, and lost or replaced: what is done would stay so
        for graph in (f"session_{session_key(session)}_wf", f"reference_{reference_key(session)}_wf"):
            shutil.rmtree(folder / graph / "write", ignore_errors=True)
    for step in ("volumes", "report"):
        shutil.rmtree(folder / step, ignore_errors=True)
    remove_damaged(folder)


def _collect_outcomes(
    settings: Settings,
    spec: RunSpec,
    sessions: Mapping[str, Sequence[LowFieldSession]],
    failures: Sequence[Any],
    outcome: Outcome,
) -> None:
    """Sorts the subjects by what is on disk, and gives those that failed a record and a page that say so."""
    for subject, own in sessions.items():
        graph = f"sub_{graph_label(subject)}_wf"
        reasons = [f"{_place(f.node)}: {f.sentence}" for f in failures if graph in f.node.split(".")]
        absent = [path for session in own for path in missing_outputs(session, spec)]
        page = settings.out_dir / f"sub-{subject}.html"
        if absent and not reasons:
            reasons = [f"expected {absent[0]} and {len(absent) - 1} more file(s), found nothing there"]
        if not reasons and not all(is_complete(session, spec) for session in own):
            reasons = ["expected images of this run, found those of an earlier one: the run ended before this subject"]
        if not reasons and not _is_done(settings, subject, own, spec):
            reasons = [f"expected the report {page} and the table of volumes, found none of this run"]
        if reasons:
            outcome.failed[subject] = reasons
            record_failures(own, spec, failures)
            _failure_page(settings.out_dir, subject, outcome)
        else:
            outcome.done.append(subject)


def _failure_page(out_dir: Path, subject: str, outcome: Outcome) -> None:
    try:
        write_report(out_dir, subject, outcome.run_dir)
    except Exception as error:  # the failure itself is reported in any case
        outcome.failed[subject].append(f"no report could be made of what is there ({type(error).__name__}: {error})")


def _place(node: str) -> str:
    """A node's full name in readable form: ``session HFC, enhance``."""
    words = [word.removesuffix("_wf").replace("_", " ") for word in node.split(".")[2:] if "no_session" not in word]
    return ", ".join(words)


def summary(outcome: Outcome, out_dir: Path) -> str:
    """One screen: what the images are usable for, what was done, what was there, what failed and why, where to look."""
    lines = ["", *verdict_lines(outcome.images)]
    for word, subjects in (("done", outcome.done), ("already there", outcome.already)):
        if subjects:
            named = shorten((f"sub-{subject}" for subject in subjects), 6)
            lines.append(f"{len(subjects)} subject(s) {word}: {named}")
    lines += [f"skipped sub-{subject}: {why}" for subject, why in outcome.skipped[:5]]
    if len(outcome.skipped) > 5:
        lines.append(f"… and {len(outcome.skipped) - 5} more skipped")
    failed = [(f"sub-{subject}", sentence) for subject, of_it in outcome.failed.items() for sentence in of_it]
    lines += [f"FAILED {line}" for line in alike(failed)]
    finished = [*outcome.done, *outcome.already]
    if finished:
        lines.append(f"Report: {out_dir / f'sub-{finished[0]}.html'}" + (" (and others)" if len(finished) > 1 else ""))
    lines.append(f"Log:    {outcome.run_dir}")
    but = ", but for what was skipped" if outcome.skipped else ""
    lines.append("Not everything asked for is on disk." if outcome.failed else f"Everything asked for is on disk{but}.")
    return "\n".join(lines)
