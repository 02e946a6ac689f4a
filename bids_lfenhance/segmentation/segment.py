"""The regions of one head: mean posteriors of images and their mirror images, each region kept in one piece."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..imaging.grid import CANONICAL_ZOOM, Grid, resample, translation
from ..imaging.volume import Volume
from ..imaging.warp import Warp
from ..nn.crop import MARGIN
from .regions import indices, mirrored_channels
from .volumes import Rows, region_rows
from .warps import places, warp_to_template

Predictor = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(Image (x, y, z) float32, even sides, the brain's mean about 1; (3, x/2, y/2, z/2) where its cells of two by two by
two voxels lie in common space) → posteriors (33, x, y, z) that sum to 1."""

BRIGHTEST = 4.0
"""Intensity, in means of the brain, that training does not exceed: vessels, eyes and fat are clipped to it."""

CSF = 24
"""The one region that may lie in pieces: the sulci are not joined to the cisterns on a grid of 1 mm."""

ROUNDS = 5
"""How often loose pieces go to the next likely region; what is loose then, specks of noise, takes the nearest label."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The regions of one head.

    ``labels`` (X, Y, Z) uint8, FreeSurfer's numbers, 0 where there is none; ``posteriors`` (33, x, y, z) float16 in
    [0, 1] of the part of the grid outside of which there is no brain; ``confidence`` (33,) mean posterior of each
    region over its own voxels, NaN where it has none; first, over the voxels of all regions, that of being in any;
    ``grid`` of the labels.
    """

    labels: np.ndarray
    posteriors: np.ndarray
    confidence: np.ndarray
    grid: Grid


def segment(
    images: Sequence[np.ndarray], grid: Grid, mask: np.ndarray, warp: Warp, predict: Predictor, *, flip: bool = True
) -> Segmentation:
    """The regions of a head, by the mean of the posteriors in images of any contrast, with skull or without.

    Parameters
    ----------
    images : (X, Y, Z) each, bias-corrected, arbitrary units; the mean in the mask becomes 1, as in training
    grid : RAS+; where it is not of 1 mm the image is seen on one that is
    mask : (X, Y, Z) bool, where the brain is, roughly
    warp : subject → template space
    predict : the network (``predictor``)
    flip : also segment the mirror image, and take the mean: left and right are then treated alike to the last bit
    """
    fine = _at_one_mm(grid)
    if fine != grid:
        images = [resample(image, grid.affine, fine) for image in images]
        mask = resample(mask, grid.affine, fine, order=0) > 0
    corner, shape = _window(mask)
    where = places(warp, Grid(fine.affine @ translation(corner), shape))
    found = _mean_seen([_scaled(image, mask, corner, shape) for image in images], where, predict, flip)
    if fine != grid:
        found = _carried(found, fine.affine @ translation(corner), grid)
        corner = np.zeros(3, int)
    box, inner = _inside(corner, found.shape[1:], grid.shape)
    posteriors = found[(slice(None), *inner)]
    channels = keep_largest_components(posteriors)
    labels = np.zeros(grid.shape, np.uint8)
    labels[box] = indices().astype(np.uint8)[channels]
    return Segmentation(labels, posteriors, _confidence(channels, posteriors), grid)


def predictor(weights: str, device: str = "cpu") -> Predictor:
    """The network of ``regions`` with these weights, as ``load_weights`` takes them; bfloat16 where that is fast."""
    import torch

    from ..nn.batch import collate
    from ..nn.precision import use_precision
    from ..nn.weights import load_weights
    from .network import build, predict
    from .settings import ABOUT, RegionsSettings

    loaded = load_weights(weights, ABOUT.name, ())
    settings, target = RegionsSettings(**loaded.settings), torch.device(device)
    nets = loaded.into(build(settings), target)
    use_precision(nets, "bf16", target)

    def posteriors(image: np.ndarray, where: np.ndarray) -> np.ndarray:
        seen = np.ascontiguousarray(image)[None]
        item = {
            "input": seen,
            "present": np.ones(1, bool),
            "mask": seen > 0,
            "template_coordinates": np.ascontiguousarray(where),
        }
        given = collate([item]).to(target)
        with torch.no_grad():
            return np.asarray(predict(nets, given, settings, torch.Generator())[0].cpu().numpy())

    return posteriors


def segment_volume(
    volume: Volume,
    mask: np.ndarray,
    template_to_subject: np.ndarray,
    predict: Predictor,
    *,
    by: str | None = None,
    restored: Volume | None = None,
    sloppy: bool = False,
) -> tuple[dict[str, np.ndarray], dict[str, Rows]]:
    """Labels (X, Y, Z) uint8 and rows of volumes (``volume_rows``) of every contrast of a volume.

    ``mask`` (X, Y, Z) bool, brain; ``template_to_subject`` (4, 4) RAS+ mm, the affine registration to the template. The
    warp is fitted to this volume, in the contrast ``by`` (in which the brain was found) or else its first, even where
    the high field has a warp: what is reported of low field must not come from there. ``restored``: contrasts of the
    same session in high-field contrast, which are segmented too. ``sloppy``: coarse, and without mirror images.
    """
    found_in = volume.channel(by if by in volume.contrasts else volume.contrasts[0])
    warp = warp_to_template(np.maximum(np.nan_to_num(found_in), 0), volume.grid, template_to_subject, sloppy=sloppy)
    labels, rows = {}, {}
    for contrast in volume.contrasts:
        also = [restored] if restored is not None and contrast in restored.contrasts else []
        images = [one.channel(contrast) for one in (volume, *also)]
        found = segment(images, volume.grid, mask, warp, predict, flip=not sloppy)
        labels[contrast], rows[contrast] = found.labels, volume_rows(found)
    return labels, rows


def volume_rows(found: Segmentation) -> Rows:
    """The table of a segmentation (``region_rows``): soft volumes are sums of posteriors."""
    soft, uncertain = np.array([_moments(posterior) for posterior in found.posteriors]).T
    soft[0] = soft[1:].sum()
    volumes, doubts = ((column * found.grid.voxel_volume).tolist() for column in (soft, uncertain))
    return region_rows(found.labels, found.grid, volumes, found.confidence.tolist(), doubts)


def _moments(posterior: np.ndarray) -> tuple[float, float]:
    """(Σ p, Σ p (1 − p)): the number of voxels, and its variance were they independent."""
    import torch  # as in ``_seen``

    wide = torch.from_numpy(posterior).float()
    total = wide.sum(dtype=torch.float64)
    return float(total), float(total - wide.square_().sum(dtype=torch.float64))


def keep_largest_components(posteriors: np.ndarray) -> np.ndarray:
    """(x, y, z) uint8 channels, the likeliest ones, but each region in one piece and the background too.

    A piece that no face, edge or corner connects with its region goes to the next likely channel; so do holes, which
    are pieces of another region or of the background. ``posteriors`` (33, x, y, z) are changed there: 0 for the channel
    that was refused, the others scaled to sum to 1.
    """
    channels = posteriors.argmax(axis=0).astype(np.uint8)
    for _ in range(ROUNDS):
        loose = _minor_components(channels)
        if not loose.any():
            return channels
        left = posteriors[:, loose].astype(np.float32)
        left[channels[loose], np.arange(left.shape[1])] = 0
        posteriors[:, loose] = left / np.maximum(left.sum(axis=0), 1e-6)
        channels[loose] = left.argmax(axis=0)
    loose = _minor_components(channels)
    if loose.any():
        nearest = ndimage.distance_transform_edt(loose, return_distances=False, return_indices=True)
        channels = channels[tuple(nearest)]
    return channels


def _minor_components(channels: np.ndarray) -> np.ndarray:
    """(x, y, z) bool: every piece of a channel but its largest one; those of the CSF stay.

    The background is joined around the edges: a head that reaches them does not cut it in two.
    """
    channels = np.pad(channels, 1)
    loose = np.zeros(channels.shape, bool)
    touching = np.ones((3, 3, 3), bool)
    for channel, box in enumerate(ndimage.find_objects(channels + 1)):
        if box is None or indices()[channel] == CSF:
            continue
        pieces, count = ndimage.label(channels[box] == channel, touching)
        if count > 1:
            largest = np.argmax(np.bincount(pieces.ravel())[1:]) + 1
            loose[box] |= (pieces > 0) & (pieces != largest)
    return loose[1:-1, 1:-1, 1:-1]


def _mean_seen(images: Sequence[np.ndarray], where: np.ndarray, predict: Predictor, flip: bool) -> np.ndarray:
    """(33, x, y, z) float16, the mean of the posteriors in the images."""
    mean = _seen(images[0], where, predict, flip)
    for number, image in enumerate(images[1:], start=2):
        for channel, other in zip(mean, _seen(image, where, predict, flip), strict=True):
            channel[...] = channel + (other.astype(np.float32) - channel) / number
    return mean


def _seen(image: np.ndarray, where: np.ndarray, predict: Predictor, flip: bool) -> np.ndarray:
    """(33, x, y, z) float16 posteriors of an image, or their mean with those of its mirror image."""
    import torch  # which widens float16 many times faster than numpy, above all where values are next to nothing

    found = np.asarray(predict(image, where), np.float16)
    if flip:
        reflected = where[:, ::-1] * np.array([-1, 1, 1], np.float32)[:, None, None, None]
        mirror = torch.from_numpy(np.asarray(predict(image[::-1], reflected), np.float16))
        for channel, other in zip(torch.from_numpy(found), mirrored_channels(), strict=True):
            channel.copy_((channel.float() + mirror[other].flip(0).float()) / 2)
    return found


def _scaled(image: np.ndarray, mask: np.ndarray, corner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(*shape) float32: a part of the image, zero where it has none, the mean of its brain 1."""
    values = np.maximum(np.nan_to_num(np.asarray(image, np.float32)), 0)
    level = float(values[mask].mean(dtype=np.float64)) if mask.any() else 0.0
    part = np.zeros(shape, np.float32)
    box, inner = _inside(corner, shape, image.shape)
    part[inner] = values[box]
    return np.minimum(part / (level or 1.0), np.float32(BRIGHTEST))


def _window(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """(Corner (3,), shape) of what the network sees: around the brain, or everything; it may reach beyond the image."""
    where = np.argwhere(mask) if mask.any() else np.array([[0, 0, 0], np.array(mask.shape) - 1])
    low, high = where.min(axis=0) - MARGIN, where.max(axis=0) + 1 + MARGIN
    x, y, z = (high - low + (high - low) % 2).tolist()
    return low, (x, y, z)


def _inside(
    corner: np.ndarray, shape: tuple[int, ...], whole: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """(The part of the image, the same in the window) where window and image overlap."""
    low, high = np.maximum(corner, 0), np.minimum(corner + np.array(shape), whole)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    inner = tuple(slice(int(a), int(b)) for a, b in zip(low - corner, high - corner, strict=True))
    return box, inner


def _at_one_mm(grid: Grid) -> Grid:
    """The grid itself where its voxels are of about 1 mm, else one of 1 mm over the same field of view."""
    zooms = np.array(grid.zooms)
    if np.allclose(zooms, CANONICAL_ZOOM, atol=0.1):
        return grid
    step = CANONICAL_ZOOM / zooms
    finer = grid.affine @ np.diag([*step, 1.0])
    finer[:3, 3] = (grid.affine @ [*(step / 2 - 0.5), 1.0])[:3]
    return Grid(finer, tuple(np.maximum(np.rint(np.array(grid.shape) / step), 1).astype(int).tolist()))


def _carried(posteriors: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """(33, X, Y, Z) float16 on another grid; background where they do not reach."""
    outside = [1.0, *[0.0] * (len(posteriors) - 1)]
    pairs = zip(posteriors, outside, strict=True)
    return np.stack([resample(one, affine, grid, cval=cval).astype(np.float16) for one, cval in pairs])


def _confidence(channels: np.ndarray, posteriors: np.ndarray) -> np.ndarray:
    own = np.take_along_axis(posteriors, channels[None].astype(np.intp), axis=0)[0].astype(np.float64)
    count = np.bincount(channels.ravel(), minlength=len(posteriors))
    total = np.bincount(channels.ravel(), own.ravel(), minlength=len(posteriors))
    count[0], total[0] = count[1:].sum(), (1 - posteriors[0][channels > 0].astype(np.float64)).sum()
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)
