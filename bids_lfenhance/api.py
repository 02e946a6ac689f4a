"""One scan, or the stacks of one scan, enhanced in memory: no dataset, no working folder, nothing written unasked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .config import CONTRASTS
from .errors import InputError

if TYPE_CHECKING:
    import nibabel as nib
    import numpy as np
    import pandas as pd

    from .imaging.anatomy import Anatomy
    from .imaging.grid import Grid
    from .imaging.volume import Volume
    from .nn.method import Enhanced

Contrast = Literal["T1w", "T2w", "FLAIR"]

TargetContrast = Literal["auto", "own", "high-field"]

Progress = Callable[[str], None]

METHOD = "fusionnet"
"""The method: the one that takes any number of stacks of any contrast and says how large its error is."""

ENDINGS = (".nii.gz", ".nii")
"""How the name of an image ends."""

Opened = tuple[str, "nib.Nifti1Image"]
"""The name of a scan, and its image."""


def _silent(text: str) -> None:
    """Progress that nobody asked for."""


@dataclass(frozen=True, eq=False)
class _Session:
    """What regions are computed from: the enhanced ``volume``, its ``anatomy``, the ``device`` of the networks."""

    volume: "Volume"
    anatomy: "Anatomy"
    device: str

    @cached_property
    def regions(self) -> tuple["np.ndarray", list[dict[str, Any]]]:
        """(X, Y, Z) uint8 labels on the volume's grid, and the rows of their volumes."""
        from .segmentation.segment import predictor, segment_volume

        (contrast,) = self.volume.contrasts
        affine, network = self.anatomy.warp.affine, predictor("auto", self.device)
        labels, rows = segment_volume(self.volume, self.anatomy.mask, affine, network)
        return labels[contrast], rows[contrast]


@dataclass(frozen=True, eq=False)
class _Output:
    """Where images go: ``grid`` in the frame of the volume, and the ``affine`` that is written for it."""

    grid: "Grid"
    affine: "np.ndarray"

    def image(self, data: "np.ndarray", source: "Grid", order: int = 1) -> "nib.Nifti1Image":
        """(X, Y, Z) data of the grid ``source`` as an image of this one, interpolated only where they differ."""
        import nibabel as nib

        from .imaging.grid import resample

        if self.grid != source:
            moved = resample(data, source.affine, self.grid, order=order)
            data = moved.astype(data.dtype)
        image = nib.Nifti1Image(data, self.affine)
        image.header.set_xyzt_units("mm", "sec")
        return image


@dataclass(frozen=True, eq=False)
class EnhancedScan:
    """What ``enhance`` made of one scan; images are ``nibabel`` images on one grid.

    ``image`` the enhanced image, float32, in the units of the scan; outside the brain the plain mean of the stacks.
    ``std`` the standard deviation of its error in the same units, as the network gives it; zero outside the brain.
    ``mask`` the brain, uint8. ``contrast`` T1w, T2w or FLAIR. ``warnings`` sentences that a user should read.
    ``provenance`` plain values: method, weights and their hash, settings, target contrast, time.
    """

    image: "nib.Nifti1Image"
    std: "nib.Nifti1Image"
    mask: "nib.Nifti1Image"
    contrast: str
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]
    _session: _Session = field(repr=False)
    _output: _Output = field(repr=False)

    @cached_property
    def regions(self) -> "nib.Nifti1Image":
        """Labels of 32 regions of the enhanced image, uint8 with FreeSurfer's numbers; about a minute of one core.

        Computed when first asked for, and kept.
        """
        return self._output.image(self._session.regions[0], self._session.volume.grid, order=0)

    @cached_property
    def volumes(self) -> "pd.DataFrame":
        """One row per region: ``index`` (FreeSurfer's number), ``name``, ``volume_mm3`` by label, ``volume_soft_mm3``
        by posteriors, ``confidence`` in [0, 1], the expected error ``volume_error_mm3`` and ``volume_error_percent``;
        last the total intracranial volume, whose index is missing. Measured on the grid of 1 mm, with ``regions``.
        """
        import pandas as pd

        from .evaluation.volume_error import with_expected_error

        table = pd.DataFrame(with_expected_error(self._session.regions[1], "regions"))
        return table.drop(columns="uncertain_mm3").astype({"index": "Int64"})

    def save(
        self,
        image: str | Path | None = None,
        *,
        std: str | Path | None = None,
        mask: str | Path | None = None,
        regions: str | Path | None = None,
        volumes: str | Path | None = None,
    ) -> tuple[Path, ...]:
        """Write what is given a path; the paths, in that order.

        Images end in ``.nii.gz`` or ``.nii``, ``volumes`` in ``.tsv`` or ``.csv``. A file is there whole or not at all,
        and replaces one that was there. Raises ``InputError`` for another ending or a folder that cannot be written.
        """
        images = {"image": image, "std": std, "mask": mask, "regions": regions}
        wanted = {name: Path(path) for name, path in images.items() if path is not None}
        for path in wanted.values():
            check_ending(path, ENDINGS)
        if volumes is not None:
            check_ending(Path(volumes), (".tsv", ".csv"))
        written = [_write_image(path, getattr(self, name)) for name, path in wanted.items()]
        if volumes is not None:
            written.append(_write_table(Path(volumes), self.volumes))
        return tuple(written)


def enhance(
    *scans: "str | Path | nib.Nifti1Image",
    suffix: Contrast | None = None,
    keep_geometry: bool = False,
    target_contrast: TargetContrast = "auto",
    device: str = "auto",
    weights: str | Path = "auto",
    progress: Progress = _silent,
) -> EnhancedScan:
    """The enhanced image of one contrast of one session, from one stack or several.

    Parameters
    ----------
    scans : NIfTI files, folders or patterns of them (``"scans/*.nii.gz"``), or nibabel images: the stacks (axial,
        coronal, sagittal, isotropic) of one contrast, as the scanner gave them; they are aligned here
    suffix : contrast of the scans whose name does not say it; those whose name says another are left out, with a
        warning. None: by name, and where no name says it, by the brightness of the tissues, with a warning
    keep_geometry : the results on the voxels of the first scan; else 1 mm RAS+ around the head, in the scanner space
        of an isotropic stack or, where there is none, of the axial one
    target_contrast : "own", that of the scan; "high-field", T1w as an MPRAGE at 3 T has it; others keep their
        own; "auto", own
    device : auto, cpu, cuda or cuda:N
    weights : of ``fusionnet``: a folder of a training, a file, a name; auto: the bundled
    progress : called with a few words before each step

    Raises ``InputError`` with one sentence for what cannot be used (code ``several-contrasts`` where the scans are of
    more than one contrast: one call makes one image), ``MethodError`` where memory runs out.
    """
    from .methods import get_method
    from .nn.device import choose_device

    sampling = get_method(METHOD).about.sampling(
        weights=str(weights), device=choose_device(device), target_contrast=target_contrast
    )
    images, warnings = _open(scans, progress)
    chosen, contrast, left_out = _of_one_contrast(images, suffix)
    warnings += left_out
    volume, anatomy, said = _prepare(chosen, contrast, progress)
    warnings += said
    result = _run(volume, sampling, progress)
    output = _output_of(volume, chosen[0][0] if keep_geometry else None)
    return _result(result, volume, anatomy, output, warnings, sampling.device)


def _open(scans: "Sequence[str | Path | nib.Nifti1Image]", progress: Progress) -> tuple[list[Opened], list[str]]:
    """Every scan after its header check, and what the checks had to say."""
    from .imaging.headers import check_scan, copies, open_scan

    images: list[Opened] = []
    warnings: list[str] = []
    for number, scan in enumerate(scans, start=1):
        if isinstance(scan, str | Path):
            found = [(path.name, open_scan(path)) for path in _files(str(scan))]
        else:
            name = Path(_file_of(scan) or f"scan {number}")
            found = [(name.name, check_scan(name, scan))]
        for name_, (image, said) in found:
            progress(f"read {name_}, {' × '.join(map(str, image.shape))} voxels")
            images.append((_unlike(name_, images), image))
            warnings += said
    if not images:
        raise InputError("Expected at least one scan, found none; give the path of a NIfTI image.", code="no-scans")
    return images, warnings + copies(dict(images))


def _unlike(name: str, images: Sequence[Opened]) -> str:
    """The name, numbered where another scan bears it."""
    same = sum(other == name or other.startswith(f"{name} (") for other, _ in images)
    return f"{name} ({same + 1})" if same else name


def _file_of(image: Any) -> str | None:
    """The file an image was read from; raises ``InputError`` for what is no NIfTI image."""
    import nibabel as nib

    if not isinstance(image, nib.Nifti1Image):
        raise InputError(
            f"Expected a path or a NIfTI image of nibabel, found {type(image).__name__}; convert it first.",
            code="bad-image",
        )
    name: str | None = image.get_filename()
    return name


def _files(word: str) -> list[Path]:
    """The images that a path, a folder or a pattern means, by name; one that does not exist is reported when read."""
    path = Path(word)
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.name.endswith(ENDINGS) and not one.name.startswith("."))
        expected = f"images ({' or '.join(ENDINGS)}) in the folder {word}"
    elif path.exists() or path.is_symlink() or not any(letter in word for letter in "*?["):
        return [path]
    else:
        found = sorted(Path(one) for one in glob(word, recursive=True) if one.endswith(ENDINGS))  # noqa: PTH207  (patterns may be absolute)
        expected = f"images ({' or '.join(ENDINGS)}) that match {word}"
    if not found:
        raise InputError(f"Expected {expected}, found none; check the path.", code="missing-file", path=path)
    return found


def _of_one_contrast(images: Sequence[Opened], suffix: str | None) -> tuple[Sequence[Opened], str | None, list[str]]:
    """The scans of the one contrast, that contrast where names or the user say it, and which were left out."""
    if suffix is not None and suffix not in CONTRASTS:
        raise InputError(
            f"Expected one of {', '.join(CONTRASTS)} for the contrast, found {suffix!r}; choose one of these.",
            code="unknown-contrast",
        )
    from .imaging.guess import contrast_of_name

    said = {name: contrast_of_name(name) for name, _ in images}
    if suffix is None:
        kinds = dict.fromkeys(said.values())
        if len(kinds) > 1:
            listed = "; ".join(f"{name}: {contrast or 'not said'}" for name, contrast in said.items())
            raise InputError(
                f"Expected scans of one contrast, as one run makes one image, found by their names {listed}; choose "
                "one with --suffix (suffix=) and run again for the others, or enhance a BIDS dataset, which takes all "
                "contrasts at once.",
                code="several-contrasts",
                contrasts=tuple(kinds),
            )
        return images, next(iter(kinds)), []
    kept = [(name, image) for name, image in images if said[name] in (None, suffix)]
    if not kept:
        raise InputError(
            f"Expected a scan of contrast {suffix}, found by their names {', '.join(map(str, said.values()))}; "
            "correct the contrast or rename the files.",
            code="several-contrasts",
        )
    others = [name for name, _ in images if said[name] not in (None, suffix)]
    return kept, suffix, [f"{name} was left out: its name says {said[name]}, not {suffix}." for name in others]


def _prepare(
    images: Sequence[Opened], contrast: str | None, progress: Progress
) -> tuple["Volume", "Anatomy", list[str]]:
    """The session on 1 mm with its brain, and what is to be said of it; the contrast guessed where it is None."""
    from .imaging.anatomy import find_anatomy
    from .imaging.field_of_view import seen_in
    from .imaging.guess import guess_contrast
    from .imaging.preprocess import prepare_session

    progress("correcting the bias field" + (" and aligning the stacks" if len(images) > 1 else ""))
    working = contrast or CONTRASTS[0]
    volume, quality = prepare_session([(name, working, None, image) for name, image in images])
    progress("finding the brain")
    seen = seen_in(volume, working)
    anatomy = find_anatomy(volume.channel(working), volume.grid, contrast or "scan", seen=seen, sloppy=True)
    warnings = [*quality["Warnings"], *anatomy.quality["Warnings"]]
    if contrast is None:
        contrast = guess_contrast(volume.channel(working), anatomy.mask, anatomy.priors)
        if contrast is None:
            raise InputError(
                "Expected a name that says the contrast, or tissues that tell it, found neither; say it with --suffix "
                f"(suffix=), one of {', '.join(CONTRASTS)}.",
                code="unknown-contrast",
            )
        progress(f"contrast {contrast}, by the brightness of the tissues")
        warnings.append(f"The contrast was taken for {contrast} by the brightness of the tissues; no name says it.")
        volume = _renamed(volume, working, contrast)
    else:
        progress(f"contrast {contrast}")
    return replace(volume, mask=anatomy.mask), anatomy, warnings


def _renamed(volume: "Volume", old: str, new: str) -> "Volume":
    """The volume of one contrast, now under the name of another."""
    from .imaging.volume import volume_from_channels

    stacks = tuple(replace(stack, contrast=new) for stack in volume.stacks)
    return volume_from_channels(volume.grid, {new: volume.channel(old)}, stacks)


def _run(volume: "Volume", sampling: Any, progress: Progress) -> "Enhanced":
    from numpy.random import default_rng

    from .methods import get_method
    from .methods.enhance import enhance as enhance_volume
    from .nn.device import use_threads

    progress(f"enhancing {volume.contrasts[0]} from {len(volume.stacks)} stack(s) on {sampling.device}")
    use_threads(None)
    return enhance_volume(volume, get_method(METHOD), sampling, default_rng(0))


def _output_of(volume: "Volume", first: str | None) -> _Output:
    """The canonical grid, or the voxels of the stack named ``first``."""
    from .imaging.grid import Grid

    if first is None:
        return _Output(volume.grid, volume.grid.affine)
    stack = next(stack for stack in volume.stacks if stack.name == first)
    i, j, k = stack.data.shape
    return _Output(Grid(stack.affine, (i, j, k)), stack.native_affine)


def _result(
    result: "Enhanced",
    volume: "Volume",
    anatomy: "Anatomy",
    output: _Output,
    warnings: Sequence[str],
    device: str,
) -> EnhancedScan:
    import numpy as np

    (contrast,) = volume.contrasts
    channel, grid = CONTRASTS.index(contrast), volume.grid
    assert result.std is not None, f"{METHOD} gives the scale of its error"
    said = dict.fromkeys([*warnings, *result.provenance["warnings"]])
    # words for the participant level, which chooses scans with a filter
    plain = tuple(text.replace(" with --bids-filter-file", "") for text in said)
    return EnhancedScan(
        output.image(result.image[channel], grid),
        output.image(result.std[channel], grid),
        output.image(anatomy.mask.astype(np.uint8), grid, order=0),
        contrast,
        plain,
        result.provenance,
        _Session(replace(volume, image=result.image, stacks=()), anatomy, device),
        output,
    )


def check_ending(path: Path, endings: Sequence[str]) -> None:
    """Raise ``InputError`` for a file to be written whose name does not end in one of ``endings``."""
    if not path.name.endswith(tuple(endings)):
        raise InputError(
            f"Expected a file name that ends in {' or '.join(endings)} for the output, found {path}; change it.",
            code="bad-output",
            path=path,
        )


def _write_image(path: Path, image: "nib.Nifti1Image") -> Path:
    import gzip

    import numpy as np

    from .bids.atomic import atomic_write
    from .imaging.nifti import encode_nifti

    content = encode_nifti(np.asanyarray(image.dataobj), image.affine)
    return atomic_write(path, content if path.name.endswith(".gz") else gzip.decompress(content))


def _write_table(path: Path, table: "pd.DataFrame") -> Path:
    from .bids.atomic import atomic_write

    separator = "\t" if path.suffix == ".tsv" else ","
    return atomic_write(path, table.to_csv(index=False, sep=separator, na_rep="n/a"))
