"""Decoders: on normal classes, where the best accuracy and the information have closed forms, and where planes fail."""

import sys
from typing import Any

import numpy as np
import pytest
import scipy.stats

import recurvature as rc
from recurvature import measures
from recurvature._errors import InputError
from recurvature.measures import decoders


@pytest.fixture(scope="module")
def shifted() -> tuple[np.ndarray, np.ndarray]:
    """Two normal classes in 20 units, 2 apart along one axis and alike in every other way."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1800)
    axis = np.linalg.qr(rng.normal(size=(20, 20)))[0][0]
    return rng.normal(size=(1800, 20)) + np.outer(2 * labels - 1.0, axis), labels


@pytest.fixture(scope="module")
def decoded(shifted: tuple[np.ndarray, np.ndarray]) -> measures.Decoding:
    """All decoders on one and three components of two splits."""
    return measures.decode(*shifted, key=rc.key(0), bottlenecks=(1, 3), splits=2, trees=20)


def test_linear_decoders_reach_the_best_there_is(decoded: measures.Decoding) -> None:
    best = scipy.stats.norm.cdf(1)
    linear = [decoded.decoders.index(name) for name in ("logistic", "lda")]
    # four standard errors of two shares of 600, and what finding 20 weights from 600 trials costs, about 0.3 %
    np.testing.assert_allclose(decoded.mean[:, linear], best, atol=0.045)
    # a forest of 20 trees on one number is worse than the threshold that it looks for
    assert decoded.mean[0, decoded.decoders.index("forest")] < decoded.mean[0, 1]
    np.testing.assert_allclose(decoded.chance, 0.5, atol=0.05)


def test_information_is_the_squared_distance_of_normal_classes(decoded: measures.Decoding) -> None:
    # d'² = 4 along the best axis; its standard error from 600 trials is 0.35, and the axis costs another few percent
    np.testing.assert_allclose(np.asarray(decoded.information).mean(0), 4.0, atol=0.8)


def test_information_is_what_the_definition_says(shifted: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = shifted[0][:, :2], shifted[1]
    found = measures.fisher_information(x[:900], y[:900], x[900:], y[900:])
    groups = [[part[labels == c] for c in (0, 1)] for part, labels in ((x[:900], y[:900]), (x[900:], y[900:]))]
    pooled = [sum((len(g) - 1) * np.cov(g.T) for g in pair) / (len(pair[0]) + len(pair[1]) - 2) for pair in groups]
    axis = np.linalg.inv(pooled[0]) @ (groups[0][1].mean(0) - groups[0][0].mean(0))
    expected = (axis @ (groups[1][1].mean(0) - groups[1][0].mean(0))) ** 2 / (axis @ pooled[1] @ axis)
    # the same in other words
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_where_the_label_is_a_product_planes_fail_and_curves_do_not() -> None:
    rng = np.random.default_rng(1)
    signs = rng.choice([-1.0, 1.0], (900, 2))
    x = 2 * signs + rng.normal(size=(900, 2))
    found = measures.decode(x, (signs.prod(1) > 0).astype(int), key=rc.key(1), bottlenecks=(2,), splits=2, trees=30)
    by = dict(zip(found.decoders, found.mean[0].tolist(), strict=True))
    # chance, within five standard errors of a share of 600
    assert abs(by["lda"] - 0.5) < 0.1
    assert abs(by["logistic"] - 0.5) < 0.1
    # both signs right or both wrong: 0.977² + 0.023²
    assert min(by["qda"], by["forest"]) > 0.9


def test_no_trial_is_in_two_thirds_and_every_label_in_each() -> None:
    labels = np.repeat([0, 1, 2], [9, 11, 40])
    parts = decoders.thirds(labels, key=rc.key(2))
    assert sorted(np.concatenate(parts).tolist()) == list(range(60))
    for part in parts:
        assert (np.bincount(labels[part], minlength=3) >= [3, 3, 13]).all()


def test_several_classes_and_silent_units_are_decoded() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 300)
    x = np.eye(3)[labels] * 4 + rng.normal(size=(300, 3))
    x = np.concatenate([x, np.zeros((300, 2))], axis=1)
    found = measures.decode(x, labels + 5, key=rc.key(3), bottlenecks=(2, 3), decoders=("lda", "qda"), splits=2)
    # centres are 5.7 apart in units of the noise: hardly a mistake
    assert found.mean.min() > 0.95
    low, high = found.interval()
    assert (low <= found.mean).all()
    assert (found.mean <= high).all()


def test_covariances_of_too_few_trials_are_said_and_stop_no_other_width(
    shifted: tuple[np.ndarray, np.ndarray],
) -> None:
    labels = np.arange(30) % 2
    options: dict[str, Any] = {"decoders": ("lda", "qda"), "splits": 1, "key": rc.key(0)}
    # five trials of a class in a third: enough for a covariance of one component, not of six
    found = measures.decode(shifted[0][:30], labels, bottlenecks=(1, 6), **options)
    assert [found.statuses[code] for code in np.asarray(found.status)] == ["ok", "singular covariance"]
    assert np.isfinite(np.asarray(found.accuracy)[:, 0]).all()
    assert np.isfinite(np.asarray(found.accuracy)[:, 1, 0]).all()


def test_shuffled_labels_cannot_be_decoded(shifted: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = shifted
    shuffled = np.random.default_rng(4).permutation(y)
    found = measures.decode(x, shuffled, key=rc.key(4), bottlenecks=(3,), decoders=("lda",), splits=3)
    # components are chosen on trials that are not tested: five standard errors of a share of 600 around a half
    assert abs(found.mean[0, 0] - 0.5) < 0.1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, y: measures.decode(x, y, key=rc.key(0), bottlenecks=(21,)), "`bottlenecks` may reach 20"),
        (lambda x, y: measures.decode(x, np.zeros(len(x), int), key=rc.key(0)), "two classes or more"),
        (lambda x, y: measures.decode(x * np.nan, y, key=rc.key(0)), "`activity` must be finite"),
        (lambda x, y: measures.decode(x * 0, y, key=rc.key(0)), "never changes"),
        (lambda x, y: measures.decode(x, y, key=rc.key(0), splits=0), "`splits` must be a whole number"),
    ],
)
def test_what_cannot_be_decoded_is_refused(call: Any, words: str, shifted: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(InputError, match=words):
        call(*shifted)


def test_units_that_hardly_ever_change_are_no_components(shifted: tuple[np.ndarray, np.ndarray]) -> None:
    rng, labels = np.random.default_rng(5), np.arange(30) % 2
    rare = np.zeros((30, 3))
    rare[:, 0], rare[3, 1] = rng.normal(size=30), 1.0
    with pytest.raises(InputError, match="only 1 of the units change"):
        measures.decode(rare, labels, key=rc.key(0), bottlenecks=(2,), decoders=("lda",), splits=6)
    # thirds of 11 and 11 trials may have 3 of each
    with pytest.raises(InputError, match="`bottlenecks` may reach 6"):
        measures.decode(shifted[0][:22], np.arange(22) % 2, key=rc.key(0), bottlenecks=(7,))


def test_without_scikit_learn_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"pip install 'recurvature\[decoders\]'"):
        decoders.extra("sklearn")
