"""Splits: by person, reproducible, and leaks refused by name."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.training.split import Split, check_no_leakage, check_unseen, make_split, read_split, write_split

from ..refusals import refused

PEOPLE = [f"ds/{i:02d}" for i in range(16)]


def test_fractions_cover_everybody_once() -> None:
    split = make_split([*PEOPLE, *PEOPLE], 3)
    assert sorted(split.train + split.validation + split.test) == PEOPLE
    assert (len(split.validation), len(split.test)) == (2, 3)
    assert split == make_split(reversed(PEOPLE), 3)
    assert split != make_split(PEOPLE, 4)


def test_folds_test_everybody_once() -> None:
    folds = [make_split(PEOPLE, 0, fold=(k, 5)) for k in range(1, 6)]
    assert sorted(person for fold in folds for person in fold.test) == PEOPLE
    for fold in folds:
        assert len(fold.train) + len(fold.validation) + len(fold.test) == 16
        assert fold.validation


@pytest.mark.parametrize("fold", [(0, 5), (6, 5), (1, 1), (1, 17)])
def test_folds_that_do_not_exist(fold: tuple[int, int]) -> None:
    with refused("bad-split", folds=fold[1]) as caught:
        make_split(PEOPLE, 0, fold=fold)
    assert f"number {fold[0] - 1};" in str(caught.value), "as --fold counts"


def test_one_person_is_too_few() -> None:
    with pytest.raises(InputError, match="train on"):
        make_split(PEOPLE[:1], 0)


def test_a_split_is_read_as_it_was_written(tmp_path: Path) -> None:
    split = make_split(PEOPLE, 1)
    assert read_split(write_split(split, tmp_path / "split.json")) == split


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"train": 3}', '{"train": "12"}', '{"train": []}', '{"train": ["a"], "val": ["b"]}']
)
def test_what_is_no_split_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(InputError, match="Expected"):
        read_split(tmp_path / "split.json")


def test_a_person_named_twice_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text('{"train": ["b", "a", "b"]}')
    with pytest.raises(InputError, match="found b more often"):
        read_split(tmp_path / "split.json")


def test_the_same_person_in_two_parts_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found b, c in both train and test"):
        Split(("a", "b", "c"), (), ("c", "b"))
    (tmp_path / "split.json").write_text('{"train": ["ds/1"], "validation": ["ds/1"]}')
    with pytest.raises(InputError, match="ds/1 in both train and validation"):
        read_split(tmp_path / "split.json")


def test_a_test_person_that_an_earlier_stage_saw_is_refused_by_name() -> None:
    split = Split(("ds/1",), ("ds/2",), ("ds/3", "ds/4"))
    check_no_leakage(split, {"weights x": ["ds/1", "other/3"]})
    with pytest.raises(InputError, match=r"weights y was trained on ds/4"):
        check_no_leakage(split, {"weights x": [], "weights y": ["ds/4", "ds/1"]})


def test_weights_to_begin_with_must_not_have_learned_from_who_validates() -> None:
    start: Any = SimpleNamespace(path="w", trained_on=("ds/1", "ds/2"), recipe={"split": {"validation": ["ds/2"]}})
    check_unseen(Split(("ds/1",), ("ds/2",), ("ds/3",)), start)  # who only validated them may do so again
    with pytest.raises(InputError, match=r"validation subjects .* was trained on ds/1; move"):
        check_unseen(Split(("ds/2",), ("ds/1",), ("ds/3",)), start)
    with pytest.raises(InputError, match=r"test subjects .* was trained on ds/2; move"):
        check_unseen(Split(("ds/1",), (), ("ds/2",)), start)
    start.recipe = {}  # nothing tells who only validated
    with pytest.raises(InputError, match=r"validation subjects .* was trained on ds/2; move"):
        check_unseen(Split(("ds/1",), ("ds/2",), ("ds/3",)), start)
