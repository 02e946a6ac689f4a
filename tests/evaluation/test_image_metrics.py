"""The whole table against a second computation by scikit-image, numpy and scipy, protocol by protocol."""

import numpy as np
import pytest
from scipy import ndimage, spatial, stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bids_lfenhance.evaluation.image_metrics import image_metrics
from bids_lfenhance.evaluation.metric_definitions import DATA_DICTIONARY
from tests.oracle import brain_fit_psnr, phantom_head

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.fixture(scope="module")
def head():
    rng = np.random.default_rng(7)
    reference, _, tissue = phantom_head(48, rng)
    mask = tissue.sum(axis=0) > 0.5
    # Something bright outside the brain, as fat is, and air that is exactly zero at one side.
    reference[2:6, 10:40, 10:40] += 1.3
    reference[:, :, 44:] = 0
    mask[:, :, 44:] = False
    image = 40 * ndimage.gaussian_filter(reference, 1.0) + 3 + rng.normal(0, 1, reference.shape)
    image[:, :, 44:] = 0
    return image.astype(np.float32), reference.astype(np.float32), mask


@pytest.fixture(scope="module")
def table(head):
    return {(row["protocol"], row["region"], row["metric"]): row["value"] for row in image_metrics(*head)}


def test_brain_fit(head, table):
    image, reference, mask = head
    assert table["brain-fit", "brain", "psnr"] == pytest.approx(brain_fit_psnr(image, reference, mask), abs=1e-3)
    gain, offset = np.polyfit(image[mask].astype(float), reference[mask].astype(float), 1)
    ceiling = np.percentile(reference[mask], 99.9)
    x, y = (gain * image + offset).astype(float), reference.astype(float)
    _, full = structural_similarity(x, y, data_range=ceiling, full=True, **GAUSSIAN)
    inner = (slice(5, -5),) * 3
    assert table["brain-fit", "brain", "ssim"] == pytest.approx(full[inner][mask[inner]].mean(), abs=1e-5)
    assert table["brain-fit", "brain", "mae"] == pytest.approx(np.abs(x - y)[mask].mean() / ceiling, rel=1e-4)


@pytest.mark.parametrize("region", ["brain", "field"])
def test_max(head, table, region):
    image, reference, mask = (data.astype(float) for data in head)
    where = mask > 0 if region == "brain" else np.ones(mask.shape, bool)
    x, y = image / reference.max(), reference / reference.max()
    a, b = x[where], y[where]
    assert table["max", region, "psnr"] == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-3)
    assert table["max", region, "nmse"] == pytest.approx(np.sum((a - b) ** 2) / np.sum(b**2), rel=1e-4)
    assert table["max", region, "ncc"] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-5)
    bright = where & (y > 0.01)
    a, b = x[bright], y[bright]
    assert table["max", region, "wass"] == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-4)
    p, q = (np.histogram(np.clip(v, 0, 1), 256, (0, 1))[0] for v in (a, b))
    assert table["max", region, "js"] == pytest.approx(spatial.distance.jensenshannon(p, q) ** 2, rel=1e-2)
    assert table["max", region, "bhat"] == pytest.approx(-np.log(np.sqrt(p / p.sum() * q / q.sum()).sum()), rel=1e-2)


def test_max_ssim_field(head, table):
    image, reference, _ = (data.astype(float) / head[1].max() for data in head)
    expected = structural_similarity(image, reference, data_range=1, **GAUSSIAN)
    assert table["max", "field", "ssim"] == pytest.approx(expected, abs=1e-5)


def test_h2lo_strips_and_counts_the_zeros(head, table):
    image, reference, mask = head
    x, y = (data * mask / data[mask].max() for data in (image, reference))
    assert table["h2lo", "field", "psnr"] == pytest.approx(peak_signal_noise_ratio(y, x, data_range=1), abs=1e-3)
    expected = structural_similarity(x, y, data_range=1, **GAUSSIAN)
    assert table["h2lo", "field", "ssim"] == pytest.approx(expected, abs=1e-5)
    assert table["h2lo", "field", "empty"] == pytest.approx(1 - mask.mean())


def normalised(data: np.ndarray) -> np.ndarray:
    return (data - data.min()) / (data.max() - data.min())


def test_ulfenc_validation(head, table):
    x, y = normalised(head[0]), normalised(head[1])
    assert table["ulfenc-val", "field", "psnr"] == pytest.approx(peak_signal_noise_ratio(y, x, data_range=1), abs=1e-3)
    assert table["ulfenc-val", "field", "ssim"] == pytest.approx(structural_similarity(x, y, data_range=1), abs=1e-5)
    assert table["ulfenc-val", "field", "empty"] == pytest.approx(4 / 48)


def test_ulfenc_final(head, table):
    mask = head[2]
    x, y = normalised(head[0]) * mask, normalised(head[1]) * mask
    psnr = np.mean(10 * np.log10(1 / ((x - y)[mask].astype(np.float64) ** 2 + 1e-8)))
    assert table["ulfenc-final", "brain", "psnr_voxel"] == pytest.approx(psnr, abs=1e-3)
    _, full = structural_similarity(x, y, data_range=1, full=True)
    assert table["ulfenc-final", "brain", "ssim"] == pytest.approx(full[mask].mean(), abs=1e-5)
    nmse = np.mean((x - y)[mask] ** 2) / np.mean(y[mask] ** 2)
    assert table["ulfenc-final", "brain", "nmse"] == pytest.approx(min(1, nmse), rel=1e-4)


def test_slice2d_means_over_slices_with_brain(head, table):
    image, reference, mask = head
    enough = mask.mean(axis=(0, 1)) >= 0.01
    x, y = (np.clip(data / np.percentile(data[mask], 99.9), 0, 1.05)[:, :, enough] for data in (image, reference))
    slices = range(x.shape[2])
    psnr = np.mean([peak_signal_noise_ratio(y[:, :, k], x[:, :, k], data_range=1) for k in slices])
    ssim = np.mean([structural_similarity(x[:, :, k], y[:, :, k], data_range=1, **GAUSSIAN) for k in slices])
    assert 0 < enough.sum() < enough.size
    assert table["slice2d", "field", "psnr"] == pytest.approx(psnr, abs=1e-3)
    assert table["slice2d", "field", "ssim"] == pytest.approx(ssim, abs=1e-5)


def test_an_inverted_image_is_not_forgiven(head):
    """The fit of ``brain-fit`` may turn the image round; correlation tells that it did."""
    _, reference, mask = head
    rows = image_metrics(2 - reference, reference, mask)
    values = {(row["protocol"], row["metric"]): row["value"] for row in rows if row["region"] == "brain"}
    assert values["brain-fit", "psnr"] > 100
    assert values["brain-fit", "ncc"] == pytest.approx(-1)


def test_a_mask_without_a_slice_of_brain_has_no_figures_by_slice(head):
    image, reference, _ = head
    mask = np.zeros(reference.shape, bool)
    mask[20:24, 20:24, 10:16] = True
    rows = image_metrics(image, reference, mask)
    by_slice = {row["metric"]: row["value"] for row in rows if row["protocol"] == "slice2d"}
    assert np.isnan([by_slice["psnr"], by_slice["ssim"]]).all()


def test_protocols_disagree_about_one_image(table):
    psnr = [value for (protocol, _, metric), value in table.items() if metric in ("psnr", "psnr_voxel")]
    assert max(psnr) - min(psnr) > 5


def test_the_reference_itself_is_perfect(head):
    _, reference, mask = head
    for row in image_metrics(reference, reference, mask):
        ideal = {"psnr": np.inf, "psnr_voxel": 80, "mae": 0, "nmse": 0, "wass": 0, "bhat": 0, "js": 0}
        if row["metric"] == "psnr" and row["protocol"] == "brain-fit":
            assert row["value"] > 100
        elif row["metric"] != "empty":
            assert row["value"] == pytest.approx(ideal.get(row["metric"], 1), abs=1e-4), row


def test_every_row_is_in_the_dictionary_once(head):
    rows = image_metrics(*head)
    keys = [(row["protocol"], row["region"], row["metric"]) for row in rows]
    assert len(set(keys)) == len(keys)
    for column in ("protocol", "metric"):
        assert {row[column] for row in rows} <= set(DATA_DICTIONARY[column]["Levels"])
    assert all(f"'{row['region']}'" in DATA_DICTIONARY["region"]["Description"] for row in rows)
    assert all(type(row["value"]) is float for row in rows)


def test_the_inputs_are_left_alone(head):
    copies = [data.copy() for data in head]
    image_metrics(*head)
    for before, after in zip(copies, head, strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_gain_changes_no_band_of_the_spectrum():
    from scipy import ndimage

    from bids_lfenhance.evaluation.image_metrics import image_metrics
    from bids_lfenhance.evaluation.sharpness import band_names

    rng, shape = np.random.default_rng(5), (48, 48, 48)
    mask = ((np.indices(shape) - 23.5) ** 2).sum(axis=0) < 18**2
    reference = (100 + 40 * ndimage.gaussian_filter(rng.standard_normal(shape), 1)).astype(np.float32)
    image = (reference + 5 * rng.standard_normal(shape)).astype(np.float32)
    rows = [image_metrics(gain * image, reference, mask, protocols=("brain-fit",)) for gain in (1, 7)]
    one, other = ({row["metric"]: row["value"] for row in some if row["metric"] in band_names()} for some in rows)
    assert len(one) == len(band_names())
    assert other == pytest.approx(one, rel=1e-3)
