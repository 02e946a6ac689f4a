"""Names every layer shares, and the settings of one run: frozen, validated, TOML in and out."""

from .checks import flag, validated
from .files import from_toml, to_toml
from .group import GroupSettings
from .names import (
    BUDGETS,
    CONTRASTS,
    CUT,
    DERIVED_MAPS,
    ENDINGS,
    LEVELS,
    MAP_ENDS,
    METHOD_MAPS,
    PROTOCOLS,
    SEGMENTATIONS,
    TISSUES,
    TOTAL_INTRACRANIAL,
    WHOLE,
)
from .options import RESOURCES, RUN, SCANS, Common, option
from .participant import Settings, settings_hash
from .run_spec import RunSpec
from .simulate import SimulateSettings
from .train import TrainSettings

SETTINGS: dict[str, type[Common]] = {
    "participant": Settings,
    "group": GroupSettings,
    "simulate": SimulateSettings,
    "train": TrainSettings,
}
"""The settings of each level."""
