"""Examples: what was written is what is read, cropped, scaled, masked."""

import json
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.training.examples import list_examples, read_example, write_example

from .toy import PLACE, make_example, make_volume


def test_round_trip(tmp_path: Path, rng: np.random.Generator) -> None:
    shape = (40, 36, 30)
    low, high = make_volume(rng, ["T1w", "FLAIR"], shape, 900.0), make_volume(rng, ["T1w", "T2w"], shape, 3e5)
    mask = np.zeros(shape, bool)
    mask[12:20, 10:25, 3:28] = True
    origin = {"simulator": "x", "seed": [1, 2]}
    path = write_example(
        tmp_path / "a" / "b", low, high, mask, PLACE, "pairs", "01", "B", origin, dataset="d", sources=[("f", "0a")]
    )
    found = read_example(path)
    assert (found.kind, found.person, found.session) == ("pairs", "d/01", "B")
    assert (found.origin, found.sources) == (origin, (("f", "0a"),))
    assert found.contrasts == {"low": ("T1w", "FLAIR"), "high": ("T1w", "T2w")}
    box = (slice(4, 28), slice(2, 33), slice(0, 30))
    np.testing.assert_array_equal(found.mask, mask[box])
    assert isinstance(found.low, np.memmap)
    assert found.low.dtype == np.float16
    for array, volume, name in ((found.low, low, "low"), (found.high, high, "high")):
        for channel, contrast, scale in zip(array, found.contrasts[name], found.scales[name], strict=True):
            expected = np.where(mask, volume.channel(contrast), 0)[box]
            np.testing.assert_allclose(channel * np.float64(scale), expected, atol=1e-3 * scale)
            assert np.percentile(channel[found.mask], 99.9) == pytest.approx(1, abs=2e-3)
    # The corner of the crop is still where it was, in millimetres and in the common space.
    at = np.array([4, 2, 0, 1.0])
    np.testing.assert_allclose(found.affine[:, 3], low.grid.affine @ at)
    np.testing.assert_allclose(found.to_template[:, 3], PLACE @ at)


def test_a_rewrite_replaces_and_listing_skips_drafts(tmp_path: Path) -> None:
    make_example(tmp_path, "s2", 5)
    make_example(tmp_path, "s1", 5)
    make_example(tmp_path, "s1", 5, low=("T1w",))
    draft = tmp_path / ".tmp-123-new-x"
    draft.mkdir()
    (draft / "example.json").write_text("{}")
    found = list_examples(tmp_path)
    assert [example.subject for example in found] == ["s1", "s2"]
    assert found[0].contrasts["low"] == ("T1w",)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".tmp-123-new-x", "s1-5", "s2-5"]


def test_what_is_broken_is_named(tmp_path: Path) -> None:
    example = make_example(tmp_path, "s1", 0)
    (example.folder / "low.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"low\.npy"):
        _ = read_example(example.folder).low
    (example.folder / "example.json").write_text(json.dumps({"kind": "pairs"}))
    with pytest.raises(InputError, match="s1-0"):
        read_example(example.folder)
    with pytest.raises(InputError, match="nowhere"):
        read_example(tmp_path / "nowhere")


def test_an_empty_brain_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    volume = make_volume(rng, ["T1w"], (8, 8, 8), 1.0)
    with pytest.raises(InputError, match="brain"):
        write_example(tmp_path / "x", volume, volume, np.zeros((8, 8, 8), bool), PLACE, "pairs", "1", "", {})
    assert not list(tmp_path.iterdir())
