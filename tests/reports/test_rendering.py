"""Pictures show what the arrays say: orientation, window, colours, outlines."""

import io

import numpy as np
import pytest
from PIL import Image

from bids_lfenhance.reports import rendering as fig

from .fake_derivative import phantom


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_left_is_left_and_up_is_up():
    volume = np.zeros((4, 5, 6))
    volume[0, 4, 5] = 1  # left, anterior, superior
    assert fig.plane_slice(volume, "axial", 5)[0, 0] == 1
    assert fig.plane_slice(volume, "coronal", 4)[0, 0] == 1
    assert fig.plane_slice(volume, "sagittal", 0)[0, 4] == 1


def test_images_in_the_same_units_share_a_window_and_others_do_not(rng: np.random.Generator):
    low = rng.uniform(10, 100, 5000)
    windows = fig.shared_windows({"low": low, "inr": low * 1.1, "high": low * 9})
    assert windows["low"] == windows["inr"]
    assert windows["low"] == (0, pytest.approx(np.percentile(low * 1.1, 99.7)))
    assert windows["high"][1] == pytest.approx(9 * np.percentile(low, 99.7))


def test_a_constant_image_still_has_a_window():
    (window,) = fig.shared_windows({"low": np.zeros(9)}).values()
    assert window[1] > window[0]


def test_slices_avoid_a_stray_voxel():
    mask = np.zeros((40, 40, 100), bool)
    mask[5:35, 5:35, 30:60] = True
    mask[20, 20, 99] = True
    indices = fig.slice_range(mask, "axial")
    assert 30 <= min(indices) < max(indices) < 60


def test_a_map_is_painted_above_its_threshold_inside_the_brain_only():
    values = np.array([[0.0, 1.9, 2.1, 6.0, np.nan, 6.0]])
    where = np.array([[True, True, True, True, True, False]])
    grey = np.full(values.shape, 100, np.uint8)
    rgb = fig.overlay_map(grey, values, where, fig.Scale("magma", (0, 6), "noise units", 2.0))
    table = fig.colour_table("magma")
    assert (rgb[0, [0, 1, 5]] == 100 * fig.DIMMED).all()
    assert tuple(rgb[0, 3]) == tuple(table[255])
    assert tuple(rgb[0, 2]) == tuple(table[int(255 * 2.1 / 6)])
    assert tuple(rgb[0, 4]) == fig.UNKNOWN_COLOUR


def test_a_sheet_holds_the_axial_slices_in_reading_order():
    volume = np.random.default_rng(3).integers(0, 256, (6, 8, 5)).astype(np.uint8)
    sheet, across = fig.mosaic(volume), fig.columns_of(5)
    assert sheet.shape == (2 * 8, across * 6)
    for number in range(5):
        row, column = divmod(number, across)
        tile = sheet[row * 8 : (row + 1) * 8, column * 6 : (column + 1) * 6]
        assert (tile == fig.plane_slice(volume, "axial", number)).all()
    coloured = fig.mosaic(np.repeat(volume[..., None], 3, axis=-1))
    assert (coloured == sheet[..., None]).all()


def test_labels_come_back_from_the_page_as_they_were_and_images_nearly():
    labels = np.random.default_rng(3).integers(0, 60, (16, 16, 9)).astype(np.uint8)
    assert (opened(fig.encode_png(labels))[..., 0] == fig.mosaic(labels)).all()
    image = (phantom((40, 40, 40)) * 60).astype(np.uint8)
    assert np.abs(opened(fig.encode_webp(image, 75))[..., 0] - fig.mosaic(image)).mean() < 3
    assert [fig.data_uri(one)[:15] for one in (fig.encode_png(labels), fig.encode_webp(image, 50))] == [
        "data:image/png;",
        "data:image/webp",
    ]


def test_edges_of_a_step_lie_on_the_step():
    image = np.zeros((40, 40))
    image[:, 20:] = 100
    lines = fig.edges(image, np.ones_like(image, bool))
    assert set(np.flatnonzero(lines.any(axis=0))) <= {38, 39, 40, 41}
    assert lines[10:70].any(axis=1).all()


def test_edges_of_nothing_are_none():
    assert not fig.edges(np.zeros((20, 20)), np.zeros((20, 20), bool)).any()


def test_the_printed_sheet_shows_its_tiles_and_leaves_pyplot_alone():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    labels = fig.plane_slice(phantom((40, 40, 40)), "axial", 20)
    tile = fig.Tile((labels * 60).astype(np.uint8), ((labels >= 3, (255, 0, 0)),))
    scale = fig.Scale("viridis", (0.0, 8.0), "%", 2.0)
    sheet = opened(fig.sheet_figure([[tile, tile], [tile, tile]], ["a", "b"], ["c", "d"], {1: scale}, inches=4))
    assert plt.get_fignums() == before
    assert (sheet[0, 0] > 240).all()
    assert ((sheet[..., 0] - sheet[..., 1]) > 120).sum() > 100  # the red outline
    assert ((sheet[..., 0] > 200) & (sheet[..., 1] > 200) & (sheet[..., 2] < 120)).any()  # the top of viridis


def test_labels_are_tinted_and_the_rest_is_grey() -> None:
    ground = np.full((2, 2), 100, np.uint8)
    colours = np.zeros((256, 3), np.uint8)
    colours[17] = (200, 100, 0)
    found = fig.overlay_labels(ground, np.array([[17, 0], [0, 0]], np.uint8), colours, strength=0.5)
    assert found[0, 0].tolist() == [150, 100, 50]
    assert (found[1] == 100).all()
