"""What the page says of each image is what its sidecar says; what is not there is usable for nothing."""

from dataclasses import replace
from pathlib import Path

from bids_lfenhance.evaluation.usable import Usable, judge
from bids_lfenhance.reports.collect import Channel, Output, Session
from bids_lfenhance.reports.usable import missing_outputs, summed_up, usable_images, warnings_of

GOOD, BAD = Usable("yes", "yes", "check", ("check to measure volumes: a",)), Usable("no", "no", "no", ("no: b",))


def image(usable: Usable, name: str = "x.nii.gz", **sidecar: object) -> Output:
    return Output(Path(name), {}, "T1w", usable.sidecar() | sidecar)


def session(record: dict, *channels: Channel) -> Session:
    labels = tuple(dict.fromkeys(label for channel in channels for label in channel.enhanced))
    return Session("A", labels, channels, None, record, {}, ())


def test_every_image_is_judged_as_its_sidecar_says():
    found = usable_images(session({}, Channel("T1w", enhanced={"a": image(GOOD), "b": image(BAD, "y.nii.gz")})))
    assert [(one.contrast, one.label, one.usable) for one in found] == [("T1w", "a", GOOD), ("T1w", "b", BAD)]


def test_what_is_not_there_or_broken_is_usable_for_nothing():
    channels = Channel("T1w", enhanced={"a": image(GOOD)}), Channel("T2w")
    first, second = usable_images(session({}, *channels), {"x.nii.gz": "x.nii.gz cannot be read."})
    assert first.usable.overall == second.usable.overall == "no"
    assert "cannot be read" in first.usable.reasons[0]


def test_a_session_without_an_image_has_its_row_with_the_reason():
    record = {"Failure": "no head was found", "Method": "fusionnet", "Scans": [{"Contrast": "T1w"}]}
    for channels in ((), (Channel("T1w"),)):
        (one,) = usable_images(session(record, *channels))
        assert (one.label, one.usable) == ("fusionnet", judge({"Failure": "no head was found"}))


def test_a_sidecar_that_does_not_say_is_for_checking():
    for odd in ({"Usable": None}, {"Usable": {"look": "yes"}}, {"Usable": {"look": "pass"} | GOOD.words | {"look": 1}}):
        (one,) = usable_images(session({}, Channel("T1w", enhanced={"a": image(GOOD, **odd)})))
        assert set(one.usable.words.values()) == {"check"}
        assert not one.usable.verified


def test_a_session_has_the_worst_word_of_its_images_and_all_reasons_once():
    common = ("check to measure volumes: a", "check: moved")
    one = image(replace(GOOD, reasons=common))
    other = image(Usable("check", "check", "check", common[1:]), "y.nii.gz")
    row = summed_up(
        usable_images(session({}, Channel("T1w", enhanced={"m": one}), Channel("T2w", enhanced={"m": other})))
    )
    assert row == {
        "look": "check",
        "segment": "check",
        "measure": "check",
        "reasons": "T1w (m): check to measure volumes: a; check: moved",
    }


def test_gaps_name_what_is_missing():
    lacking = replace(session({}), missing=("a file",))
    assert missing_outputs(lacking, None, ["y cannot be read."]) == ["Missing: a file.", "y cannot be read."]


def test_a_warning_is_told_once_though_it_stands_beside_every_contrast():
    def warned(*warnings: str) -> Output:
        return Output(Path("x.nii.gz"), {}, "T1w", {"Warnings": list(warnings)})

    channels = tuple(
        Channel(name, enhanced={"cfm": warned("It moved."), "pfsr": warned("Odd.")}, risk={"cfm": warned("Blind.")})
        for name in ("T1w", "T2w")
    )
    found = warnings_of(Session("A", ("cfm", "pfsr"), channels, None, {"Warnings": ["It moved."]}, {}, ()))
    assert found == ([], ["It moved.", "pfsr: Odd.", "T1w cfm: Blind.", "T2w cfm: Blind."])
