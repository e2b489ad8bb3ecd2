"""Classifiers of one class: galaxies and labels in, something that scores other galaxies out.

Three kinds: a network that learns from nothing, a linear model on what a frozen network sees, and anybody's
scikit-learn classifier on the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from astro_galaxysd.classification.arms import Arm, Rows
from astro_galaxysd.classification.network import STEPS, NetworkClassifier
from astro_galaxysd.errors import ConditionError

__all__ = ["Learner", "Scorer", "balance", "check_estimator", "fit_linear", "told_apart"]

#: Galaxies in, scores in [0, 1] out, shape (N,), float64.
Scorer = Callable[[Rows], np.ndarray]

_FOCAL = 2.0  # Lin et al. 2017
_PENALTY = 0.1
_FOLDS = 5


@dataclass(frozen=True)
class Learner:
    """What learns where an arm asks for no linear model.

    Parameters
    ----------
    estimator : object or None
        A scikit-learn classifier with ``predict_proba``, copied before it learns from features; None: the network that
        learns from nothing.
    steps : int
        Of that network.
    """

    estimator: Any = None
    steps: int = STEPS

    def __call__(self, arm: Arm, training: Rows, seed: int) -> Scorer:
        """Learn in the way of an arm."""
        if arm.linear:
            return fit_linear(training)
        if self.estimator is not None:
            return _fit_estimator(self.estimator, arm, training, seed)
        return _fit_network(arm, training, seed, self.steps)


def check_estimator(estimator: Any, arms: Iterable[Arm]) -> None:
    """Raise ConditionError if a scikit-learn classifier can't learn in the way of an arm, or gives no probabilities."""
    from sklearn.utils.validation import has_fit_parameter

    if isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "predict_proba")):
        raise ConditionError(f"{estimator!r} is no scikit-learn classifier with predict_proba; give one, made")
    for arm in arms:
        if arm.focal:
            raise ConditionError(f"arm {arm.name!r} is for the network: {estimator!r} has its own loss; leave it out")
        if arm.balance == "weights" and not arm.linear and not has_fit_parameter(estimator, "sample_weight"):
            raise ConditionError(
                f"{type(estimator).__name__}.fit takes no sample_weight, which arm {arm.name!r} needs; leave that out "
                "of arms="
            )


def balance(positive: np.ndarray) -> np.ndarray:
    """Weights with which both classes count alike; mean 1."""
    share = positive.mean()
    return np.asarray(np.where(positive, 0.5 / share, 0.5 / (1 - share)))


def fit_linear(training: Rows) -> Scorer:
    """A linear model on features, both classes counting alike."""
    return _scorer(_linear_model().fit(training.features, training.positive))


def told_apart(real: Rows, synthetic: Rows, *, seed: int) -> float:
    """Area under the ROC curve of a linear model on features that tells synthetic galaxies from real ones.

    Each galaxy is told by a model that learnt from four fifths of the others; 0.5: it can't tell, NaN: there are not
    two of each.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    made = np.repeat([False, True], [len(real.positive), len(synthetic.positive)])
    fewest = min(len(real.positive), len(synthetic.positive))
    if fewest < 2:
        return float("nan")
    folds = StratifiedKFold(min(_FOLDS, fewest), shuffle=True, random_state=seed)
    both = np.concatenate([real.features, synthetic.features])
    told = cross_val_predict(_linear_model(), both, made, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(made, told))


def _fit_network(arm: Arm, training: Rows, seed: int, steps: int) -> Scorer:
    weights = balance(training.positive) if arm.balance else None
    classifier = NetworkClassifier(steps=steps, seed=seed, focal=_FOCAL if arm.focal else 0.0).fit(
        training.images,
        training.positive,
        weights=weights if arm.balance == "weights" else None,
        shares=weights / len(weights) if weights is not None and arm.balance == "drawn" else None,
    )
    return lambda rows: classifier.score(rows.images)


def _fit_estimator(estimator: Any, arm: Arm, training: Rows, seed: int) -> Scorer:
    from sklearn.base import clone

    rows, options = np.arange(len(training.positive)), {}
    if arm.balance == "drawn":
        share = balance(training.positive)
        most = max(int(training.positive.sum()), int((~training.positive).sum()))
        rows = np.random.default_rng(seed).choice(rows, 2 * most, p=share / share.sum())
    elif arm.balance == "weights":
        options["sample_weight"] = balance(training.positive)
    return _scorer(clone(estimator).fit(training.features[rows], training.positive[rows], **options))


def _scorer(model: Any) -> Scorer:
    return lambda rows: np.asarray(model.predict_proba(rows.features)[:, 1], dtype=np.float64)


def _linear_model() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=1000))
