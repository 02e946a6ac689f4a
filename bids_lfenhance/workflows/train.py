"""The train level: subjects → split → examples → weights, evaluated on the test subjects."""

import dataclasses
import os
import tomllib
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bids.atomic import atomic_write, locked
from ..bids.describe import merged
from ..config import TrainSettings, to_toml
from ..config.files import PARTS
from ..config.train import PLAIN
from ..errors import InputError, MethodError
from ..methods import METHODS, description, get_trainable
from ..nn.settings import usable_settings
from ..nn.weights import PLACES, lasting_place, with_lasting_places
from ..resources import available_cpus, available_memory_gb, check_room, limit_threads
from ..training.jobs import Job, run_job
from ..training.split import PARTS as SPLIT_PARTS
from ..training.split import Split, check_no_leakage, check_unseen, read_split
from .pool import run_in_workers
from .training_plan import assign, choose_split, describe, plan_jobs, simulation, to_stderr

if TYPE_CHECKING:
    from ..nn.method import Trainable
    from ..nn.weights import LoadedWeights

MEMORY_GB = 2.0
"""Memory of a process that makes examples, GiB."""

MOST_NAMED = 50
"""Subjects without an example whose reasons are said, at most."""


def run_train(settings: TrainSettings) -> str:
    """Text for the console, once weights, card, curves and the test are on disk; empty on all ranks but the first."""
    from ..training.guards import only_training_in
    from ..training.run import settings_to_give

    method = get_trainable(settings.method)
    if settings.init_weights:
        settings = dataclasses.replace(settings, init_weights=lasting_place(settings.init_weights))
    _check_pack(settings, method)
    own = resolve(settings, method)
    only = getattr(own, "contrast", "all") if method.about.direction == "hf2lf" else "all"
    if only != "all":  # other contrasts would be shown and never learned
        settings = dataclasses.replace(settings, contrasts=(only,))
    jobs = plan_jobs(settings)
    split = choose_split(settings, jobs)
    _check_stages(settings, method, own, jobs)
    fusion = _fusion(settings, own)
    start, inputs = _weights(settings, split, method, own)
    jobs = [dataclasses.replace(job, inputs=inputs, fusion=fusion) for job in assign(settings, jobs, split)]
    pairs = _pairs_of_arnold(settings, jobs, split)
    simulator = {} if settings.augment in PLAIN else {"simulator": simulation(settings)["simulator_settings"]}
    text = to_toml(settings, method=settings_to_give(method.about, own), **simulator)
    _check_out_dir(settings, text, split)
    to_stderr(*merged(_thick_high_field(jobs)))
    if settings.dry_run:
        fitted = f"arnold is fitted to {len(pairs)} pair(s) of the training subjects" if pairs else ""
        return "\n".join((describe(settings, jobs, split), fitted, text))
    check_room(settings.out_dir, "OUT_DIR")
    if settings.work_dir:
        check_room(settings.work_dir, "--work-dir")
    root = (settings.work_dir or settings.out_dir) / "examples"
    with only_training_in(settings.out_dir):
        with locked(root / ".lock"):  # of several processes (torchrun) the first makes them, the others find them made
            jobs = _fitted(settings, jobs, pairs, root)
            folders = make_examples(jobs, root, settings.nprocs or available_cpus())
        if settings.pack:
            return pack(settings, method, own, split, folders, start)
        return learn(settings, method, own, split, folders, text, start)


def _check_pack(settings: TrainSettings, method: "Trainable[Any]") -> None:
    """Raise ``InputError`` for what cannot be packed."""
    if settings.pack and method.about.learns_from != "heads":
        able = ", ".join(name for name in METHODS if description(name).learns_from == "heads")
        message = (
            f"Expected --pack with a method that learns from high field alone ({able}), found {method.name}; leave it "
            "out."
        )
        raise InputError(message, code="no-effect", option="pack")
    if settings.pack and settings.pack.exists():
        message = f"Expected a new folder for --pack, found {settings.pack}; choose another, or delete it."
        raise InputError(message, code="folder-exists", path=settings.pack)


def _thick_high_field(jobs: Sequence[Job]) -> list[str]:
    """A sentence on each image of high field that is thick by its header; one that cannot be read is refused later."""
    import nibabel as nib

    from ..imaging.headers import thick_voxels

    found: list[str] = []
    for path in dict.fromkeys(Path(path) for job in jobs for *_, path in job.high):
        with suppress(OSError, ValueError, EOFError, zlib.error, nib.filebasedimages.ImageFileError):
            found += thick_voxels(path.name, nib.load(path).affine)  # type: ignore[attr-defined]
    return found


DECISIVE = ("method", "augment", "precision", "random_seed")
"""Options of the level that are those of one training."""


def _check_out_dir(settings: TrainSettings, text: str, split: Split) -> None:
    """Raise ``InputError``, naming the first that differs, if OUT_DIR holds a training of other settings or split.

    That is known before the examples are made; the checkpoint itself is asked once they are.
    """
    out = settings.out_dir
    kept = [out / "config.toml", out / "split.json"]
    begun = any((out / "checkpoint").glob("stage*-step*")) and all(path.is_file() for path in kept)
    if settings.pack or not begun:
        return
    try:
        there = _decisive(kept[0].read_text(encoding="utf-8"), read_split(kept[1]))
    except (OSError, ValueError):  # damaged: left to the checkpoint
        return
    asked = _decisive(text, split)
    for key in (key for key in {**there, **asked} if there.get(key) != asked.get(key)):
        message = (
            f"Expected the training that is in {out} already ({key} = {there.get(key)}), found {key} = "
            f"{asked.get(key)}; give another output folder, or delete that one to begin anew."
        )
        raise InputError(message, code="other-settings", path=out, key=key)


def _decisive(text: str, split: Split) -> dict[str, Any]:
    """What decides a training, by name, of its settings as TOML and its split."""
    tables = tomllib.loads(text)
    found = {name: tables.get("run", {}).get(name) for name in DECISIVE}
    for table in PARTS:
        found |= {f"{table}.{key}": value for key, value in tables.get(table, {}).items() if key not in PLACES}
    return found | {f"split.{part}": ", ".join(getattr(split, part)) for part in SPLIT_PARTS}


def _check_stages(settings: TrainSettings, method: "Trainable[Any]", own: Any, jobs: Sequence[Job]) -> None:
    """Raise ``InputError`` if there is no step, simulated sessions would never be used, or a patch is odd."""
    from ..training.run import stages_of

    stages = stages_of(method, own)
    if method.about.direction == "regions" and any(side % 2 for stage in stages for side in stage.patch):
        raise InputError(
            f"Expected an even patch of {method.name}, whose voxels the network takes two by two by two, found "
            f"{stages[0].patch[0]}; change it.",
            code="odd-patch",
        )
    only_pairs = all(stage.data == "pairs" for stage in stages)
    if only_pairs and settings.augment not in PLAIN and any(job.low for job in jobs):
        message = (
            f"Expected --augment none or flip with pairs for {method.name}, which learns from them alone, found "
            f"'{settings.augment}'; change --augment."
        )
        raise InputError(message, code="no-effect", option="augment")


def _fusion(settings: TrainSettings, own: Any) -> Any:
    """The method's fusion of stacks; raise ``InputError`` if the simulator makes images fused in another way."""
    from ..simulators import get_simulator

    fusion = getattr(own, "fusion", "mean")
    if fusion != "mean" and settings.augment not in PLAIN and get_simulator(settings.augment).fused:
        message = (
            f"Expected --set fusion=mean with --augment {settings.augment}, which makes images that are "
            f"fused already, found {fusion}; change one of them."
        )
        raise InputError(message, code="conflicting-options", options=("fusion", "augment"))
    return fusion


def _weights(
    settings: TrainSettings, split: Split, method: "Trainable[Any]", own: Any
) -> tuple["LoadedWeights | None", tuple[str, ...]]:
    """Weights to start from, and the files that the simulator reads, checked before any work.

    Raise ``InputError`` for networks of another size, and for test subjects whom these weights or those of the estimate
    or of the simulator have seen.
    """
    from ..nn.weights import load_weights
    from ..simulators import get_simulator
    from ..training.run import check_sizes, training_subjects_of

    start = None
    if settings.init_weights:
        start = load_weights(settings.init_weights, description(settings.method).weights_name, settings.contrasts)
        check_unseen(split, start)
        check_sizes(method, own, start)
    elif settings.preset == "finetune":
        message = (
            "Expected --init-weights with --preset finetune, which goes on from weights, found none; name some, as "
            f"{description(settings.method).weights_name}."
        )
        raise InputError(message, code="no-effect", option="preset")
    check_no_leakage(split, training_subjects_of([], start, own))
    options = {} if settings.augment in PLAIN else simulation(settings)["simulator_settings"]
    made_by = None if settings.augment in PLAIN else get_simulator(settings.augment).settings(**options)
    if own := getattr(made_by, "weights", ""):
        learned = load_weights(own, settings.augment, settings.contrasts)
        check_no_leakage(split, {f"the simulator {learned.path}": learned.trained_on})
        return start, (str(learned.path),)
    return start, tuple(str(value) for key, value in options.items() if key == "parameters" and value)


def _pairs_of_arnold(settings: TrainSettings, jobs: Sequence[Job], split: Split) -> list[Job]:
    """The pairs that the simulator is fitted to; none if it is not fitted, or its parameters are given."""
    from ..simulators import get_simulator
    from ..training.fit_arnold import pairs_to_fit

    fitted = frozenset() if settings.augment in PLAIN else get_simulator(settings.augment).fitted
    return [] if not fitted or fitted & set(settings.simulator_options) else pairs_to_fit(jobs, split.train)


def _fitted(settings: TrainSettings, jobs: Sequence[Job], pairs: Sequence[Job], root: Path) -> list[Job]:
    """The jobs with the parameters fitted to the pairs, which ``OUT_DIR/arnold.json`` keeps for later use as its
    ``parameters``.
    """
    from ..training.fit_arnold import parameters_file, registered, write_parameters

    if not pairs:
        return list(jobs)
    fitted = parameters_file(pairs, root)
    if not fitted.is_file():  # registering the pairs takes minutes
        nprocs = settings.nprocs or available_cpus()
        write_parameters(_by_workers(registered, pairs, nprocs, "pairs for arnold"), fitted)
    path = str(atomic_write(settings.out_dir / "arnold.json", fitted.read_text(encoding="utf-8")))

    def with_parameters(job: Job) -> Job:
        options = {**job.simulator_settings, "parameters": path}
        return dataclasses.replace(job, simulator_settings=options, inputs=(*job.inputs, path))

    return [with_parameters(job) if job.simulator else job for job in jobs]


def pack(
    settings: TrainSettings,
    method: "Trainable[Any]",
    own: Any,
    split: Split,
    folders: Sequence[str],
    start: "LoadedWeights | None",
) -> str:
    """Write the folder ``--pack``; text for the console on what was packed and what to do with it."""
    from ..training.examples import read_example
    from ..training.pack import Pack, write_pack
    from ..training.run import stored_settings

    asked = {name: getattr(settings, name) for name in ("precision", "validate_every", "patience")}
    options = {"seed": settings.random_seed} | {name: value for name, value in asked.items() if value is not None}
    about = method.about
    packed = Pack(
        about.name, stored_settings(about, own), split, options, [read_example(folder) for folder in folders], start
    )
    folder = write_pack(settings.pack or "", packed, about.weights_name)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return (
        f"Packed: {folder} ({size:.1f} MB). Where torch, numpy, safetensors and this package lie, as often as needed:\n"
        f"python -m bids_lfenhance.training {folder} --device cuda --max-minutes 9 --out OUT"
    )


def learn(
    settings: TrainSettings,
    method: "Trainable[Any]",
    own: Any,
    split: Split,
    folders: Sequence[str],
    text: str,
    start: "LoadedWeights | None",
) -> str:
    """Train and test; text for the console on the result, once weights, card, curves and test scores are on disk."""
    from ..nn.device import use_threads
    from ..training.checkpoint import seconds_spent
    from ..training.examples import read_example
    from ..training.loop import train
    from ..training.patches import Augmentation
    from ..training.report import evaluate_test_set
    from ..training.run import TrainOptions

    use_threads(settings.omp_nthreads)
    minutes = settings.max_minutes
    examples = [read_example(folder) for folder in folders]
    options = TrainOptions(
        seed=settings.random_seed,
        device=own.device,
        precision="fp32" if settings.precision == "fp32" else "bf16",
        augmentation=Augmentation(flips="all" if settings.augment == "flip" else "flip"),
        validate_every=settings.validate_every or TrainOptions.validate_every,
        patience=settings.patience or 0,
        max_seconds=seconds_spent(settings.out_dir / "checkpoint") + 60 * minutes if minutes else 0,
        start=start,
        config=text,
    )
    trained = train(method, own, examples, split, settings.out_dir, options)
    if int(os.environ.get("RANK", "0")):  # of several processes (torchrun) the first tests and reports
        return ""
    return evaluate_test_set(trained, method, own, split, examples, options)


def resolve(settings: TrainSettings, method: "Trainable[Any]") -> Any:
    """The method's settings: its defaults < preset < what was asked for."""
    from ..nn.device import choose_device

    presets = method.about.presets
    if settings.preset not in presets:
        message = (
            f"Expected a --preset of {method.name} out of {', '.join(presets)}, found '{settings.preset}'; change it."
        )
        raise InputError(message, code="unknown-choice", option="preset", value=settings.preset)
    chosen = {**presets[settings.preset], **with_lasting_places(settings.method_options)}
    device = choose_device(settings.device)
    with usable_settings("method", method.name):
        return method.about.settings(**chosen, device=device)


def make_examples(jobs: Sequence[Job], root: Path, nprocs: int) -> list[str]:
    """The folders of all examples, made by at most ``nprocs`` workers; those that are there are not made again."""
    made = _by_workers(partial(run_job, root=root), jobs, nprocs, "examples")
    return [folder for folders in made for folder in folders]


def _by_workers(work: Callable[[Job], Any], jobs: Sequence[Job], nprocs: int, what: str) -> list[Any]:
    """The results of ``work`` in the order of the jobs; ``MethodError`` if one failed. ``what`` labels the bar."""
    from tqdm import tqdm

    limit_threads(1)
    nprocs = max(1, min(nprocs, int(available_memory_gb() // MEMORY_GB)))
    made: dict[str, Any] = {}
    failed: list[str] = []
    tasks = {f"{number}: {job.name}": job for number, job in enumerate(jobs)}
    with tqdm(total=len(tasks), unit="subject", desc=what, disable=None) as bar:

        def ended(name: str, result: Any, sentence: str) -> None:
            bar.update()
            if result is None:
                failed.append(f"{tasks[name].name}: {sentence}")
            else:
                made[name] = result

        run_in_workers(work, tasks, min(nprocs, len(tasks)), ended)
    if failed:
        to_stderr(*failed[:MOST_NAMED])
        raise MethodError(
            f"Expected an example of every subject, found none of {len(failed)}, whose reasons are above"
            f"{f' (of the first {MOST_NAMED})' * (len(failed) > MOST_NAMED)}; leave these out, or fix them."
        )
    return [made[name] for name in tasks]
