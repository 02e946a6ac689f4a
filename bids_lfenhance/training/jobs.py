"""One subject's examples, made by one worker: what it needs to know, as plain values, and what it does."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._version import __version__
from ..bids.scans import file_state, sha256
from ..bids.sidecars import session_name
from ..config import CONTRASTS
from ..imaging.volume import Volume
from ..methods.options import IN_HIGH_FIELD_CONTRAST, AskedFusion
from ..nn.example import Kind
from ..nn.settings import JsonObject
from ..simulators.source import HighField
from .examples import RECORD, write_example, write_head, write_labels
from .sessions import PLANES, Session, chosen_contrasts, paired_session, simulated_session

if TYPE_CHECKING:
    from nibabel import Nifti1Image

Image = tuple[str, str, str | None, str]
"""Name, contrast, plane (None: from the header) and path of a scan."""


SIMULATING = ("simulator", "simulator_settings", "fixed", "seed", "inputs")
"""Fields that decide the content of a simulated example alone: others have it whatever the seed and the fold."""


@dataclass(frozen=True)
class Job:
    """The examples of one session of one person.

    ``low`` images: a real pair; none: low field is made by ``simulator`` from ``high`` (or, with ``label_map``, from
    high field drawn from that), ``draws`` times, with drawn planes or, ``fixed``, each of ``PLANES`` in turn; with a
    ``label_map`` and no simulator, the map itself is the example. ``heads``: high field itself, or the brain of the
    label map, is kept, for a training that simulates as it goes; with ``low``, the stacks of a real pair.
    ``contrasts`` wanted, all where none is named.
    ``seed`` words decide everything random, whatever the order of the jobs. ``inputs`` are the files that the simulator
    reads (weights, parameters). ``made_by`` names the simulator whose scans ``low`` are, "" for a scanner,
    ``trained_on`` whom it has seen; ``fusion`` is what a network will be shown (``methods.contrast.starting_image``);
    ``licence`` is the dataset's.
    """

    dataset: str
    subject: str
    session: str
    high: tuple[Image, ...] = ()
    low: tuple[Image, ...] = ()
    label_map: str | None = None
    contrasts: tuple[str, ...] = ()
    simulator: str | None = None
    simulator_settings: JsonObject = field(default_factory=dict)
    draws: int = 1
    fixed: bool = False
    seed: tuple[int, ...] = (0,)
    inputs: tuple[str, ...] = ()
    made_by: str = ""
    trained_on: tuple[str, ...] = ()
    fusion: AskedFusion = "mean"
    licence: str = ""
    heads: bool = False

    @property
    def name(self) -> str:
        """``sub-01_ses-A``, for messages."""
        return session_name(self.subject, self.session)

    @property
    def person(self) -> str:
        """Who this is: as in ``Example.person``."""
        return f"{self.dataset}/{self.subject}" if self.dataset else self.subject

    @property
    def simulates(self) -> bool:
        """Whether its low field is made here: not acquired, nor left to the training."""
        return bool(self.simulator) and not self.low and not self.heads

    @property
    def files(self) -> list[str]:
        """The paths of what it is made from."""
        return [path for *_, path in (*self.high, *self.low)] + ([self.label_map] if self.label_map else [])

    def folders(self, root: Path) -> tuple[Path, ...]:
        """Where its examples go: named by everything that decides their content, so that none is made twice."""
        about = dict.fromkeys(("draws", "made_by", "licence", "trained_on", *(() if self.simulates else SIMULATING)))
        states = [(path, *(file_state(Path(path)) or (None,))) for path in self.files]
        content = asdict(self) | about | {"version": __version__, "states": states}
        if self.simulates:
            content["inputs"] = [sha256(Path(path)) for path in self.inputs]
        key = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:10]
        return tuple(root / f"{self.name}_{key}_{number}" for number in range(self.draws if self.simulates else 1))


def run_job(job: Job, root: Path) -> list[str]:
    """The folders of the job's examples, in order; those that were there are left alone."""
    folders = job.folders(root)
    absent = [number for number, folder in enumerate(folders) if not (folder / RECORD).is_file()]
    if absent and job.low and job.heads:
        _keep_stacks(folders[0], job)
    elif absent and job.low:
        _write(folders[0], job, paired(job), "pairs")
    elif absent and job.heads:
        _keep_head(folders[0], job)
    elif absent and not job.simulator:
        _keep_labels(folders[0], job)
    elif absent:
        _simulate(job, folders, absent)
    return [str(folder) for folder in folders]


def paired(job: Job) -> Session:
    """The session of a real pair, registered and masked; ``low`` has its stacks, as placed on the high field."""
    from ..imaging.preprocess import prepare_session

    high = _high_field(job)
    low, _ = prepare_session(_opened(job.low), high)
    return paired_session(chosen_contrasts(low, job.contrasts), chosen_contrasts(high, job.contrasts), job.fusion)


def _simulate(job: Job, folders: Sequence[Path], absent: Sequence[int]) -> None:
    from ..simulators import get_simulator
    from ..simulators.labelmap import load_labels, synthesise

    contrasts = job.contrasts or CONTRASTS
    simulator = get_simulator(job.simulator or "")
    settings = simulator.settings(**job.simulator_settings)
    sources = _sources(job) if job.high else []
    for number in absent:
        generator = np.random.default_rng([*job.seed, number])
        heads = sources or synthesise(load_labels(job.label_map or ""), contrasts, int(generator.integers(2**63)))
        planes = PLANES[number % len(PLANES)] if job.fixed else None
        session = simulated_session(simulator, heads, settings, generator, planes, job.fusion)
        origin = {**session.origin, "trained_on": _trained_on(settings, simulator.name, session.low.contrasts)}
        _write(folders[number], job, replace(session, origin=origin), "simulated", number)


def _keep_head(folder: Path, job: Job) -> None:
    """High field of one person, bias-corrected and cut to the brain, or the brain of a label map; as bytes."""
    from .heads import brain_labels, head_bytes

    if job.label_map:
        images, contrasts = brain_labels(job.label_map), tuple(CONTRASTS)
    else:
        high, mask = _brain_of(job)
        images, contrasts = head_bytes(high, mask), high.contrasts
    write_head(
        folder, images, contrasts, job.subject, job.session, dataset=job.dataset, origin={"licence": job.licence},
        sources=_files_of(job),
    )  # fmt: skip


def _keep_stacks(folder: Path, job: Job) -> None:
    """A real pair with its stacks in slots, as bytes."""
    from .acquired import acquired_arrays
    from .examples import write_stacks

    session = paired(job)
    write_stacks(
        folder, *acquired_arrays(session.low, session.high, session.mask), job.subject, job.session,
        dataset=job.dataset, origin={**session.origin, **_about(job)}, sources=_files_of(job),
    )  # fmt: skip


def _brain_of(job: Job) -> tuple[Volume, np.ndarray]:
    """High field of one person on the canonical grid, and its brain (X, Y, Z) bool."""
    from ..imaging.anatomy import find_anatomy
    from ..simulators.source import check_brain

    high = chosen_contrasts(_high_field(job), job.contrasts)
    anatomy = find_anatomy(high.channel(high.contrasts[0]), high.grid, high.contrasts[0])
    check_brain(anatomy, job.name)
    return high, anatomy.mask


def _keep_labels(folder: Path, job: Job) -> None:
    """The label map itself, cut to the head, as kinds of ``segmentation.regions``, and where it lies."""
    from ..segmentation.regions import read_kinds
    from ..segmentation.warps import warps_of_labels
    from ..simulators.labelmap import load_labels

    label_map = load_labels(job.label_map or "")
    kinds = label_map.on_grid(read_kinds(label_map.labels))
    write_labels(
        folder,
        kinds,
        warps_of_labels(kinds, label_map.grid, label_map.template),
        label_map.to_template(),
        label_map.grid.affine,
        job.subject,
        dataset=job.dataset,
        origin={"licence": job.licence},
        sources=_files_of(job),
    )


def _trained_on(settings: object, simulator: str, contrasts: Sequence[str]) -> list[str]:
    """Who a learned simulator was trained on: none of them may be tested by what learns from it."""
    if not hasattr(settings, "weights"):
        return []
    from ..nn.weights import load_weights

    return list(load_weights(settings.weights, simulator, contrasts).trained_on)


def _sources(job: Job) -> list[HighField]:
    """The high field of a real head, one source per contrast."""
    from ..simulators.source import high_field_sources

    names = {contrast: name for name, contrast, *_ in job.high}
    return high_field_sources(chosen_contrasts(_high_field(job), job.contrasts), names)


def _high_field(job: Job) -> Volume:
    """High field of one person on the canonical grid, every contrast that there is."""
    from ..imaging.preprocess import prepare_reference

    return prepare_reference([(name, contrast, image) for name, contrast, _, image in _opened(job.high)])[0]


def _opened(images: Sequence[Image]) -> "list[tuple[str, str, str | None, Nifti1Image]]":
    from ..imaging.headers import open_scan

    return [(name, contrast, plane, open_scan(Path(path))[0]) for name, contrast, plane, path in images]


def _write(folder: Path, job: Job, session: Session, kind: Kind, number: int = 0) -> None:
    write_example(
        folder,
        session.low,
        session.high,
        session.mask,
        session.to_template,
        kind,
        job.subject,
        job.session or f"SIM{number + 1}",
        {**session.origin, **_about(job)},
        dataset=job.dataset,
        sources=_files_of(job),
        alike=job.fusion in IN_HIGH_FIELD_CONTRAST,
    )


def _about(job: Job) -> dict[str, object]:
    """The licence, and who made its low field where that is a simulator."""
    made = {"simulator": job.made_by, "trained_on": list(job.trained_on)} if job.made_by else {}
    return {"licence": job.licence, **made}


def _files_of(job: Job) -> list[tuple[str, str]]:
    return [(path, sha256(Path(path))) for path in job.files]
