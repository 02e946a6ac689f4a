"""Subjects whom the weights in use have seen: their figures say nothing about other people."""

from dataclasses import replace
from pathlib import Path

from ..bids.sessions import LowFieldSession, Plan
from ..config import RunSpec
from ..methods import description
from .training_plan import dataset_name


def with_seen_subjects(plan: Plan, spec: RunSpec) -> Plan:
    """The plan, with a warning to each session of a subject whom weights of the run were trained or validated on.

    Subjects are known as the weights name them: by the dataset's name and their label.
    """
    from ..methods.residual_options import ESTIMATE
    from ..nn.weights import load_weights

    about, dataset = description(spec.method), dataset_name(Path(spec.bids_dir))
    used = {about.weights_name: spec.method_settings["weights"]} if about.needs_weights else {}
    if "estimate" in spec.method_settings:
        used[ESTIMATE] = spec.method_settings["estimate"]
    if spec.segmentation == "builtin":
        used["regions"] = spec.segmentation_weights
    seen = {name: load_weights(source, name, ()).trained_on for name, source in used.items()}

    def warned(session: LowFieldSession) -> LowFieldSession:
        if not (by := [name for name, people in seen.items() if f"{dataset}/{session.subject}" in people]):
            return session
        sentence = f"the weights of {' and '.join(by)} were trained or validated on this subject: its figures say "
        return replace(session, warnings=(*session.warnings, sentence + "nothing about other people."))

    return replace(plan, sessions=tuple(map(warned, plan.sessions)))
