"""What the simulate level has to do: a task for each high-field session, and the settings that decide its outcome."""

import dataclasses
import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from ..bids.filters import scan_choice
from ..bids.highfield import HighFieldSession, SimulationPlan, lower_field_note, plan_simulation
from ..config import SimulateSettings, to_toml
from ..config.toml import dumps
from ..errors import InputError
from ..nn.settings import usable_settings
from ..nn.weights import with_lasting_places
from ..simulators import get_simulator
from ..simulators.presets import named_preset

_HASHED_FIELDS = ("simulator", "presets", "contrasts", "draws", "assume_field_strength", "random_seed")
"""The settings that change an image; the others choose scans or resources, or add the high field."""


@dataclass(frozen=True)
class Task:
    """One high-field session and what to make of it; ``presets`` (word, contrast) of every stack of one draw.

    ``weights`` is the SHA-256 of what a learned simulator reads, "" for the others.
    """

    source: HighFieldSession
    presets: tuple[tuple[str, str], ...]
    settings: SimulateSettings
    options: Mapping[str, Any]
    weights: str = ""

    @property
    def names(self) -> list[tuple[str, str]]:
        """(acq, contrast) of every stack of one draw."""
        return [(acq_label(word), contrast) for word, contrast in self.presets]

    @property
    def sessions(self) -> tuple[str, ...]:
        """Labels of the simulated sessions."""
        return self.source.labels(self.settings.draws)

    @property
    def _options(self) -> dict[str, Any]:
        """The simulator's options, weights by their hash: they may lie elsewhere next time."""
        return {**self.options, **({"weights": self.weights} if self.weights else {})}

    def digest(self, session: str, hashes: Mapping[Path, str]) -> str:
        """Twelve hexadecimal digits that change whenever a stack of this simulated session would."""
        content = {name: getattr(self.settings, name) for name in _HASHED_FIELDS if name != "contrasts"}
        content |= {"presets": self.presets, "options": self._options, "version": __version__}
        content |= {"session": [self.source.name, session], "sources": sorted(hashes.values())}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def make_simulation_plan(settings: SimulateSettings) -> SimulationPlan:
    """The plan of a run, which says what is no high field; no image is opened."""
    chosen = settings.participant_label, settings.session_label
    plan = plan_simulation(settings.bids_dir, *chosen, contrasts=settings.contrasts, **scan_choice(settings))
    return dataclasses.replace(plan, warnings=plan.warnings + lower_field_note(plan))


def simulator_settings(settings: SimulateSettings) -> dict[str, Any]:
    """The simulator's own settings, its defaults filled in; raise ``InputError`` if it cannot use them."""
    with usable_settings("simulator", settings.simulator):
        options = with_lasting_places(settings.simulator_options)
        return dataclasses.asdict(get_simulator(settings.simulator).settings(**options))


def simulation_toml(settings: SimulateSettings, options: Mapping[str, Any], contrasts: Sequence[str]) -> str:
    """The settings that change an image, as TOML, with the version that used them and the weights, if there are any.

    Weights that cannot be used for these contrasts are an ``InputError``.
    """
    tables = tomllib.loads(to_toml(settings, simulator=options))
    tables["run"] = {key: value for key, value in tables["run"].items() if key in (*_HASHED_FIELDS, "level")}
    maker = {"version": __version__}
    if digest := weights_digest(options, contrasts):
        maker["weights"] = digest
    return dumps(tables | {"made_by": maker})


def weights_digest(options: Mapping[str, Any], contrasts: Sequence[str]) -> str:
    """The SHA-256 of the weights that a learned simulator reads; "" for one that reads none."""
    if "weights" not in options:
        return ""
    from ..nn.weights import load_weights

    return load_weights(options["weights"], "h2lo", tuple(contrasts)).sha256


def make_tasks(settings: SimulateSettings, plan: SimulationPlan, options: Mapping[str, Any]) -> dict[str, Task]:
    """A task by the name of each high-field session; ``InputError`` if a preset or a simulator's file is unusable."""
    if len(set(settings.presets)) < len(settings.presets):
        message = f"Expected each preset once, found {' '.join(settings.presets)}; drop the repeated one."
        raise InputError(message, code="repeated-preset")
    places = Counter((source.subject, source.label) for source in plan.sessions)
    if settings.high_field != "none" and (twice := [place for place, count in places.items() if count > 1]):
        message = (
            f"Expected one session of high field for ses-{twice[0][1]} of sub-{twice[0][0]}, found that and scans "
            "without a session, which would go there too; give these a session of their own."
        )
        raise InputError(message, code="repeated-session", subjects=(twice[0][0],))
    simulator = get_simulator(settings.simulator)
    simulator.check(simulator.settings(**options), plan.contrasts)
    tasks, weights = {}, weights_digest(options, plan.contrasts)
    for source in plan.sessions:
        stacks = tuple((word, contrast) for contrast in source.contrasts for word in settings.presets)
        for word, contrast in stacks:
            named_preset(word, contrast)
        tasks[source.name] = Task(source, stacks, settings, options, weights)
    return tasks


def acq_label(word: str) -> str:
    """The ``acq-`` label of a preset: the plane of the scanner of ds006557, else its name without punctuation.

    >>> acq_label("hyperfine-axi"), acq_label("iqt-hcp")
    ('axi', 'iqthcp')
    """
    return re.sub("[^0-9a-zA-Z]", "", word.removeprefix("hyperfine-"))
