import numpy as np

from bids_lfenhance.imaging.acquisition import Acquisition
from bids_lfenhance.imaging.fusion import slab_profile
from bids_lfenhance.imaging.grid import Grid, apply_affine
from bids_lfenhance.imaging.profile import FWHM_PER_SD
from bids_lfenhance.methods.inr.observations import Coordinates, fused_base, observe, scales_of, support_of, voxels_in

from ..phantoms import small_session, thick_session


def test_coordinates_fill_the_longest_side_and_keep_their_proportions() -> None:
    grid = Grid(np.diag([1.0, 2.0, 1.0, 1.0]), (20, 30, 40))
    ends = Coordinates.of(grid)(grid.corners())
    np.testing.assert_allclose(np.abs(ends).max(axis=0), [20 / 60, 1, 40 / 60], atol=1e-6)


def test_observations_are_the_stacks_and_their_prediction(rng: np.random.Generator) -> None:
    session = small_session(rng)
    support = support_of(session)
    scales = scales_of(session, support)
    base = fused_base(session, "mean", support)
    seen = observe(session, base, scales, session.tissue, support)  # type: ignore[arg-type]
    assert seen.contrast.max() == 1
    assert seen.stack.max() == 3
    stack = session.stacks[0]  # acq-axi_T1w comes first in the sorted order too
    mine = seen.stack == 0
    whole = Acquisition.of(stack, session.grid).forward(base[0])
    found = Coordinates.of(session.grid)
    index = np.argwhere(np.ones(stack.data.shape, dtype=bool))
    at = {tuple(np.round(p, 5)): tuple(i) for p, i in zip(found(apply_affine(stack.affine, index)), index, strict=True)}
    for number in np.flatnonzero(mine)[::97]:
        voxel = at[tuple(np.round(seen.point[number], 5))]
        np.testing.assert_allclose(seen.value[number] * scales[0], stack.data[voxel], rtol=1e-5)
        np.testing.assert_allclose(seen.base[number] * scales[0], whole[voxel], atol=1e-4)
    np.testing.assert_allclose(seen.tissue.sum(axis=1), 1, atol=1e-5)


def test_the_profile_has_the_width_of_the_slice(rng: np.random.Generator) -> None:
    session = small_session(rng)
    support = support_of(session)
    base = fused_base(session, "none", support)
    seen = observe(session, base, scales_of(session, support), session.tissue, support)  # type: ignore[arg-type]
    assert not seen.base.any()
    width = np.linalg.norm(seen.profile, axis=1) * Coordinates.of(session.grid).half * 2.3548
    np.testing.assert_allclose(width, np.tile([2.0, 2.0, 4.0], (4, 1)), rtol=1e-3)


def test_a_slab_has_the_profile_that_the_fusion_takes(rng: np.random.Generator) -> None:
    session, _ = thick_session(rng)
    support = support_of(session)
    base = fused_base(session, "mean", support)
    seen = observe(session, base, np.ones(1), session.tissue, support)  # type: ignore[arg-type]
    width = np.linalg.norm(seen.profile, axis=1) * Coordinates.of(session.grid).half * FWHM_PER_SD
    np.testing.assert_allclose(width, [slab_profile((2.0, 2.0, 5.0))], rtol=1e-3)
    stack = session.stacks[0]
    whole = Acquisition(Grid(stack.affine, stack.data.shape), slab_profile(stack.fwhm), session.grid).forward(base[0])
    _, inside = voxels_in(stack, session.grid, support)
    np.testing.assert_allclose(seen.base, whole[inside], atol=1e-4)
