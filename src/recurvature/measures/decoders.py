r"""Decoders of a label from activity: few components by partial least squares, a classifier on them, a fair test.

Trials are split in three: one third finds the components, one fits the classifier, one tests it. No trial that is
tested has been seen before, and components are not judged by the trials that chose them (docs eq. L.62).
"""

import importlib
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.random as jr
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_choice, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._result import AbstractResult, Citation, Values

SCIKIT_LEARN = Citation(
    "pedregosa2011scikit",
    "Pedregosa et al. (2011). Scikit-learn: Machine Learning in Python. JMLR 12, 2825-2830.",
    "https://jmlr.org/papers/v12/pedregosa11a.html",
)
FISHER = Citation(
    "rumyantsev2020fundamental",
    "Rumyantsev et al. (2020). Fundamental bounds on the fidelity of sensory cortical coding. Nature 580, 100-105.",
    "https://doi.org/10.1038/s41586-020-2130-2",
)

Decoder = Literal["logistic", "lda", "qda", "forest"]
DECODERS: tuple[Decoder, ...] = ("logistic", "lda", "qda", "forest")
LINEAR: tuple[Decoder, ...] = ("logistic", "lda")
"""Those whose boundary is a plane; the others bend."""

OK, SINGULAR = range(2)
DECODING_STATUS = ("ok", "singular covariance")
"""What the numbers in `status` mean: some class has no more trials in a third than there are components. Accuracies of
`qda` may then be NaN: a covariance of each class is what it works with."""


class Decoding(AbstractResult):
    r"""Accuracy of every decoder on every number of components, for every random split of the trials.

    `information` is Fisher's linear discriminability $d'^2$ along the axis fitted on the second third, measured on the
    last (mean over pairs of classes). Splits share trials: their spread is not the error of the mean.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SCIKIT_LEARN, FISHER)

    accuracy: Float[Values, "split bottleneck decoder"]
    information: Float[Values, "split bottleneck"]
    bottleneck: Int[Values, " bottleneck"] = eqx.field(metadata={"long_name": "components that a decoder sees"})
    status: Int[Values, " bottleneck"]
    chance: float
    """Share of the most frequent label."""
    decoders: tuple[str, ...]
    trials: int
    statuses: tuple[str, ...] = DECODING_STATUS

    @property
    def mean(self) -> Float[np.ndarray, "bottleneck decoder"]:
        """Accuracy, mean over splits."""
        return np.asarray(self.accuracy).mean(0)

    def interval(self, share: float = 0.95) -> tuple[Float[np.ndarray, "b d"], Float[np.ndarray, "b d"]]:
        """Lower and upper ends of what `share` of the splits gave."""
        if not 0 < share < 1:
            raise InputError(f"`share` must lie between 0 and 1; got {share!r}.")
        low, high = np.quantile(np.asarray(self.accuracy), [(1 - share) / 2, (1 + share) / 2], axis=0)
        return low, high


def decode(
    activity: Float[Any, "trial n"],
    labels: Int[Any, " trial"],
    *,
    key: PRNGKey,
    bottlenecks: tuple[int, ...] = (1, 2, 3, 5, 10),
    decoders: tuple[Decoder, ...] = DECODERS,
    splits: int = 100,
    trees: int = 100,
) -> Decoding:
    r"""How well a label is decoded from a few components of activity, by linear and by nonlinear decoders.

    **Arguments**

    - `activity`: rates or counts; a row to each trial or bin. Units that never change are ignored.
    - `labels`: one of two or more classes a trial.
    - `bottlenecks`: numbers of partial-least-squares components handed on.
    - `decoders`: of `logistic` (regularisation by cross-validation), `lda`, `qda`, `forest` (`trees` trees).
    - `splits`: random splits in three, each with every label in every third.

    Needs scikit-learn (`pip install 'recurvature[decoders]'`). Raises `InputError` where a label has fewer than 9
    trials, and on more components than units or trials of a third. Paper's figure 2B-D and S2; docs eqs. L.62, L.63.
    """
    x, y, classes = _checked(activity, labels)
    for decoder in decoders:
        check_choice("decoders", decoder, DECODERS)
    check_count(splits=splits, trees=trees, **{f"bottlenecks: {b}": b for b in bottlenecks})
    if not bottlenecks or not decoders:
        raise InputError("`bottlenecks` and `decoders` must each name at least one.")
    counts = np.bincount(y)
    most = min(x.shape[1], int((counts // 3).sum()))
    if max(bottlenecks) > most:
        raise InputError(f"`bottlenecks` may reach {most} with these units and trials; got {bottlenecks}.")
    extra("sklearn")
    widest = np.asarray(bottlenecks)
    rows = [_one_split(x, y, classes, widest, decoders, trees, stream(key, f"split {k}")) for k in range(splits)]
    # a third of each class less the mean takes one degree of freedom
    status = np.where(widest >= counts.min() // 3, SINGULAR, OK).astype(np.int8)
    accuracy, information = (np.array([row[k] for row in rows]) for k in (0, 1))
    return Decoding(accuracy, information, widest, status, float(counts.max() / len(y)), tuple(decoders), len(y))


def thirds(labels: Int[np.ndarray, " trial"], *, key: PRNGKey) -> list[Int[np.ndarray, " part"]]:
    """Indices of three disjoint parts of the trials, each with its third of every label."""
    generator = np.random.default_rng(np.asarray(jr.key_data(key)))
    parts: list[list[np.ndarray]] = [[], [], []]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        # which part gets the trial that is left over is random too
        for place, members_of in zip(generator.permutation(3), np.array_split(members, 3), strict=True):
            parts[place].append(members_of)
    return [np.concatenate(part) for part in parts]


def fisher_information(
    fitted: Float[Any, "trial k"],
    fitted_labels: Int[Any, " trial"],
    tested: Float[Any, "other k"],
    tested_labels: Int[Any, " other"],
) -> float:
    r"""$d'^2 = (w^\top\Delta\mu)^2/\sigma^2$ on trials that did not choose $w = \Sigma^{-1}\Delta\mu$ (docs eq. L.63).

    The variance is pooled over both classes; of more than two classes, the mean over their pairs. Squares of noisy
    means are too large by about $1/n_a + 1/n_b$ for classes of $n_a$ and $n_b$ tested trials: nothing is taken off.
    """
    classes = np.unique(fitted_labels)
    found = []
    for i, one in enumerate(classes):
        for two in classes[i + 1 :]:
            a, b = (np.asarray(fitted, np.float64)[np.asarray(fitted_labels) == c] for c in (one, two))
            axis = np.linalg.lstsq(_pooled(a, b), b.mean(0) - a.mean(0), rcond=None)[0]
            a, b = (np.asarray(tested, np.float64)[np.asarray(tested_labels) == c] for c in (one, two))
            spread = axis @ _pooled(a, b) @ axis
            found.append((axis @ (b.mean(0) - a.mean(0))) ** 2 / spread if spread > 0 else np.nan)
    return float(np.mean(found))


def extra(name: str) -> Any:
    """A module of scikit-learn, or an error that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError("decoders need scikit-learn: pip install 'recurvature[decoders]'.") from error


def _checked(activity: Any, labels: Any) -> tuple[np.ndarray, np.ndarray, int]:
    x, given = np.asarray(activity, np.float64), np.asarray(labels)
    if x.ndim != 2 or given.shape != (len(x),) or not np.isfinite(x).all():
        raise InputError(
            f"`activity` must be finite of shape (trial, unit), `labels` (trial,); got {x.shape}, {given.shape}."
        )
    names, y = np.unique(given, return_inverse=True)
    counts = np.bincount(y)
    if len(names) < 2 or counts.min() < 9:
        raise InputError(f"`labels` must hold two classes or more, 9 trials each or more; got {counts.tolist()}.")
    moving = x[:, x.std(0) > 0]
    if not moving.shape[1]:
        raise InputError("`activity` never changes: there is nothing to decode from.")
    return moving, y, len(names)


def _one_split(
    x: Float[np.ndarray, "trial n"],
    y: Int[np.ndarray, " trial"],
    classes: int,
    bottlenecks: Int[np.ndarray, " b"],
    decoders: tuple[Decoder, ...],
    trees: int,
    key: PRNGKey,
) -> tuple[Float[np.ndarray, "b d"], Float[np.ndarray, " b"]]:
    """Accuracies and Fisher information of one split."""
    find, fit, test = thirds(y, key=stream(key, "thirds"))
    pls = extra("sklearn.cross_decomposition").PLSRegression(int(bottlenecks.max()), tol=1e-8, max_iter=2000)
    # one column tells two classes apart
    wanted = np.eye(classes)[y] if classes > 2 else y[:, None].astype(float)
    moving = x[find].std(0) > 0
    if moving.sum() < bottlenecks.max():
        raise InputError(
            f"only {moving.sum()} of the units change in some third of the trials: ask for at most as many components "
            "in `bottlenecks`, or leave out units that hardly ever change."
        )
    pls.fit(x[find][:, moving], wanted[find])
    scores = pls.transform(x[:, moving])
    accuracy, information = [], []
    seed = int(jr.randint(stream(key, "forest"), (), 0, 2**31 - 1))
    for width in bottlenecks.tolist():
        # components are found one after the other: the first ones are the same whatever comes later
        part = scores[:, :width]
        scale = part[fit].std(0)
        part = (part - part[fit].mean(0)) / np.where(scale > 0, scale, 1)
        models = [_classifier(name, trees, seed) for name in decoders]
        accuracy.append([_share_right(model, (part[fit], y[fit]), (part[test], y[test])) for model in models])
        information.append(fisher_information(part[fit], y[fit], part[test], y[test]))
    return np.array(accuracy), np.array(information)


def _share_right(model: Any, fit: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    """Accuracy on the tested trials; NaN where the model finds a covariance that cannot be inverted."""
    try:
        model.fit(*fit)
    except np.linalg.LinAlgError:
        return float("nan")
    return float(np.mean(model.predict(test[0]) == test[1]))


def _classifier(name: Decoder, trees: int, seed: int) -> Any:
    if name == "logistic":
        regression = extra("sklearn.linear_model").LogisticRegression()
        return extra("sklearn.model_selection").GridSearchCV(regression, {"C": [0.01, 1.0, 100.0]}, cv=3)
    if name == "lda":
        return extra("sklearn.discriminant_analysis").LinearDiscriminantAnalysis()
    if name == "qda":
        # a small multiple of the identity keeps covariances of few trials invertible
        return extra("sklearn.discriminant_analysis").QuadraticDiscriminantAnalysis(reg_param=1e-6)
    return extra("sklearn.ensemble").RandomForestClassifier(trees, random_state=seed)


def _pooled(a: Float[np.ndarray, "trial k"], b: Float[np.ndarray, "other k"]) -> Float[np.ndarray, "k k"]:
    """The covariance within both classes."""
    centred = np.concatenate([a - a.mean(0), b - b.mean(0)])
    return centred.T @ centred / (len(centred) - 2)
