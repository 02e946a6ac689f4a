"""The test of a training, written beside the weights and printed."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

from ..bids.atomic import atomic_write
from ..bids.tables import markdown_table, table_text
from ..nn.example import Example
from ..nn.method import Trainable
from ..nn.precision import use_precision
from ..nn.weights import CARD, load_weights
from .assess import Row, SummaryRow, assess, summary
from .card import Trained
from .split import Split
from .validate import own_scores, scores_itself

if TYPE_CHECKING:
    from .run import TrainOptions

S = TypeVar("S")

TEST = "test.tsv"
"""One row for each test session, contrast and method."""

HEADING = "## Test\n"

UNCHANGED = "No step was better on the validation subjects than the weights it began with, which were kept."


def evaluate_test_set(
    trained: Trained,
    method: Trainable[S],
    settings: S,
    split: Split,
    examples: Sequence[Example],
    options: "TrainOptions",
) -> str:
    """Test the weights; text for the console on the result, once ``test.tsv`` and a table in the card are on disk.

    The weights are read back from disk, so that what is tested is what is kept. The networks run on the device and in
    the precision of the training (``options``).
    """
    import torch

    lines = [f"Weights: {trained.folder} ({trained.steps} steps, {trained.seconds / 60:.1f} min)"]
    if not trained.finished:
        steps = sum(stage.steps for stage in method.stages(settings))
        lines.append(f"{trained.steps} of {steps} steps are done; the same command goes on from there.")
    if trained.unchanged:
        lines.append(UNCHANGED)
    tested = [example for example in examples if example.person in split.test]
    if not tested:
        return "\n".join([*lines, "No test subjects: how good the weights are is not known."])
    loaded = load_weights(trained.folder, method.about.weights_name, ())
    measured = fields(method.about.measured) if method.about.measured else ()
    found = {one.name: loaded.settings[one.name] for one in measured if one.name in loaded.settings}
    settings = replace(settings, **found)  # type: ignore[type-var]
    device = torch.device(options.device)
    nets = loaded.into(method.build(settings), device)
    use_precision(nets, options.precision, device)
    if not scores_itself(method):
        learned_from = [example for example in examples if example.person in split.train]
        assessed = assess(nets, method, settings, tested, learned_from, options.seed, device)
        about, table = _about(assessed, len(split.test)), markdown(summary(assessed))
        rows: Sequence[Mapping[str, object]] = assessed
    else:
        with torch.no_grad():
            scores = [own_scores(method, nets, example, settings, device, options.precision) for example in tested]
        columns = dict.fromkeys(score_names(scores))
        rows = [{"person": e.person} | columns | dict(one) for e, one in zip(tested, scores, strict=True)]
        about, table = f"{len(tested)} examples of test subjects, mean and least.\n\n", scores_table(scores)
    cells = [["n/a" if value is None else str(value) for value in row.values()] for row in rows]
    atomic_write(trained.folder / TEST, table_text(rows[0], cells))
    card = (trained.folder / CARD).read_text(encoding="utf-8").partition(HEADING)[0].rstrip()
    atomic_write(trained.folder / CARD, f"{card}\n\n{HEADING}\n{about}{table}\n")
    return "\n".join([*lines, about.strip(), table])


def _about(rows: Sequence[Row], people: int) -> str:
    simulated = all(row["simulator"] for row in rows)
    return (
        f"{people} test subjects, {'SIMULATED' if simulated else 'acquired'} low field, protocol "
        "brain-fit, mean ± SD over people. The monotone map was fitted on the training people.\n\n"
    )


def score_names(scores: Sequence[Mapping[str, float]]) -> list[str]:
    """Every name that occurs: an example may lack some, as a pair has no simulated planes."""
    return list(dict.fromkeys(name for one in scores for name in one))


def scores_table(scores: Sequence[Mapping[str, float]]) -> str:
    """The scores of ``own_scores`` over the examples that have them as Markdown: mean and least of each.

    >>> print(scores_table([{"dice": 0.5}, {"dice": 0.7, "dice_thin": 0.4}]))
    | score | mean | least |
    |---|---|---|
    | dice | 0.600 | 0.500 |
    | dice_thin | 0.400 | 0.400 |
    """
    values = {name: [one[name] for one in scores if name in one] for name in score_names(scores)}
    rows = [[name, f"{sum(each) / len(each):.3f}", f"{min(each):.3f}"] for name, each in values.items()]
    return markdown_table(["score", "mean", "least"], rows)


def markdown(table: Sequence[SummaryRow]) -> str:
    """The table of ``summary`` as Markdown."""
    digits = {"psnr": 2, "ssim": 3, "ncc": 4}
    rows = [
        [*(str(row[name]) for name in ("kind", "contrast", "method")), *(_with_sd(row, *one) for one in digits.items())]
        for row in table
    ]
    return markdown_table(["low field", "contrast", "method", "PSNR, dB", "SSIM", "NCC"], rows)


def _with_sd(row: SummaryRow, metric: str, digits: int) -> str:
    spread = row[f"{metric}_sd"]
    return f"{row[metric]:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
