"""Sessions made for training: what a simulator makes of a phantom, fused and masked."""

from types import SimpleNamespace

import numpy as np
import pytest

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging.fusion import fuse_sr
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.methods.options import AskedFusion
from bids_lfenhance.simulators import get_simulator
from bids_lfenhance.simulators.physics import bias_field
from bids_lfenhance.simulators.presets import get_preset
from bids_lfenhance.simulators.source import HighField
from bids_lfenhance.training import sessions
from bids_lfenhance.training.sessions import PLANES, SPREAD, chosen_contrasts, simulated_session
from tests import oracle


@pytest.fixture(scope="module")
def head() -> HighField:
    image, affine, tissue = oracle.phantom_head(40, np.random.default_rng(0))
    return HighField(
        image, "T1w", tissue, tissue.sum(axis=0) > 0.5, Grid(affine, image.shape), np.diag([1 / 32] * 3 + [1.0])
    )


def session(head: HighField, seed: int, planes: tuple[str, ...] | None = None, fusion: AskedFusion = "mean"):
    simulator = get_simulator("physics")
    settings = simulator.settings(**SPREAD["physics"])
    return simulated_session(simulator, [head], settings, np.random.default_rng(seed), planes, fusion)


def test_a_session_is_decided_by_its_generator(head: HighField) -> None:
    one, two, other = (session(head, seed, ("axi",)) for seed in (1, 1, 2))
    assert np.array_equal(one.low.image, two.low.image)
    assert one.origin == two.origin
    assert not np.array_equal(one.low.image, other.low.image)


def test_low_field_lies_where_the_high_field_lies(head: HighField) -> None:
    made = session(head, 3, PLANES[0])
    low = made.low.channel("T1w")[head.mask]
    # Half a voxel of misplacement per mm of shift would cost far more than the blur and the noise do.
    assert np.corrcoef(low, head.image[head.mask])[0, 1] > 0.8
    overlap = 2 * (made.mask & head.mask).sum() / (made.mask.sum() + head.mask.sum())
    assert overlap > 0.9
    assert [record["plane"] for record in made.origin["records"]] == ["axi", "cor", "sag"]
    shading = bias_field(head.grid.shape, made.origin["shading"])
    assert 0 < shading.std() < 0.2
    assert np.array_equal(made.high.channel("T1w"), head.image * shading)


def test_planes_are_drawn_and_one_thick_stack_is_among_them(head: HighField) -> None:
    drawn = {tuple(session(head, seed).origin["planes"]) for seed in range(3)}
    assert PLANES[0] in drawn
    assert any(len(planes) == 1 for planes in drawn)


def test_stacks_are_fused_as_the_method_wants_them(head: HighField) -> None:
    plain, sharp = (session(head, 3, ("axi",), how) for how in ("mean", "sr"))
    np.testing.assert_array_equal(plain.mask, sharp.mask)
    assert plain.origin["records"] == sharp.origin["records"]
    np.testing.assert_array_equal(sharp.low.channel("T1w"), fuse_sr(sharp.low.stacks, head.grid, sharp.mask))
    assert not np.allclose(sharp.low.image, plain.low.image, atol=1e-2)


def test_fusion_is_not_told_how_sharp_a_stack_truly_is(head: HighField) -> None:
    """In use its resolution is taken for its voxel size; the truth is in the record alone."""
    made = session(head, 3, PLANES[0], "sr")
    for stack, record in zip(made.low.stacks, made.origin["records"], strict=True):
        assert stack.fwhm == get_preset("T1w", record["plane"]).zooms
        assert max(record["fwhm"]) < 0.9 * max(stack.fwhm)


def test_contrast_is_restored_by_the_tissue_of_the_low_field(head: HighField, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearer to high field than the sharp image alone, though its tissue is sought where the brain is found."""
    found_on: list[np.ndarray] = []

    def anatomy(image: np.ndarray, grid: Grid, contrast: str) -> SimpleNamespace:
        found_on.append(image)
        return SimpleNamespace(priors=head.tissue)

    monkeypatch.setattr(sessions, "find_anatomy", anatomy)
    alike = session(head, 3, ("axi",), "restored")
    plain = session(head, 3, ("axi",))
    np.testing.assert_array_equal(found_on[0], plain.low.channel("T1w"))
    sharp, both = fuse_sr(alike.low.stacks, head.grid, alike.mask), alike.mask & head.mask
    found = [np.corrcoef(one[both], head.image[both])[0, 1] for one in (sharp, alike.low.channel("T1w"))]
    assert found[1] > found[0] + 0.003
    assert alike.origin["fusion"] == "restored"


def test_only_the_contrasts_asked_for(head: HighField) -> None:
    high = session(head, 1, ("axi",)).high
    assert chosen_contrasts(high, ()).contrasts == ("T1w",)
    none = chosen_contrasts(high, ("T2w",))
    assert none.contrasts == ()
    assert not none.image[CONTRASTS.index("T1w")].any()
