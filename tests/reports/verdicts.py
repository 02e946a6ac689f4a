"""The verdicts of a made-up derivative, worked out from what lies on disk, as those of a real one can be."""

import json
from pathlib import Path

from bids_lfenhance.bids.sidecars import optional_json
from bids_lfenhance.evaluation.evidence import evidence
from bids_lfenhance.evaluation.usable import Usable, judge
from bids_lfenhance.reports.collect import list_outputs

from ..tables import read_numbers


def verdicts(out: Path) -> dict[Path, Usable]:
    """What every enhanced image is usable for, by the path of its sidecar: from record, metrics and sidecar alone."""
    found = {}
    for subject in sorted(out.glob("sub-*")):
        for output in list_outputs(subject) if subject.is_dir() else ():
            head = "_".join(output.path.name.split("_")[: 2 if "ses" in output.entities else 1])
            record = optional_json(output.path.with_name(f"{head}_desc-preproc_qc.json"))
            label = output.desc
            made = output.sidecar.get("Synthetic") or "Usable" in output.sidecar
            if output.suffix in ("T1w", "T2w", "FLAIR") and made and record:
                rows = read_numbers(output.path.with_name(f"{head}_desc-{label}_qc.tsv"))
                usable = judge(evidence(record, output.suffix, label, rows, output.sidecar))
                found[output.path.with_name(output.path.name.replace(".nii.gz", ".json"))] = usable
    return found


def write_verdicts(out: Path) -> None:
    """Leave them in the sidecars."""
    for path, usable in verdicts(out).items():
        path.write_text(json.dumps(optional_json(path) | usable.sidecar()))
