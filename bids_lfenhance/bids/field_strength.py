"""Field strength of a scan, from its sidecar, and what a session's sidecars disagree about."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .scans import Scan

PROTON_MHZ_PER_TESLA = 42.577
"""Larmor frequency of the proton, CODATA gyromagnetic ratio over 2π."""

DISAGREEMENT = 0.05
"""Relative difference beyond which two sources contradict one another; a Siemens 3 T (2.89 T) does not."""

LOW_FIELD_BELOW = 0.3
"""Tesla. Below lies what this package enhances: 0.055 and 0.064 T portables, 0.1 and 0.2 T open magnets."""

HIGH_FIELD_FROM = 1.0
"""Tesla. From here on a scan can be a reference: 1, 1.5, 3, 7 T. What lies between (0.35, 0.55 T) is neither."""

MANUFACTURERS = {"hyperfine": 0.064}
"""Makers of a single field strength, tesla."""

_PLAUSIBLE = (0.001, 25.0)  # tesla; a frequency written in Hz or a field in gauss falls outside
_SCANNED_AT = (0.02, 12.0)  # tesla, where heads are scanned; only a number that has one meaning there is reread

_UNITS = {
    "MagneticFieldStrength": {"t": 1.0, "tesla": 1.0, "mt": 1e-3, "g": 1e-4, "gauss": 1e-4},
    "ImagingFrequency": {"mhz": 1.0, "khz": 1e-3, "hz": 1e-6},
}
"""Factor from each unit to that of the BIDS key, which comes first; the others are tried where that is impossible."""

_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?)\s*([a-zA-Z]*)\s*")


@dataclass(frozen=True)
class Reading:
    """What one sidecar says: ``values`` (source, tesla) in order of trust.

    ``unusable`` entries as they stand, ``reread`` those that were not written as BIDS has them, and what they were
    taken for.
    """

    values: tuple[tuple[str, float], ...] = ()
    unusable: tuple[str, ...] = ()
    reread: tuple[str, ...] = ()

    @property
    def tesla(self) -> float | None:
        """Field strength by the most trusted source, tesla, or None where there is none."""
        return self.values[0][1] if self.values else None

    @property
    def contradicted_by(self) -> tuple[str, float] | None:
        """The first (source, tesla) that differs from ``tesla`` by more than 5 %."""
        for source, value in self.values[1:]:
            if not _agree(value, self.values[0][1]):
                return source, value
        return None


def read_field_strength(sidecar: Mapping[str, Any]) -> Reading:
    """What a sidecar says of the field: ImagingFrequency, MagneticFieldStrength, then Manufacturer.

    Where the first two agree, the second, the nominal one, comes first.

    >>> read_field_strength({"MagneticFieldStrength": 0.006, "ImagingFrequency": 2.7}).values
    (('ImagingFrequency', 0.0634...), ('MagneticFieldStrength', 0.006))
    """
    values, unusable, reread = [], [], []
    for source, per_tesla in (("ImagingFrequency", PROTON_MHZ_PER_TESLA), ("MagneticFieldStrength", 1.0)):
        if source not in sidecar:
            continue
        entry = sidecar[source]
        tesla = _tesla(entry, per_tesla)
        if tesla is None and (tesla := _reread(entry, source, per_tesla)) is not None:
            reread.append(f"{source}: {entry!r} was read as {tesla:.3g} T")
        if tesla is None:
            unusable.append(f"{source}: {entry!r}")
        else:
            values.append((source, tesla))
    if len(values) == 2 and _agree(values[0][1], values[1][1]):
        values.reverse()  # the nominal value then, by which BIDS has scans looked up
    maker = str(sidecar.get("Manufacturer", "")).lower()
    values += [("Manufacturer", tesla) for name, tesla in MANUFACTURERS.items() if name in maker]
    return Reading(tuple(values), tuple(unusable), tuple(reread))


def _agree(one: float, other: float) -> bool:
    return abs(one - other) <= DISAGREEMENT * max(one, other)


def _tesla(value: Any, per_tesla: float) -> float | None:
    """The value in tesla, or None where it is not a number or not a field anyone scans at."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    low, high = (limit * per_tesla for limit in _PLAUSIBLE)
    # compared before it is divided: a whole number may be too long for that
    return value / per_tesla if low <= value <= high else None


def _reread(value: Any, source: str, per_tesla: float) -> float | None:
    """The value in tesla where it is written oddly but can mean one thing only, else None.

    Text, text with a unit, a list of one, and numbers in another unit (64 for .064 T, 30000 for 3 T, Hz for MHz):
    3000 could be 3 T or .3 T, and stays unread.
    """
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        value = value[0]
    units, unit = _UNITS[source], ""
    if isinstance(value, str):
        if not (match := _NUMBER.fullmatch(value)) or re.search(r"[1-9]\d*,\d{3}(?!\d)", value):
            return None  # "1,500" is 1.5 or 1500
        value, unit = float(match[1].replace(",", ".")), match[2].lower()
        if unit and unit not in units:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if unit:
        return _tesla(value * units[unit], per_tesla)
    if (tesla := _tesla(value, per_tesla)) is not None:
        return tesla
    low, high = (limit * per_tesla for limit in _SCANNED_AT)
    sizes = sorted({size for size in units.values() if size < 1})
    meant = [value * size / per_tesla for size in sizes if low / size <= value <= high / size]
    return meant[0] if len(meant) == 1 else None


def field_kind(tesla: float) -> Literal["low", "mid", "high"]:
    """``low`` below 0.3 T, ``high`` from 1 T, ``mid`` between.

    >>> field_kind(0.064), field_kind(0.55), field_kind(3)
    ('low', 'mid', 'high')
    """
    if tesla < LOW_FIELD_BELOW:
        return "low"
    return "high" if tesla >= HIGH_FIELD_FROM else "mid"


def session_warnings(scans: Sequence[Scan]) -> tuple[str, ...]:
    """A sentence each where sidecars of one session disagree, hold unusable values, or say nothing."""
    readings = [(scan, read_field_strength(scan.sidecar)) for scan in scans]
    sentences = []

    def share(found: Sequence[tuple[Scan, Reading]]) -> str:
        first = found[0][0]
        file = first.sidecars[-1].name if first.sidecars else first.path.name
        return f"in {len(found)} of {len(scans)} sidecars (first: {file})"

    if silent := [scan for scan, reading in readings if reading.tesla is None]:
        sentences.append(
            f"{silent[0].field_strength or 0:.3g} T was assumed as --assume-field-strength says "
            f"for {len(silent)} of {len(scans)} images (first: {silent[0].path.name})."
        )
    if disagree := [(scan, reading) for scan, reading in readings if reading.contradicted_by]:
        reading = disagree[0][1]
        source, value = reading.contradicted_by or ("", math.nan)
        used, tesla = reading.values[0]
        sentences.append(
            f"{used} says {tesla:.3g} T, which is used, but {source} says {value:.3g} T {share(disagree)}."
        )
    if reread := [(scan, reading) for scan, reading in readings if reading.reread]:
        advice = "write MagneticFieldStrength as a number in tesla, ImagingFrequency in MHz"
        sentences.append(f"{reread[0][1].reread[0]} {share(reread)}; {advice}.")
    if unusable := [(scan, reading) for scan, reading in readings if reading.unusable]:
        sentences.append(f"{unusable[0][1].unusable[0]} is no field strength and was ignored {share(unusable)}.")
    return tuple(sentences)
