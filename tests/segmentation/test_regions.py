"""The list of regions: complete, its sides each other's mirror, and read from label maps or refused."""

import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.segmentation.regions import (
    indices,
    label_table,
    mirrored_channels,
    read_kinds,
    regions,
)

from .heads import as_channels, as_kinds, head_of_blocks

WANTED = {
    *(2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 26, 28),
    *(41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60),
}


def test_the_regions_are_those_of_the_issue():
    assert {region.index for region in regions()} == WANTED
    assert len({region.name for region in regions()}) == 32
    sides = {frozenset((region.index, region.mirror)): region.colour for region in regions()}
    assert len(set(sides.values())) == len(sides), "both sides in one colour, no two regions in the same"
    assert all(sum(region.tissue) == pytest.approx(1) for region in regions())


def test_mirrors_are_involutions_that_only_change_the_side():
    mirror = mirrored_channels()
    np.testing.assert_array_equal(mirror[mirror], np.arange(33))
    name = {region.index: region.name for region in regions()}
    for region in regions():
        other = name[region.mirror]
        assert other.replace("right", "").replace("left", "") == region.name.replace("right", "").replace("left", "")
        assert (other == region.name) is not region.name.startswith(("left", "right"))


def test_labels_are_read_as_kinds_and_kinds_as_channels():
    labels = head_of_blocks()
    read = read_kinds(labels)
    np.testing.assert_array_equal(read, as_kinds(labels))
    np.testing.assert_array_equal(indices()[as_channels(labels)], labels)
    strange = labels.copy()
    strange[labels == 0] = 255
    np.testing.assert_array_equal(read_kinds(strange), read)


def test_a_map_without_a_region_is_refused_by_name():
    labels = head_of_blocks()
    labels[labels == 53] = 0
    with pytest.raises(InputError, match="right hippocampus"):
        read_kinds(labels)


def test_the_table_of_labels_has_numbers_names_and_colours():
    assert label_table()[-1] == ("60", "right ventral DC", "#bf5168", "Right-VentralDC")
