"""The figures of docs/metrics.md: one head under every protocol, and what the risk map detects.

Run from the repository's root: ``python benchmarks/metrics_page.py {metrics,risk}``; needs ../shared/data.
"""

import argparse
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage, stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bids_lfenhance.evaluation.image_metrics import image_metrics  # noqa: E402
from bids_lfenhance.evaluation.protocols import PRIMARY, PROTOCOLS  # noqa: E402
from bids_lfenhance.evaluation.risk import risk_map  # noqa: E402
from bids_lfenhance.imaging.fusion import fuse_mean  # noqa: E402
from bids_lfenhance.imaging.grid import Grid  # noqa: E402
from tests import oracle  # noqa: E402

SHAPE = (192, 224, 192)
HEAD = ROOT.parent / "shared" / "data" / "heads" / "otsu_T1_head.nii.gz"


def head() -> tuple[np.ndarray, np.ndarray]:
    """The head in [0, 1] on the default field, and an ellipsoid inside its brain: nothing is segmented here."""
    data = nib.as_closest_canonical(nib.load(HEAD)).get_fdata(dtype=np.float32) / 255
    image = np.zeros(SHAPE, np.float32)
    part = tuple(slice(min(a, b)) for a, b in zip(data.shape, SHAPE, strict=True))
    image[part] = data[part]
    place = np.indices(SHAPE, dtype=np.float32)
    mask = sum(((x - c) / r) ** 2 for x, c, r in zip(place, (88, 120, 100), (68, 80, 60), strict=True)) < 1
    return image, mask


def metrics() -> None:
    reference, mask = head()
    noise = np.random.default_rng(0).normal(0, 3 / 255, SHAPE).astype(np.float32)
    image = ndimage.gaussian_filter(reference, 1.5) + noise
    for protocols in ((PRIMARY,), tuple(PROTOCOLS)):
        start = time.process_time()
        rows = image_metrics(image, reference, mask, protocols=protocols)
        print(f"{', '.join(protocols)}: {time.process_time() - start:.1f} CPU-s")
    for row in rows:
        print(f"{row['protocol']:13s} {row['region']:6s} {row['metric']:19s} {row['value']:.4f}")


def risk() -> None:
    image, mask = head()
    tissue, affine = oracle.tissue_by_intensity(image, mask), np.eye(4)
    grid = Grid(affine, SHAPE)
    rng = np.random.default_rng(1)
    session = oracle.acquire_session(image, affine, tissue, rng)
    for planes in (1, 3):
        stacks = [scan.stack() for scan in session[:planes]]
        start = time.process_time()
        clean, record = risk_map(image, stacks, tissue, mask, grid)
        print(f"{planes} stacks, {time.process_time() - start:.1f} CPU-s, f50 {record['BandLimit']}")
        for frequency in (0.05, 0.1, 0.2, 0.3):
            print(f"  {frequency} /mm along z: AUC {planted(image, clean, frequency, stacks, tissue, mask, grid):.3f}")
    for error in (0.0, 0.3, 1.0, 2.0, 4.0):
        centre = oracle.head_centre(image, affine)
        stacks = oracle.misaligned(session, rng, centre, error, error)
        for name, output in (("mean", fuse_mean(stacks, grid)), ("truth", image)):
            record = risk_map(output, stacks, tissue, mask, grid)[1]
            told = ", ".join(f"{key} {record[key]:.3f}" for key in ("Median", "Percentile95", "FractionAbove"))
            print(f"stacks off by {error} mm and {error}°: {name}: {told}")


def planted(
    image: np.ndarray,
    clean: np.ndarray,
    frequency: float,
    stacks: list,
    tissue: np.ndarray,
    mask: np.ndarray,
    grid: Grid,
    amplitude: float = 0.2,
) -> float:
    """AUC of the risk at a planted wave's crests, with the wave against without it."""
    place = np.indices(SHAPE, dtype=np.float32) - np.argwhere(mask).mean(axis=0).reshape(3, 1, 1, 1)
    wave = np.exp(-(place**2).sum(axis=0) / (2 * 10.0**2)) * np.cos(2 * np.pi * frequency * place[2])
    crests = mask & (np.abs(wave) > 0.5)
    risk, _ = risk_map((image + amplitude * wave).astype(np.float32), stacks, tissue, mask, grid)
    return float(stats.mannwhitneyu(risk[crests], clean[crests]).statistic / crests.sum() ** 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", choices=("metrics", "risk"))
    {"metrics": metrics, "risk": risk}[parser.parse_args().page]()
