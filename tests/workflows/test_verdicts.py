"""What a run says at its end agrees with what it left on disk, and ``--strict`` goes by it."""

from dataclasses import replace
from pathlib import Path

import pytest

from bids_lfenhance.bids.names import sidecar_path
from bids_lfenhance.bids.sessions import LowFieldSession
from bids_lfenhance.bids.sidecars import optional_json
from bids_lfenhance.config import RunSpec
from bids_lfenhance.derivatives.files import write_json
from bids_lfenhance.derivatives.layout import session_layout
from bids_lfenhance.evaluation.usable import Usable, judge
from bids_lfenhance.reports.collect import collect
from bids_lfenhance.workflows.run import Outcome, _apply_strict, summary
from bids_lfenhance.workflows.runner import Failure
from bids_lfenhance.workflows.verdicts import image_verdicts, record_failures, verdict_lines

from ..derivatives.sessions import make_session, make_spec

NOISY = judge({"Scans": [{"File": "x.nii.gz", "SNR": 2.4}], "Anatomy": {}})


@pytest.fixture
def given(tmp_path: Path) -> tuple[list[LowFieldSession], RunSpec]:
    """A good subject, a noisy one, and one of which no image was made."""
    spec = make_spec(out_dir=str(tmp_path / "out"), bids_dir=str(tmp_path / "raw"))
    sessions = [make_session(tmp_path / "raw", "unpaired", subject) for subject in ("good", "noisy", "phantom")]
    for session, usable in zip(
        sessions, (Usable("yes", "yes", "check", ("check to measure volumes: a",)), NOISY), strict=False
    ):
        leave(session, spec, usable)
    return sessions, spec


def leave(session: LowFieldSession, spec: RunSpec, usable: Usable) -> None:
    for key, path in session_layout(session, spec).items():
        if key.startswith("enhanced/"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            write_json(sidecar_path(path), usable.sidecar())


FAILED = Failure("lfenhance.sub_phantom_wf.session_HFC_wf.prepare", "axi_T1w shows no head", None)


def test_the_end_of_a_run_counts_by_purpose_and_names_what_is_of_no_use(given):
    sessions, spec = given
    record_failures(sessions, spec, [FAILED])
    lines = verdict_lines(image_verdicts(sessions, spec, {"broken": ["sidecar is not JSON; mend it"]}))
    assert lines[0] == "sub-good_ses-HFC T1w: look yes, segment yes, measure check (a)"
    assert lines[2] == "sub-noisy_ses-HFC T1w: look no, segment no, measure no (SNR 2.4)"
    looked, _, measured = lines[-3:]
    assert looked == (
        "Usable to look at: 2 yes, 0 check, 5 no: sub-noisy_ses-HFC T1w (SNR 2.4), sub-noisy_ses-HFC T2w (SNR 2.4), "
        "sub-phantom_ses-HFC T1w (axi_T1w shows no head), sub-phantom_ses-HFC T2w (axi_T1w shows no head), "
        "sub-broken (sidecar is not JSON)"
    )
    assert measured == "Usable to measure volumes: 0 yes, 2 check, 5 no", "who they are was said"


def test_a_failed_session_leaves_a_record_that_its_page_shows(given):
    sessions, spec = given
    record_failures(sessions, spec, [FAILED])
    (found,) = collect(Path(spec.out_dir), "phantom").sessions
    assert found.record["Failure"] == "axi_T1w shows no head"
    assert [channel.contrast for channel in found.channels] == ["T1w", "T2w"]
    assert not session_layout(sessions[0], spec)["qc"].exists(), "its images are there"


def test_a_failed_rerun_does_not_overwrite_the_record_of_an_earlier_one(given):
    sessions, spec = given
    qc = session_layout(sessions[2], spec)["qc"]
    for before, after in (({"Scans": [1]}, None), ({"Failure": "other"}, "axi_T1w shows no head")):
        write_json(qc, before)
        record_failures(sessions, spec, [FAILED])
        assert optional_json(qc).get("Failure") == after


def test_strict_makes_what_is_of_no_use_a_failure(given):
    sessions, spec = given
    outcome = Outcome(Path("logs"), done=["good"], already=["noisy"], images=image_verdicts(sessions[:2], spec, {}))
    assert outcome.exit_code == 0
    assert "Everything asked for is on disk." in summary(outcome, Path("out"))
    _apply_strict(outcome)
    assert (outcome.done, outcome.already, outcome.exit_code) == (["good"], [], 1)
    assert "FAILED sub-noisy: sub-noisy_ses-HFC T1w is usable for nothing: SNR 2.4" in summary(outcome, Path("out"))


def test_many_images_are_summed_up(given):
    sessions, spec = given
    many = [replace(sessions[0], subject=f"g{number}") for number in range(30)]
    for session in many:
        leave(session, spec, NOISY)
    lines = verdict_lines(image_verdicts(many, spec, {}))
    assert len(lines) == 16
    assert lines[12] == "… and 48 more images"
    assert all("60 no" in line for line in lines[-3:])
    assert lines[-3].endswith("…")


def test_strict_leaves_what_can_be_looked_at(given):
    sessions, spec = given
    leave(sessions[0], spec, Usable("check", "no", "no", ("no to segment: a",)))
    outcome = Outcome("logs", done=["good"], images=image_verdicts(sessions[:1], spec, {}))
    _apply_strict(outcome)
    assert (outcome.done, outcome.exit_code) == (["good"], 0)
