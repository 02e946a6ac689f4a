"""The plan of a training: its pairs, high field and label maps, split into training, validation and test subjects."""

import dataclasses
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bids.dataset import source_description
from ..bids.filters import scan_choice
from ..bids.plan import NoFieldStrengthError, make_plan
from ..bids.scans import shorten
from ..bids.simulated import NAME_SUFFIX
from ..config import TrainSettings, flag
from ..config.train import PLAIN
from ..errors import InputError
from ..methods import description
from ..nn.weights import with_lasting_places
from ..training.jobs import Job
from ..training.split import PARTS, Split, make_split, read_split

HELD_OUT_DRAWS = 2
"""Simulated sessions of a validation or test subject: three planes, and the axial one alone."""

LABEL_MAPS = "label-maps"
"""Name of the dataset of subjects drawn from label maps."""


def plan_jobs(settings: TrainSettings) -> list[Job]:
    """One job for each real pair, each high-field session to be degraded, each label map; none of them split yet."""
    plain = settings.augment in PLAIN
    if description(settings.method).learns_from == "labels":
        if not plain or settings.augment_dataset:
            message = (
                f"Expected label maps alone for {settings.method}, found --augment or --augment-dataset, which would "
                "have no effect; leave them out."
            )
            raise InputError(message, code="no-effect", option="augment")
        return _labelled(settings)
    if description(settings.method).learns_from == "heads":
        return _heads(settings)
    if plain and (settings.augment_dataset or settings.label_maps):
        message = (
            f"Expected --augment with a simulator, found '{settings.augment}', with which --augment-dataset and "
            "--label-maps have no effect; choose --augment physics, or leave them out."
        )
        raise InputError(message, code="no-effect", option="augment_dataset")
    if settings.method == settings.augment:
        message = (
            f"Expected --augment with another simulator than the one that is trained, found '{settings.augment}' for "
            "both; choose --augment none."
        )
        raise InputError(message, code="conflicting-options", options=("augment", "method"))
    jobs = _pairs(settings)
    if not plain:
        jobs += _high_field(settings)
        if settings.label_maps:
            jobs += _label_maps(settings.label_maps, simulation(settings))
    if not jobs:
        message = (
            f"Expected pairs of low and high field in {settings.bids_dir}, found none; to learn from high field alone "
            "add --augment physics."
        )
        raise InputError(message, code="no-pairs", path=settings.bids_dir)
    return jobs


def _labelled(settings: TrainSettings) -> list[Job]:
    """The label maps of the participants asked for, for a method that learns from them alone."""
    for option in ("contrasts", "session_label"):
        if getattr(settings, option):
            message = (
                f"Expected no {flag(option)} for {settings.method}, which learns from label maps alone; leave it out."
            )
            raise InputError(message, code="no-effect", option=option)
    jobs = _label_maps(settings.label_maps or settings.bids_dir, {})
    wanted = {label.removeprefix("sub-") for label in settings.participant_label or ()}
    if unknown := sorted(wanted - {job.subject.removeprefix("sub-") for job in jobs}):
        message = (
            f"Expected label maps of {', '.join(unknown)}, found none (they begin with {jobs[0].subject}); correct it."
        )
        raise InputError(message, code="unknown-subject", subjects=tuple(unknown))
    return [job for job in jobs if not wanted or job.subject.removeprefix("sub-") in wanted]


def _heads(settings: TrainSettings) -> list[Job]:
    """High field of BIDS_DIR and of ``--augment-dataset``, label maps, and pairs, for a method that simulates as it
    learns.
    """
    if settings.augment not in PLAIN[:1]:
        message = (
            f"Expected no --augment for {settings.method}, which simulates low field as it learns, found "
            f"'{settings.augment}'; leave it out."
        )
        raise InputError(message, code="no-effect", option="augment")
    roots = [settings.bids_dir, *([settings.augment_dataset] if settings.augment_dataset else [])]
    jobs = [job for root in roots for job in _high_field_of(settings, root, {"contrasts": settings.contrasts})]
    if settings.label_maps:
        jobs += _label_maps(settings.label_maps, {})
    jobs += _pairs(settings, optional=True)
    return [dataclasses.replace(job, heads=True) for job in jobs]


def _pairs(settings: TrainSettings, optional: bool = False) -> list[Job]:
    """A job for each low-field session with high field; ``optional``: nothing is said where there is no low field."""
    try:
        plan = make_plan(settings.bids_dir, settings.participant_label, settings.session_label, **scan_choice(settings))
    except NoFieldStrengthError as error:
        if settings.augment in PLAIN and not optional:
            raise
        to_stderr(f"no pairs are looked for: {error}")
        return []
    if optional and not plan.sessions:
        return []
    warnings = [*plan.warnings, *(f"sub-{subject}: {reason}" for subject, reason in (*plan.failed, *plan.skipped))]
    jobs = []
    for session in plan.sessions:
        high = _of(settings, session.reference)
        low = _of(settings, session.stacks)
        if not {contrast for _, contrast, *_ in low} & {contrast for _, contrast, *_ in high}:
            warnings.append(f"{session.name} is left out: there is no high field of a contrast that its low field has")
            continue
        simulation = session.stacks[0].sidecar.get("Simulation")
        about = simulation if isinstance(simulation, Mapping) else {}
        jobs.append(
            Job(
                dataset_name(settings.bids_dir),
                session.subject,
                session.session or "",
                high=tuple((name, contrast, None, path) for name, contrast, _, path in high),
                low=low,
                contrasts=settings.contrasts,
                made_by=str(about.get("Simulator", "")),
                trained_on=tuple(str(person) for person in about.get("trained_on") or ()),
                licence=licence_of(settings.bids_dir),
            )
        )
    to_stderr(*warnings)
    return jobs


def _of(settings: TrainSettings, scans: Iterable[Any]) -> tuple[tuple[str, str, str | None, str], ...]:
    """(name, contrast, plane, path) of the scans of the contrasts asked for."""
    return tuple(
        (scan.path.name.partition(".")[0], scan.contrast, scan.plane, str(scan.path))
        for scan in scans
        if not settings.contrasts or scan.contrast in settings.contrasts
    )


def _high_field(settings: TrainSettings) -> list[Job]:
    if settings.label_maps and not settings.augment_dataset:
        return []
    return _high_field_of(settings, settings.augment_dataset or settings.bids_dir, simulation(settings))


def _high_field_of(settings: TrainSettings, root: Path, more: Mapping[str, Any]) -> list[Job]:
    """A job for each high-field session of a dataset; ``more`` are fields of all of them."""
    from ..bids.highfield import plan_simulation

    if root.resolve() == settings.bids_dir:
        chosen = {
            "participants": settings.participant_label,
            "sessions": settings.session_label,
            **scan_choice(settings),
        }
    else:
        chosen = {"assume_field_strength": settings.assume_field_strength}
    plan = plan_simulation(root, contrasts=settings.contrasts, **chosen)
    to_stderr(*plan.warnings, *(f"sub-{subject}: {reason}" for subject, reason in (*plan.failed, *plan.skipped)))
    return [
        Job(
            dataset_name(root),
            one.subject,
            one.session or "",
            high=tuple((name, contrast, None, path) for name, contrast, _, path in _of(settings, one.scans)),
            licence=licence_of(root),
            **more,
        )
        for one in plan.sessions
    ]


def _label_maps(folder: Path, simulated: Mapping[str, Any]) -> list[Job]:
    files = sorted(path for path in folder.glob("*") if path.name.endswith((".nii.gz", ".nii", ".mgz")))
    if not files:
        message = f"Expected label maps (*.nii.gz) in {folder}, found none; name their folder with --label-maps."
        raise InputError(message, code="no-label-maps", path=folder)
    return [Job(LABEL_MAPS, *_person_of(path), label_map=str(path), **simulated) for path in files]


def _person_of(path: Path) -> tuple[str, str]:
    """(Subject, session) of a label map: by its name in BIDS, for a person may have several; else each is a person.

    >>> _person_of(Path("sub-01_ses-2_dseg.nii.gz")), _person_of(Path("training_seg_13.nii.gz"))
    (('sub-01', 'ses-2_dseg'), ('training_seg_13', ''))
    """
    stem = path.name.partition(".")[0]
    named = re.fullmatch(r"(sub-[0-9A-Za-z+]+)(?:_(.+))?", stem)
    return (named[1], named[2] or "") if named else (stem, "")


def simulation(settings: TrainSettings) -> dict[str, Any]:
    """Inputs of every simulating job: simulator, its settings, contrasts."""
    from ..training.sessions import SPREAD

    options = {**SPREAD.get(settings.augment, {}), **with_lasting_places(settings.simulator_options)}
    return {"simulator": settings.augment, "simulator_settings": options, "contrasts": settings.contrasts}


def _is_stochastic(settings: TrainSettings) -> bool:
    """Whether two simulated sessions of one head differ in more than motion."""
    from ..simulators import get_simulator

    simulator = get_simulator(settings.augment)
    return simulator.is_stochastic(simulator.settings(**simulation(settings)["simulator_settings"]))


def dataset_name(root: Path) -> str:
    """The name that prefixes the subjects of a dataset; a simulated dataset keeps that of its high field."""
    name = str(source_description(root).get("Name") or "").removesuffix(NAME_SUFFIX)
    return " ".join((name or root.resolve().name).replace("/", " ").split())


def licence_of(root: Path) -> str:
    """The licence of a dataset, "" where its description names none."""
    return str(source_description(root).get("License") or "")


def choose_split(settings: TrainSettings, jobs: Sequence[Job]) -> Split:
    """The split: from the file, a fold, or fractions; subjects of other datasets and of label maps only train.

    A file may name subjects of the dataset by their label alone (``03`` or ``sub-03``); subjects of the dataset that it
    does not name take no part.
    """
    own = dataset_name(settings.bids_dir)
    if settings.split:
        if settings.folds:
            message = "Expected --split or --folds, found both; leave one out."
            raise InputError(message, code="conflicting-options", options=("split", "folds"))
        given = read_split(settings.split)
        parts = {part: tuple(_full_name(name, own) for name in getattr(given, part)) for part in PARTS}
        split = Split(**parts, how=given.how)
    else:
        persons = [job.person for job in jobs if job.dataset == own] or [job.person for job in jobs]
        fold = (settings.fold + 1, settings.folds) if settings.folds else None
        split = make_split(persons, settings.random_seed, fold=fold)
    named = {*split.train, *split.validation, *split.test}
    unknown = named - {job.person for job in jobs}
    if unknown:
        message = (
            f"Expected the subjects of the split in the dataset, found none named {', '.join(sorted(unknown))}; "
            f"correct the split (subjects here are named as {jobs[0].person})."
        )
        raise InputError(message, code="unknown-subject", subjects=sorted(unknown))
    held_out = {*split.validation, *split.test}
    held = {person.rpartition("/")[2] for person in held_out}
    learned_from = {job.subject for job in jobs if job.dataset == LABEL_MAPS and job.person not in held_out}
    alike = sorted(subject for subject in learned_from if subject.removeprefix("sub-") in held)
    if alike:
        to_stderr(
            f"label maps of {', '.join(alike)} are learned from, and subjects of these names decide or are tested: if "
            "they are the same people, leave their label maps out"
        )
    others = dict.fromkeys(job.person for job in jobs if job.person not in named and job.dataset != own)
    return dataclasses.replace(split, train=(*split.train, *others))


def _full_name(name: str, dataset: str) -> str:
    return name if "/" in name else f"{dataset}/{name.removeprefix('sub-')}"


def assign(settings: TrainSettings, jobs: Iterable[Job], split: Split) -> list[Job]:
    """The jobs in use: held-out subjects in fixed draws, others as often as requested; each with its seed.

    A held-out subject with a real pair is evaluated on that alone, but for a method that simulates as it learns, which
    is to stay good elsewhere; a subject in no part of the split is left out.
    """
    jobs = list(jobs)
    held = {*split.validation, *split.test}
    named = {*held, *split.train}
    paired = {job.person for job in jobs if job.low}
    idle = dict.fromkeys(job.person for job in jobs if job.person not in named)
    if idle:
        subjects = shorten((person.rpartition("/")[2] for person in idle), 8)
        to_stderr(f"left out, as the split does not name them: {subjects}")
    same = settings.augment not in PLAIN and not _is_stochastic(settings)
    used = []
    for job in jobs:
        covered = job.person in held and job.person in paired and not job.low and not job.heads
        if job.person not in named or covered:
            continue
        draws = 1 if same else HELD_OUT_DRAWS if job.person in held else settings.draws
        seed = (settings.random_seed, *f"{job.person}\n{job.session}".encode())
        used.append(dataclasses.replace(job, draws=draws, fixed=job.person in held, seed=seed))
    return used


def describe(settings: TrainSettings, jobs: Sequence[Job], split: Split) -> str:
    """The text of ``--dry-run``."""
    pairs = sum(bool(job.low) for job in jobs)
    heads = sum(job.heads and not job.low for job in jobs)
    simulated = sum(job.draws for job in jobs if not job.low and not job.heads)
    real = f"{pairs} real pairs"
    learned = f"{heads} heads" + f" · {real}" * bool(pairs) if heads else f"{real} · {simulated} simulated sessions"
    if all(job.label_map and not job.low for job in jobs) and not heads:
        learned = f"{len(jobs)} label maps"
    lines = [f"Plan: train {settings.method} ({settings.preset}) · {learned}"]
    for part in PARTS:
        subjects = [person.rpartition("/")[2] for person in getattr(split, part)]
        lines.append(f"{part}: {len(subjects)} subjects: {shorten(subjects, 8)}")
    return "\n".join([*lines, f"split: {split.how}"])


def to_stderr(*lines: str) -> None:
    """Each line as a warning on stderr."""
    for line in lines:
        print(f"Warning: {line}", file=sys.stderr)  # noqa: T201
