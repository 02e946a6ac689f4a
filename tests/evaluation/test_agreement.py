"""Statistics of agreement against published worked examples and statsmodels."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats

from bids_lfenhance.evaluation.agreement import (
    bland_altman,
    hodges_lehmann,
    holm,
    icc_2_1,
    lin_ccc,
    mean_sd,
    pearson,
    signed_rank_ps,
    within_subject_cv,
)

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
"""Table 2 of Shrout and Fleiss 1979: six targets, four judges."""

WRIGHT = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427])
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451])
"""Bland and Altman 1986, table 1: peak flow of 17 people by two meters, first measurements, l/min."""


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = rng.normal(500, 60, 25)
    return truth + 20 + rng.normal(0, 15, 25), truth


def test_icc_is_that_of_shrout_and_fleiss() -> None:
    icc = icc_2_1(SHROUT_FLEISS)
    assert round(icc.value, 2) == 0.29  # their table 4
    assert (round(icc.low, 2), round(icc.high, 2)) == (0.02, 0.76)  # as published for this table by R's psych and irr


def test_icc_from_the_mean_squares_of_statsmodels(pair: tuple[np.ndarray, np.ndarray]) -> None:
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    ratings = np.column_stack(pair)
    n, k = ratings.shape
    long = pd.DataFrame(
        {"y": ratings.ravel(), "who": np.repeat(np.arange(n), k).astype(str), "by": np.tile(["a", "b"], n)}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        squares = anova_lm(ols("y ~ C(who) + C(by)", long).fit())["mean_sq"]
    rows, columns, error = squares["C(who)"], squares["C(by)"], squares["Residual"]
    expected = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
    assert icc_2_1(ratings).value == pytest.approx(expected, rel=1e-9)


def test_bland_altman_is_that_of_the_paper() -> None:
    found = bland_altman(WRIGHT, MINI)
    assert (round(found.bias.value, 1), round(found.sd, 1)) == (-2.1, 38.8)
    assert (round(found.bias.low, 1), round(found.bias.high, 1)) == (-22.0, 17.8)
    # the paper takes 2 SD and √(3/n) for the limits, we 1.96 and the form of 1999
    assert found.lower.value == pytest.approx(-2.1 - 1.96 * 38.8, abs=0.1)
    assert found.upper.high == pytest.approx(110.1, abs=2.5)
    assert found.lower.low == pytest.approx(-114.3, abs=2.5)


def test_limits_of_repeated_sessions_are_those_of_a_single_one() -> None:
    rng = np.random.default_rng(4)
    people, each, offsets, noise = 400, 4, 100, 200
    reference = np.repeat(rng.normal(4000, 300, (people, 1)), each, axis=1)
    values = reference + rng.normal(0, offsets, (people, 1)) + rng.normal(0, noise, (people, each))
    values[::3, 2:] = np.nan  # a third has two sessions alone
    found = bland_altman(values, reference)
    assert found.sd == pytest.approx(math.hypot(offsets, noise), rel=0.1)
    difference = (values - reference)[np.isfinite(values)]
    assert 0.92 < np.mean((difference > found.lower.value) & (difference < found.upper.value)) < 0.98
    assert found.bias.value == pytest.approx(np.nanmean(values - reference, axis=1).mean())
    one = bland_altman(values[:, :1], reference[:, :1])
    assert one == bland_altman(values[:, 0], reference[:, 0]), "one session each: as ever"


def test_interval_of_limits_of_repeated_sessions_covers() -> None:
    rng, hits = np.random.default_rng(6), 0
    true = 1.96 * math.hypot(1, 2)
    for _ in range(300):
        difference = rng.normal(0, 1, (25, 1)) + rng.normal(0, 2, (25, 3))
        upper = bland_altman(difference, np.zeros((25, 3))).upper
        hits += upper.low <= true <= upper.high
    assert 0.92 < hits / 300 < 0.99


def test_hodges_lehmann_has_the_direction_of_the_signed_rank_test(rng: np.random.Generator) -> None:
    for _ in range(200):
        some = rng.standard_cauchy(9) + 0.3
        ranks = stats.rankdata(np.abs(some))
        assert np.sign(hodges_lehmann(some)) == np.sign(ranks[some > 0].sum() - ranks[some < 0].sum())
    assert hodges_lehmann(np.zeros(6)) == 0
    assert math.isnan(hodges_lehmann(np.array([])))


def test_ccc_is_its_definition_and_its_interval_covers(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    covariance = np.cov(x, y, ddof=0)
    expected = 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + (x.mean() - y.mean()) ** 2)
    assert lin_ccc(x, y).value == pytest.approx(expected)
    rng, hits = np.random.default_rng(0), 0
    true = 2 * 1 / (1.25 + 1 + 0.25)  # y = x + N(0.5, 0.5²), var x = 1
    for _ in range(300):
        truth = rng.standard_normal(40)
        found = lin_ccc(truth + 0.5 + 0.5 * rng.standard_normal(40), truth)
        hits += found.low <= true <= found.high
    assert 0.91 < hits / 300 < 0.985


def test_icc_interval_covers() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(300):  # variances: people 4, raters 0.25 drawn anew, error 1
        ratings = 2 * rng.standard_normal((20, 1)) + 0.5 * rng.standard_normal((1, 2)) + rng.standard_normal((20, 2))
        found = icc_2_1(ratings)
        hits += found.low <= 4 / 5.25 <= found.high
    assert 0.90 < hits / 300 < 0.99


def test_pearson_is_that_of_statsmodels_regression(pair: tuple[np.ndarray, np.ndarray]) -> None:
    import statsmodels.api as sm

    x, y = pair
    fit = sm.OLS(y, sm.add_constant(x)).fit()
    r, p = pearson(x, y)
    assert r.value == pytest.approx(math.sqrt(fit.rsquared))
    assert p == pytest.approx(fit.pvalues[1], rel=1e-6)
    half = 1.959964 / math.sqrt(25 - 3)
    assert (r.low, r.high) == pytest.approx([np.tanh(np.arctanh(r.value) + half * s) for s in (-1, 1)], rel=1e-5)


def test_holm_is_that_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(5).uniform(0, 0.1, 12)
    assert holm(list(p)) == pytest.approx(list(multipletests(p, method="holm")[1]))


def test_signed_rank_counts_signs_exactly_and_says_nothing_of_five() -> None:
    better = np.arange(1.0, 9.0)
    some = np.array([0, 0, 1.5, -2.5, 3.5, 4.5, 5.5, 6.5])
    eight, five, equal, zeros = signed_rank_ps([better, better[:5], np.zeros(8), some])
    assert eight == pytest.approx(2 / 2**8)
    assert math.isnan(five)
    assert equal == 1.0
    assert zeros == pytest.approx(stats.wilcoxon(some[2:]).pvalue)


def test_many_tests_at_once_are_the_tests_one_by_one(rng: np.random.Generator):
    sizes = (5, 6, 9, 9, 9, 60, 60, 60)
    differences = [rng.normal(0.2, 1, size) for size in sizes]
    differences[3] = np.round(differences[3])  # ties and zeros
    differences[7] = np.round(differences[7], 1)
    differences.append(np.zeros(8))
    found = signed_rank_ps(differences)
    assert math.isnan(found[0])
    assert found[-1] == 1.0
    for p, difference in zip(found[1:-1], differences[1:-1], strict=True):
        assert p == pytest.approx(stats.wilcoxon(difference[difference != 0]).pvalue, rel=1e-12)


def test_within_subject_cv_of_a_known_spread() -> None:
    assert within_subject_cv(np.array([99.0, 101.0]), np.array([101.0, 99.0])) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_subjects_give_nan_and_no_error(n: int) -> None:
    x, y = np.arange(n) * 1.0, np.arange(n) + 1.0
    assert math.isnan(signed_rank_ps([x - y])[0])
    assert math.isnan(pearson(x, y)[0].low)
    assert math.isnan(bland_altman(x, y).bias.low) is (n < 2)
    for value in (icc_2_1(np.column_stack([x, y])), lin_ccc(x, y)):
        assert math.isnan(value.value) is (n < 2)
    assert math.isnan(mean_sd(x)[1]) is (n < 2)


def test_two_subjects_that_hardly_agree_have_an_icc_without_interval() -> None:
    found = icc_2_1(np.array([[780997.0, 776146.0], [792884.0, 767561.0]]))
    assert -1 < found.value < 1
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("seed", range(6))
def test_icc_r_and_their_intervals_are_those_of_pingouin(seed: int) -> None:
    pingouin = pytest.importorskip("pingouin", reason="pingouin is in the test extra")
    import pandas as pd

    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 40))
    truth = rng.normal(500, 60, n)
    ratings = np.column_stack([truth + rng.normal(0, 40), truth + rng.normal(0, 15 + 20 * rng.uniform(), n)])
    long = pd.DataFrame({"y": ratings.ravel(), "who": np.repeat(np.arange(n), 2), "by": np.tile(["a", "b"], n)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = pingouin.intraclass_corr(long, targets="who", raters="by", ratings="y").set_index("Type")
        row = table.loc[next(name for name in ("ICC2", "ICC(A,1)") if name in table.index)]
        corr = pingouin.corr(*ratings.T).iloc[0]
    icc, (r, p) = icc_2_1(ratings), pearson(*ratings.T)
    interval = next(row[name] for name in ("CI95", "CI95%", "CI95%_") if name in row.index)
    assert icc.value == pytest.approx(row["ICC"], abs=1e-9)
    assert (icc.low, icc.high) == pytest.approx(list(interval), abs=0.0051)  # pingouin rounds its intervals
    assert r.value == pytest.approx(corr["r"])
    assert p == pytest.approx(next(corr[name] for name in ("p_val", "p-val") if name in corr.index), rel=1e-6)
    ends = next(corr[name] for name in ("CI95", "CI95%") if name in corr.index)
    assert (r.low, r.high) == pytest.approx(list(ends), abs=0.0051)


def test_pearson_is_that_of_scipy_down_to_few() -> None:
    rng = np.random.default_rng(8)
    for n in (3, 4, 5, 9, 60):
        x, y = rng.normal(size=(2, n))
        r, p = pearson(x, y)
        expected = stats.pearsonr(x, y)
        assert (r.value, p) == pytest.approx((expected.statistic, expected.pvalue))
        if n > 3:
            assert (r.low, r.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert pearson(np.arange(5.0), 2 * np.arange(5.0))[0].value == 1


def test_bland_altman_is_that_of_statsmodels(pair: tuple[np.ndarray, np.ndarray]) -> None:
    from statsmodels.stats.weightstats import DescrStatsW

    found, told = bland_altman(*pair), DescrStatsW(pair[0] - pair[1])
    assert found.bias.value == pytest.approx(told.mean)
    assert (found.bias.low, found.bias.high) == pytest.approx(told.tconfint_mean(0.05))
    sd = told.std_ddof(1)
    assert (found.lower.value, found.upper.value) == pytest.approx((told.mean - 1.96 * sd, told.mean + 1.96 * sd))


def test_values_without_spread_give_nan() -> None:
    same = np.ones(8)
    assert math.isnan(icc_2_1(np.column_stack([same, same])).value)
    assert math.isnan(lin_ccc(same, same).value)
    assert math.isnan(pearson(same, np.arange(8))[0].value)
