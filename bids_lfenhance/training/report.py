"""The test of a training, written beside the weights and printed."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..bids.atomic import atomic_write
from ..nn.method import Trainable
from ..nn.precision import use_precision
from ..nn.weights import CARD, load_weights
from .assess import assess, summary
from .card import Trained
from .examples import Example
from .split import Split

if TYPE_CHECKING:
    from .run import TrainOptions

S = TypeVar("S")

TEST = "test.tsv"
"""One row for each test session, contrast and way."""

HEADING = "## Test\n"


def test_and_tell(
    trained: Trained,
    method: Trainable[S],
    settings: S,
    split: Split,
    examples: Sequence[Example],
    options: "TrainOptions",
) -> str:
    """What came out, as a text; ``test.tsv`` and a table in the card are on disk then.

    The weights are read back from disk: what is judged is what is kept. The networks run where, and multiply as,
    they did in training (``options``).
    """
    import torch

    lines = [f"Weights: {trained.folder} ({trained.steps} steps, {trained.seconds / 60:.1f} min)"]
    tested = [example for example in examples if example.person in split.test]
    if not tested:
        return "\n".join([*lines, "No test subjects: how good the weights are is not known."])
    loaded = load_weights(trained.folder, method.about.weights_name, ())
    device = torch.device(options.device)
    nets = method.build(settings)
    for name, net in nets.items():
        net.load_state_dict(loaded.state[name])
        net.to(device).eval()
    use_precision(nets, options.precision, device)
    if method.score is None:
        learned_from = [example for example in examples if example.person in split.train]
        rows = assess(nets, method, settings, tested, learned_from, options.seed, device)
        about, table = _about(rows, len(split.test)), markdown(summary(rows))
    else:
        score = method.score
        rows = [{"person": str(e.person), **score(nets, e, settings, device)} for e in tested]
        about, table = f"{len(tested)} examples of test subjects, mean and least.\n\n", scores_table(rows)
    atomic_write(trained.folder / TEST, _tsv(rows))
    card = (trained.folder / CARD).read_text(encoding="utf-8").partition(HEADING)[0].rstrip()
    atomic_write(trained.folder / CARD, f"{card}\n\n{HEADING}\n{about}{table}\n")
    return "\n".join([*lines, about.strip(), table])


def _about(rows: Sequence[Mapping[str, Any]], people: int) -> str:
    simulated = all(row["simulator"] for row in rows)
    return (
        f"{people} test subjects, {'SIMULATED' if simulated else 'acquired'} low field, protocol "
        "brain-fit, mean ± SD over people. The monotone map was fitted on the training people.\n\n"
    )


def scores_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The scores of ``Trainable.score`` over the examples as Markdown: mean and least of each.

    >>> print(scores_table([{"person": "a", "dice": 0.5}, {"person": "b", "dice": 0.7}]))
    | score | mean | least |
    |---|---|---|
    | dice | 0.600 | 0.500 |
    """
    lines = ["| score | mean | least |", "|---|---|---|"]
    for name in [name for name in rows[0] if name != "person"]:
        values = [row[name] for row in rows]
        lines.append(f"| {name} | {sum(values) / len(values):.3f} | {min(values):.3f} |")
    return "\n".join(lines)


def markdown(table: Sequence[Mapping[str, Any]]) -> str:
    """The table of ``summary`` as Markdown."""
    lines = ["| low field | contrast | way | PSNR, dB | SSIM | NCC |", "|---|---|---|---|---|---|"]
    for row in table:
        cells = [_with_sd(row, "psnr", 2), _with_sd(row, "ssim", 3), _with_sd(row, "ncc", 4)]
        lines.append(f"| {row['kind']} | {row['contrast']} | {row['way']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_sd(row: Mapping[str, Any], metric: str, digits: int) -> str:
    spread = row[f"{metric}_sd"]
    return f"{row[metric]:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def _tsv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), delimiter="\t", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
