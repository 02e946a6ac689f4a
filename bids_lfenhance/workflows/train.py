"""The train level: people → split → examples → weights, and what they are worth on people they never saw."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bids.atomic import atomic_write, locked
from ..bids.plan import make_plan
from ..bids.scans import shorten
from ..bids.simulated import NAME_SUFFIX
from ..config import TrainSettings, to_toml
from ..config.train import PLAIN
from ..errors import InputError, MethodError
from ..methods import get_learned
from ..resources import available_cpus
from ..training.jobs import Job, run_job
from ..training.split import PARTS, Split, make_split, read_split
from .pool import share_out

if TYPE_CHECKING:
    from ..nn.method import Method

HELD_OUT_DRAWS = 2
"""Simulated sessions of a person who validates or tests: three planes, and the axial one alone."""

LABEL_MAPS = "label-maps"
"""Name of the dataset that people drawn from label maps belong to."""


def run_train(settings: TrainSettings) -> int:
    """The exit code: 0 when weights, card, curves and the test are on disk."""
    method = get_learned(settings.method)
    own = resolve(settings, method)
    jobs = plan_jobs(settings)
    split = choose_split(settings, jobs)
    jobs = assign(settings, jobs, split)
    simulator = [] if settings.augment in PLAIN else [_simulator(settings)["simulator_settings"]]
    text = to_toml(settings, dataclasses.asdict(own), *simulator)
    if settings.dry_run:
        _print(describe(settings, jobs, split), "", text)
        return 0
    settings.out_dir.mkdir(parents=True, exist_ok=True)
    root = (settings.work_dir or settings.out_dir) / "examples"
    with locked(root / ".lock"):  # of several processes (torchrun) the first makes them, the others find them made
        folders = make_examples(jobs, root, settings.nprocs or available_cpus())
    if told := learn(settings, method, own, split, folders, text):
        _print(told)
    return 0


def learn(settings: TrainSettings, method: "Method", own: Any, split: Split, folders: Sequence[str], text: str) -> str:
    """What came out, as a text; weights, card, curves and the scores of the test are on disk then."""
    from ..nn.device import use_threads
    from ..nn.weights import load_weights
    from ..training.examples import read_example
    from ..training.loop import train
    from ..training.report import test_and_tell
    from ..training.sampler import Augmentation
    from ..training.start import TrainOptions

    use_threads(settings.omp_nthreads)
    examples = [read_example(folder) for folder in folders]
    start = load_weights(settings.init_weights, method.name, settings.contrasts) if settings.init_weights else None
    options = TrainOptions(
        seed=settings.random_seed,
        device=own.device,
        precision="fp32" if settings.precision == "fp32" else "bf16",
        augmentation=Augmentation(flips="all" if settings.augment == "flip" else "flip"),
        validate_every=settings.validate_every or TrainOptions.validate_every,
        patience=settings.patience or 0,
        max_seconds=60 * (settings.max_minutes or 0),
        start=start,
    )
    atomic_write(settings.out_dir / "config.toml", text)
    trained = train(method, own, examples, split, settings.out_dir, options)
    if int(os.environ.get("RANK", "0")):  # of several processes (torchrun) the first tests and tells
        return ""
    return test_and_tell(trained, method, own, split, examples, settings.random_seed)


def resolve(settings: TrainSettings, method: "Method") -> Any:
    """The method's settings: its defaults < preset < what was asked for."""
    from ..nn.device import choose_device

    assert method.learning is not None
    presets = method.learning.presets
    if settings.preset not in presets:
        raise InputError(
            f"Expected a --preset of {method.name} out of {', '.join(presets)}, found '{settings.preset}'; change it."
        )
    chosen = {**presets[settings.preset], **settings.method_options}
    try:
        return method.settings(**chosen, device=choose_device(settings.device))
    except (TypeError, ValueError) as error:
        raise InputError(f"Expected settings method '{method.name}' can use, found: {error}; see --help.") from error


def plan_jobs(settings: TrainSettings) -> list[Job]:
    """One job for each real pair, each high-field session to be degraded, each label map; none of them split yet."""
    plain = settings.augment in PLAIN
    if plain and (settings.augment_dataset or settings.label_maps):
        raise InputError(
            f"Expected --augment with a simulator, found '{settings.augment}', with which --augment-dataset and "
            "--label-maps have no effect; choose --augment physics, or leave them out."
        )
    jobs = _pairs(settings)
    if not plain:
        jobs += _high_field(settings) + _label_maps(settings)
    if not jobs:
        raise InputError(
            f"Expected pairs of low and high field in {settings.bids_dir}, found none; to learn from high field alone "
            "add --augment physics."
        )
    return jobs


def _pairs(settings: TrainSettings) -> list[Job]:
    from ..bids.filters import load_filters

    try:
        plan = make_plan(
            settings.bids_dir,
            participants=settings.participant_label,
            sessions=settings.session_label,
            filters=load_filters(settings.bids_filter_file) if settings.bids_filter_file else None,
            assume_field_strength=settings.assume_field_strength,
            database_dir=settings.bids_database_dir,
        )
    except InputError:
        if settings.augment in PLAIN:
            raise
        return []  # no low field at all: the simulator makes it
    jobs = []
    for unit in plan.units:
        if unit.paired:
            low = tuple((_stem(scan), scan.contrast, scan.plane, str(scan.path)) for scan in unit.stacks)
            high = tuple((_stem(scan), scan.contrast, None, str(scan.path)) for scan in unit.reference)
            made_by = str((unit.stacks[0].sidecar.get("Simulation") or {}).get("Simulator", ""))
            job = Job(dataset_name(settings.bids_dir), unit.subject, unit.session or "", high, low, made_by=made_by)
            jobs.append(dataclasses.replace(job, contrasts=settings.contrasts, licence=licence_of(settings.bids_dir)))
    return jobs


def _high_field(settings: TrainSettings) -> list[Job]:
    from ..bids.highfield import plan_simulation

    if settings.label_maps and not settings.augment_dataset:
        return []
    root = settings.augment_dataset or settings.bids_dir
    labels = () if settings.augment_dataset else settings.participant_label
    plan = plan_simulation(
        root, labels, contrasts=settings.contrasts, assume_field_strength=settings.assume_field_strength
    )
    _tell(*plan.warnings)
    return [
        Job(
            dataset_name(root),
            one.subject,
            one.session or "",
            high=tuple((_stem(scan), scan.contrast, None, str(scan.path)) for scan in one.scans),
            licence=licence_of(root),
            **_simulator(settings),
        )
        for one in plan.sessions
    ]


def _label_maps(settings: TrainSettings) -> list[Job]:
    if settings.label_maps is None:
        return []
    files = sorted(path for path in settings.label_maps.glob("*") if path.name.endswith((".nii.gz", ".nii", ".mgz")))
    if not files:
        raise InputError(f"Expected label maps (*.nii.gz) in {settings.label_maps}, found none; name another folder.")
    return [
        Job(LABEL_MAPS, path.name.partition(".")[0], "", label_map=str(path), **_simulator(settings)) for path in files
    ]


def _simulator(settings: TrainSettings) -> dict[str, Any]:
    from ..training.prepare import SPREAD

    options = {**SPREAD.get(settings.augment, {}), **settings.simulator_options}
    return {"simulator": settings.augment, "simulator_settings": options, "contrasts": settings.contrasts}


def _stem(scan: Any) -> str:
    return str(scan.path.name.partition(".")[0])


def dataset_name(root: Path) -> str:
    """The name by which the people of a dataset are known; a simulated dataset keeps that of its high field."""
    name = str(_description(root).get("Name") or "").removesuffix(NAME_SUFFIX)
    return " ".join((name or root.resolve().name).replace("/", " ").split())


def licence_of(root: Path) -> str:
    """The licence of a dataset, "" where its description names none."""
    return str(_description(root).get("License") or "")


def _description(root: Path) -> dict[str, Any]:
    try:
        found = json.loads((root / "dataset_description.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def choose_split(settings: TrainSettings, jobs: Sequence[Job]) -> Split:
    """The split: from the file, a fold, or fractions; people of other datasets and of label maps only train.

    A file may name people of the dataset by their subject alone (``03`` or ``sub-03``).
    """
    own = dataset_name(settings.bids_dir)
    if settings.split:
        given = read_split(settings.split)
        parts = {part: tuple(_full_name(name, own) for name in getattr(given, part)) for part in PARTS}
        return _with_others(Split(**parts, how=given.how), jobs)
    people = [job.person for job in jobs if job.dataset == own] or [job.person for job in jobs]
    fold = (settings.fold + 1, settings.folds) if settings.folds else None
    return _with_others(make_split(people, settings.random_seed, fold=fold), jobs)


def _with_others(split: Split, jobs: Iterable[Job]) -> Split:
    """The split in which everybody it does not name trains."""
    named = {*split.train, *split.validation, *split.test}
    others = dict.fromkeys(job.person for job in jobs if job.person not in named)
    return dataclasses.replace(split, train=(*split.train, *others))


def _full_name(name: str, dataset: str) -> str:
    return name if "/" in name else f"{dataset}/{name.removeprefix('sub-')}"


def assign(settings: TrainSettings, jobs: Iterable[Job], split: Split) -> list[Job]:
    """The jobs that are used: held-out people in fixed draws, others as often as asked; each with its seed.

    A held-out person with a real pair is judged on that alone.
    """
    jobs = list(jobs)
    held = {*split.validation, *split.test}
    paired = {job.person for job in jobs if job.low}
    unknown = (held | set(split.train)) - {job.person for job in jobs}
    if unknown:
        raise InputError(
            f"Expected the people of the split in the dataset, found none called {', '.join(sorted(unknown))}; "
            f"correct the split (people here are called as {jobs[0].person})."
        )
    used = []
    for job in jobs:
        if job.person in held and not job.low and job.person in paired:
            continue
        draws = HELD_OUT_DRAWS if job.person in held else settings.draws
        seed = (settings.random_seed, *job.person.encode(), *job.session.encode())
        used.append(dataclasses.replace(job, draws=draws, fixed=job.person in held, seed=seed))
    return used


def describe(settings: TrainSettings, jobs: Sequence[Job], split: Split) -> str:
    """The text of ``--dry-run``."""
    pairs = sum(bool(job.low) for job in jobs)
    simulated = sum(job.draws for job in jobs if not job.low)
    lines = [f"Plan: train {settings.method} ({settings.preset}) · {pairs} real pairs · {simulated} simulated sessions"]
    for part in PARTS:
        people = [person.rpartition("/")[2] for person in getattr(split, part)]
        lines.append(f"{part}: {len(people)} people: {shorten(people, 8)}")
    return "\n".join([*lines, f"split: {split.how}"])


def make_examples(jobs: Sequence[Job], root: Path, nprocs: int) -> list[str]:
    """The folders of all examples, made by at most ``nprocs`` workers; those that are there are not made again."""
    from tqdm import tqdm

    made: dict[str, list[str]] = {}
    failed: list[str] = []
    tasks = {f"{number}: {job.name}": job for number, job in enumerate(jobs)}
    with tqdm(total=len(tasks), unit="person", desc="examples", disable=None) as bar:

        def ended(name: str, result: list[str] | None, sentence: str) -> None:
            bar.update()
            if result is None:
                failed.append(f"{tasks[name].name}: {sentence}")
            else:
                made[name] = result

        share_out(partial(run_job, root=root), tasks, min(nprocs, len(tasks)), ended)
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise MethodError(f"Expected an example of everyone, but {failed[0]}{more}; leave these out, or mend them.")
    return [folder for name in tasks for folder in made[name]]


def _print(*lines: Any) -> None:
    for line in lines:
        print(line)  # noqa: T201  (results go to stdout)


def _tell(*lines: str) -> None:
    for line in lines:
        print(f"Warning: {line}", file=sys.stderr)  # noqa: T201
