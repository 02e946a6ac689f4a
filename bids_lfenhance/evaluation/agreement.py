"""Agreement of two measurements of the same subjects: the statistics of the group level.

Every function takes one value per subject, paired by position, finite, in one unit. What cannot be computed from so few
values is NaN, never an error: a cohort begins with one subject.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

NAN = float("nan")

FEWEST_PAIRS = 6
"""Below this many pairs the signed-rank test cannot fall under 0.05 (2 / 2⁵ = 0.0625), so no p is given."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class IntervalEstimate:
    """A figure and its 95 % confidence interval; NaN where it cannot be estimated."""

    value: float
    low: float = NAN
    high: float = NAN


@dataclass(frozen=True)
class BlandAltman:
    """``bias`` (mean difference), ``sd`` of a difference, and the limits of agreement, in the unit of the values."""

    bias: IntervalEstimate
    sd: float
    lower: IntervalEstimate
    upper: IntervalEstimate


def mean_sd(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean and sample standard deviation (n − 1) over subjects; NaN where there are none, or one.

    >>> mean_sd([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    array = np.asarray(values, float)
    return (float(array.mean()) if array.size else NAN, float(array.std(ddof=1)) if array.size > 1 else NAN)


def difference_percent(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """100 (V − V_ref) / V_ref for each subject, in per cent; NaN where the reference is 0.

    >>> difference_percent(np.array([110.0, 1.0]), np.array([100.0, 0.0]))
    array([10., nan])
    """
    values, reference = np.asarray(values, float), np.asarray(reference, float)
    known = reference != 0
    return np.where(known, 100 * (values - reference) / np.where(known, reference, 1), NAN)


def subject_means(values: np.ndarray) -> np.ndarray:
    """(n,): as they are, or of (n, sessions) the mean of the sessions that a subject has."""
    return values if values.ndim == 1 else np.nanmean(values, axis=1)


def bland_altman(values: np.ndarray, reference: np.ndarray) -> BlandAltman:
    """Bias and limits of agreement of ``values`` − ``reference``, with confidence intervals by Student's t.

    Limits: bias ± 1.96 SD. Standard errors SD/√n of the bias and SD √(1/n + 1.96²/(2(n − 1))) of a limit: Bland and
    Altman, Lancet 1986;327:307 and Stat Methods Med Res 1999;8:135, section 2.

    Both may be (n, sessions), NaN where a subject lacks one: the limits are then of a single session, not of a mean.
    SD² = variance of the subjects' means + (1 − mean of 1/m) × variance within subjects, of m sessions each: section
    5.2 of 1999; the standard error of a limit from those of both variances.
    """
    difference = np.asarray(values, float) - np.asarray(reference, float)
    means, n = subject_means(difference), len(difference)
    bias, sd = mean_sd(means)
    if n < 2:
        return BlandAltman(IntervalEstimate(bias), NAN, IntervalEstimate(NAN), IntervalEstimate(NAN))
    sessions = np.isfinite(difference.reshape(n, -1)).sum(axis=1)
    freedom, share = int(sessions.sum()) - n, 1 - float(np.mean(1 / sessions))
    within = share * float(np.nansum((difference.T - means) ** 2)) / freedom if freedom else 0.0
    between, variance = sd**2, sd**2 + within
    doubled = between**2 / (n - 1) + (within**2 / freedom if freedom else 0.0)
    of_sd = doubled / (2 * variance) if variance else 0.0  # the variance of the SD, by the delta method
    t, z, sd = special.stdtrit(n - 1, (1 + CONFIDENCE) / 2), 1.96, float(np.sqrt(variance))
    of_bias, of_limit = t * np.sqrt(between / n), t * np.sqrt(between / n + z**2 * of_sd)

    def around(centre: float, half: float) -> IntervalEstimate:
        return IntervalEstimate(float(centre), float(centre - half), float(centre + half))

    return BlandAltman(around(bias, of_bias), sd, around(bias - z * sd, of_limit), around(bias + z * sd, of_limit))


def pearson(x: np.ndarray, y: np.ndarray) -> tuple[IntervalEstimate, float]:
    """Pearson's r with the interval of Fisher's z (from 4 pairs on), and its two-sided p (from 3 pairs on).

    NaN where one of the two does not vary.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = x.size
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return IntervalEstimate(NAN), NAN
    a, b = x - x.mean(), y - y.mean()
    r = np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1, 1)
    with np.errstate(divide="ignore"):  # a perfect correlation: t and Fisher's z are infinite, p is 0
        p = 2 * special.stdtr(n - 2, -abs(r) * np.sqrt((n - 2) / (1 - r * r)))
        z = np.arctanh(r)
    if n < 4:
        return IntervalEstimate(float(r)), float(p)
    half = special.ndtri((1 + CONFIDENCE) / 2) / np.sqrt(n - 3)
    return IntervalEstimate(float(r), float(np.tanh(z - half)), float(np.tanh(z + half))), float(p)


def icc_2_1(ratings: np.ndarray) -> IntervalEstimate:
    """ICC(2,1): two-way random effects, absolute agreement, of one rating; ``ratings`` (n subjects, k raters).

    Shrout and Fleiss, Psychol Bull 1979;86:420; the interval is McGraw and Wong's, Psychol Methods 1996;1:30, ICC(A,1).
    1 is perfect; it may fall below 0. A constant offset between the raters lowers it, unlike Pearson's r.
    """
    ratings = np.asarray(ratings, float)
    n, k = ratings.shape
    if n < 2 or k < 2 or np.ptp(ratings) == 0:
        return IntervalEstimate(NAN)
    grand, rows, columns = ratings.mean(), ratings.mean(axis=1), ratings.mean(axis=0)
    between = k * np.sum((rows - grand) ** 2) / (n - 1)
    raters = n * np.sum((columns - grand) ** 2) / (k - 1)
    residual = ratings - rows[:, None] - columns + grand
    error = np.sum(residual**2) / ((n - 1) * (k - 1))
    icc = (between - error) / (between + (k - 1) * error + k * (raters - error) / n)
    if error <= 1e-12 * (between + raters) or icc >= 1:  # no error is left from which an interval could be estimated
        return IntervalEstimate(float(icc))
    a, b = k * icc / (n * (1 - icc)), 1 + k * icc * (n - 1) / (n * (1 - icc))
    freedom = (a * raters + b * error) ** 2 / ((a * raters) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    tail = (1 + CONFIDENCE) / 2
    f_low, f_high = special.fdtri(n - 1, freedom, tail), special.fdtri(freedom, n - 1, tail)
    if not np.isfinite(f_low) or not np.isfinite(f_high):  # so few degrees of freedom that every ICC is as likely
        return IntervalEstimate(float(icc))
    spread = k * raters + (k * n - k - n) * error
    low = n * (between - f_low * error) / (f_low * spread + n * between)
    high = n * (f_high * between - error) / (spread + n * f_high * between)
    return IntervalEstimate(float(icc), float(low), float(high))


def lin_ccc(x: np.ndarray, y: np.ndarray) -> IntervalEstimate:
    """Lin's concordance correlation coefficient, 2 s_xy / (s_x² + s_y² + (x̄ − ȳ)²), moments over n.

    Lin, Biometrics 1989;45:255; the interval is by the z transform with the variance of his correction, 2000;56:324.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    n = x.size
    if n < 2 or (np.ptp(x) == 0 and np.ptp(y) == 0):
        return IntervalEstimate(NAN)
    covariance, shift = np.mean((x - x.mean()) * (y - y.mean())), x.mean() - y.mean()
    ccc = float(2 * covariance / (x.var() + y.var() + shift**2))
    if n < 3 or abs(ccc) >= 1 - 1e-12 or covariance == 0:
        return IntervalEstimate(ccc)
    r2, u2, c2 = covariance**2 / (x.var() * y.var()), shift**2 / np.sqrt(x.var() * y.var()), ccc**2
    terms = (1 - r2) * c2 / ((1 - c2) * r2) + 2 * ccc**3 * (1 - ccc) * u2 / (np.sqrt(r2) * np.sign(ccc) * (1 - c2) ** 2)
    variance = (terms - ccc**4 * u2**2 / (2 * r2 * (1 - c2) ** 2)) / (n - 2)
    half = special.ndtri((1 + CONFIDENCE) / 2) * np.sqrt(max(variance, 0))
    return IntervalEstimate(ccc, float(np.tanh(np.arctanh(ccc) - half)), float(np.tanh(np.arctanh(ccc) + half)))


def within_subject_cv(first: np.ndarray, second: np.ndarray) -> float:
    """Within-subject coefficient of variation of two measurements, in per cent: 100 √(mean d²/2) / mean.

    Bland and Altman, BMJ 1996;312:1654 (within-subject SD of two measurements), over the mean of all.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    mean = np.mean([first, second]) if first.size else 0
    return float(100 * np.sqrt(np.mean((first - second) ** 2) / 2) / mean) if mean else NAN


def signed_rank_ps(differences: Sequence[np.ndarray]) -> list[float]:
    """Two-sided p of Wilcoxon's paired signed-rank test of each array of differences, zeros left out.

    NaN below ``FEWEST_PAIRS`` pairs, 1 where every pair is equal. Arrays of one size without ties are given to scipy
    together, as each call takes a millisecond to start.
    """
    p_values, alike = [NAN] * len(differences), dict[tuple[int, int], list[int]]()
    for number, difference in enumerate(differences):
        if difference.size >= FEWEST_PAIRS:
            size = np.abs(difference[difference != 0])
            tied = np.unique(size).size < size.size  # ties and zeros change how scipy computes the whole of a batch
            alike.setdefault((size.size, number if tied else -1), []).append(number)
    for (size_left, _), members in alike.items():
        if size_left == 0:
            values = np.ones(len(members))
        else:
            table = np.array([differences[n][differences[n] != 0] for n in members])
            values = np.atleast_1d(stats.wilcoxon(table, zero_method="wilcox", axis=1).pvalue)
        for number, p in zip(members, values, strict=True):
            p_values[number] = float(p)
    return p_values


def least_p(pairs: int) -> float:
    """The smallest p that the signed-rank test of so many pairs can give; NaN below ``FEWEST_PAIRS``.

    >>> least_p(5), least_p(6)
    (nan, 0.03125)
    """
    return 2.0 ** (1 - pairs) if pairs >= FEWEST_PAIRS else NAN


def hodges_lehmann(differences: np.ndarray) -> float:
    """Median of the means of every two differences, each with itself too, zeros left out; 0 where all are zero.

    Hodges and Lehmann, Ann Math Stat 1963;34:598: the change that belongs to the signed-rank test, with its direction.

    >>> hodges_lehmann(np.array([1.0, 2, 3, 4, 0, -30]))
    2.0
    """
    some = differences[differences != 0]
    if not some.size:
        return 0.0 if differences.size else NAN
    return float(np.median(np.add.outer(some, some)[np.tri(some.size, dtype=bool)]) / 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of one family of tests after Holm's step-down correction (Scand J Stat 1979;6:65); NaN stays NaN.

    >>> [round(p, 3) for p in holm([0.01, 0.04, float("nan"), 0.03])]
    [0.03, 0.06, nan, 0.06]
    """
    adjusted = np.full(len(p_values), NAN)
    known = [index for index, p in enumerate(p_values) if not np.isnan(p)]
    floor = 0.0
    for rank, index in enumerate(sorted(known, key=lambda index: p_values[index])):
        floor = max(floor, min(1.0, (len(known) - rank) * p_values[index]))
        adjusted[index] = floor
    return [float(p) for p in adjusted]
