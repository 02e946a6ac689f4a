"""What ``--help`` says before a level is named, and ``--help-method`` of one method."""

import os
import sys
import typing
from typing import Any

from ..config import LEVELS, flag
from ..errors import InputError
from .parts import Part, did_you_mean, parts_of, shared, words_of

ABOUT = {
    "participant": "Ultra-low-field brain MRI to high-field-like images, and how far to trust them.",
    "group": "All subjects of a derivative to tables, figures and one page: quality, volumes, agreement, test-retest.",
    "simulate": "High-field brain MRI to a dataset of simulated ultra-low-field scans.",
    "train": "Trains a learned method from pairs of low and high field, or from high field and a simulator.",
}
"""What each level does."""

OVERVIEW = """usage: bids_lfenhance enhance SCAN [SCAN ...] -o OUT [options]
       bids_lfenhance BIDS_DIR OUT_DIR LEVEL [options]

Turns ultra-low-field brain MRI (64 mT) into high-field-like images, and says how far to trust them.

one scan, without a dataset:
  enhance               the stacks of one contrast to one image:  bids_lfenhance enhance --help

a BIDS dataset, by LEVEL:
{levels}

examples:
  bids_lfenhance enhance axi.nii.gz cor.nii.gz sag.nii.gz -o enhanced.nii.gz
  bids_lfenhance BIDS_DIR OUT_DIR participant --dry-run
  bids_lfenhance BIDS_DIR OUT_DIR participant --participant-label 01 02 --nprocs 4 --mem-gb 16
  bids_lfenhance BIDS_DIR OUT_DIR group

options of every level:
  --config-file TOML    settings file, as an earlier run left it (participant: in OUT_DIR/logs)
  --dry-run             print the plan and the settings, then stop
  --help-method NAME    the settings of one method or simulator, then stop
  --version, --citation
  -h, --help            this text; with a level, its options

methods: {methods}

{epilog}"""

EPILOG = """exit codes: 0 everything asked for is on disk; 1 a subject failed or is incomplete;
2 the command or the input cannot be used; 3 (participant) nothing to do, as no low-field session matches;
130 stopped by Ctrl-C or SIGTERM. Research use only; never for a diagnosis."""


def overview() -> str:
    """The text of ``--help`` where no level is named."""
    levels = "\n".join(
        f"  {level:<21} {_first(ABOUT[level])}\n{'':24}bids_lfenhance {level} --help" for level in LEVELS
    )
    methods = ", ".join(part.name for part in parts_of("participant"))
    return OVERVIEW.format(levels=levels, methods=methods, epilog=EPILOG)


def _first(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")


USES = {
    "participant": "in use (level participant)",
    "simulate": "as a simulator (level simulate; in a training: simulator.KEY)",
    "train": "in its training (level train)",
}
"""When the settings of a method or simulator apply, by level."""


def describe_method(name: str) -> str:
    """The settings of one method or simulator: what each does, takes, and is by default, for each use it has.

    Raise ``InputError`` where there is none of that name.
    """
    parts = {level: [part for part in parts_of(level) if part.name == name] for level in USES}
    by_level = {level: own[0] for level, own in parts.items() if own and (level != "train" or own[0].kind == "method")}
    if not by_level:
        names = dict.fromkeys(part.name for level in USES for part in parts_of(level))
        message = (
            f"Expected a method or simulator after --help-method ({', '.join(names)}), found '{name}'; "
            f"{did_you_mean(name, names)}choose one of these."
        )
        raise InputError(message, code="unknown-choice", option="help_method", value=name)
    sections = [_section(level, part) for level, part in by_level.items()]
    how = "Give them as --set KEY=VALUE [KEY=VALUE ...], or in the [method] or [simulator] table of a settings file."
    return "\n\n".join([f"Settings of {name}. {how}", *sections])


def _section(level: str, part: Part) -> str:
    lines = [f"{USES[level]}:"]
    hints = typing.get_type_hints(part.known)
    for key, item in part.fields.items():
        spelt = f"{key} or {flag(key)}" if key in shared(level) else key
        default = "" if item.default is None else f" (default: {_word(item.default)})"
        lines += _wrapped(spelt, f"{words_of(hints[key])}: {item.metadata['help']}{default}")
    if len(lines) == 1:
        lines.append("  none")
    return "\n".join([*lines, *_changes(part)])


def _wrapped(head: str, text: str) -> list[str]:
    import textwrap

    lines = textwrap.wrap(text, 96, initial_indent=" " * 24, subsequent_indent=" " * 24)
    if len(head) < 21:
        lines[0] = f"  {head:<22}{lines[0][24:]}"
        return lines
    return [f"  {head}", *lines]


def _changes(part: Part) -> list[str]:
    """What the presets of a training change, or what each budget does of a method in use."""
    if part.kind != "method":
        return []
    from ..methods import description

    about = description(part.name)
    option, tables = ("--budget", about.budgets) if part.offered == (about.sampling,) else ("--preset", about.presets)
    return [
        line
        for name, changed in tables.items()
        for line in _wrapped(
            f"{option} {name}", " ".join(f"{k}={_word(v)}" for k, v in changed.items()) or "the defaults"
        )
    ]


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def print_lines(*lines: Any) -> None:
    """Print results to stdout; where their reader has gone (``| head``), this and what follows go nowhere."""
    try:
        for line in lines:
            print(line, flush=True)  # noqa: T201
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
