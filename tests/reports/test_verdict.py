"""The verdict is the gravest of what is known, and says why without saying it eight times."""

from pathlib import Path

from bids_lfenhance.reports.collect import Channel, Output, Session
from bids_lfenhance.reports.verdict import verdict_of, warnings_of

from .test_tables import row, session

GOOD = {
    "Scans": [{"File": "a", "SNR": 12.0, "RotationDeg": 1.0, "TranslationMm": 1.0, "Coverage": 1.0}],
    "Anatomy": {"MaskVolumeMl": 1400.0, "Similarity": 0.9},
    "Risk": {"T1w": {"FractionAbove": 0.001, "FractionSeen": 1.0}},
    "Reference": {"Session": "GE"},
}


def test_the_verdict_is_the_gravest():
    win, loss = ((row("preproc", a), row("inr", b)) for a, b in ((20.0, 21.0), (21.0, 20.0)))
    assert verdict_of(session(GOOD, win), None, ()).word == "pass"
    assert verdict_of(session(GOOD, loss), None, ()).word == "review"
    assert verdict_of(session(GOOD, win, ("a file",)), None, ()).word == "fail"
    assert verdict_of(session(GOOD, win), None, ("x cannot be read.",)).word == "fail"
    assert verdict_of(session(), None, ()).word == "fail"
    noisy = GOOD | {"Scans": [GOOD["Scans"][0] | {"SNR": 1.0}]}
    verdict = verdict_of(session(noisy, loss), None, ())
    assert verdict.word == "fail"
    assert any("worse than the plain mean" in reason for reason in verdict.reasons)


def test_what_holds_for_several_scans_is_said_once():
    scans = [
        GOOD["Scans"][0] | {"File": f"sub-01_ses-A_acq-{plane}_T1w.nii.gz", "SNR": 5.0} for plane in ("axi", "cor")
    ]
    reasons = verdict_of(session(GOOD | {"Scans": scans}), None, ()).reasons
    told = [reason for reason in reasons if "ignal-to-noise" in reason]
    assert len(told) == 1
    assert "of 2 scans (acq-axi_T1w 5; acq-cor_T1w 5), at least 8 is wanted" in told[0]


def test_an_odd_record_is_for_review():
    odd = {"Scans": [None, 3, {"Zooms": "x", "SNR": None, "Plane": 7}], "Risk": [1], "Anatomy": None, "Warnings": "x"}
    assert verdict_of(session(odd), None, ()).word == "review"


def test_without_high_field_it_says_that_fidelity_is_unknown():
    alone = {key: value for key, value in GOOD.items() if key != "Reference"}
    verdict = verdict_of(session(alone), None, ())
    assert verdict.word == "pass"
    assert "fidelity was not measured" in verdict.reasons[-1]


def test_a_warning_is_told_once_though_it_stands_beside_every_contrast():
    def image(*warnings: str) -> Output:
        return Output(Path("x.nii.gz"), {}, "T1w", {"Warnings": list(warnings)})

    channels = tuple(
        Channel(name, enhanced={"cfm": image("It moved."), "pfsr": image("Odd.")}, risk={"cfm": image("Blind.")})
        for name in ("T1w", "T2w")
    )
    found = warnings_of(Session("A", ("cfm", "pfsr"), channels, None, {"Warnings": ["It moved."]}, (), ()))
    assert found == ["It moved.", "pfsr: Odd.", "T1w cfm: Blind.", "T2w cfm: Blind."]
