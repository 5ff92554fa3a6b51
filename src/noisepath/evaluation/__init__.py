"""How good are the pictures?  Honest figures, each with an interval and beside what real pictures get.

distances     Frechet and kernel distance, precision and recall; intervals
space         a named function from pictures to features
features      named feature spaces; transformers_space: Hugging Face models on the disk
classifier    a small classifier of the user's own classes
heldout       the loss by noise level, on pictures held out and on those trained on
neighbours    the nearest training pictures of samples: memorisation
report        what all this is written into; like is compared with like only
standards     the real pictures of an evaluation, and what they get themselves
judging       samples drawn, and every figure of them
run           evaluate(): a run folder in, its report and pictures out
table         a report in words
figures       the pictures of a report
digits        scikit-learn's digits, judged in terms of them alone
pictures      what evaluation asks of a data set
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisepath._lazy import offer

if TYPE_CHECKING:
    from noisepath.evaluation.classifier import Classifier as Classifier
    from noisepath.evaluation.classifier import load_classifier as load_classifier
    from noisepath.evaluation.classifier import save_classifier as save_classifier
    from noisepath.evaluation.classifier import train_classifier as train_classifier
    from noisepath.evaluation.digits import DigitsJudge as DigitsJudge
    from noisepath.evaluation.digits import DigitsReport as DigitsReport
    from noisepath.evaluation.distances import Interval as Interval
    from noisepath.evaluation.distances import frechet_distance as frechet_distance
    from noisepath.evaluation.distances import gaussian_frechet as gaussian_frechet
    from noisepath.evaluation.distances import half_split_distance as half_split_distance
    from noisepath.evaluation.distances import kernel_distance as kernel_distance
    from noisepath.evaluation.distances import precision_recall as precision_recall
    from noisepath.evaluation.features import network_space as network_space
    from noisepath.evaluation.features import pca_features as pca_features
    from noisepath.evaluation.heldout import loss_by_level as loss_by_level
    from noisepath.evaluation.judging import judge as judge
    from noisepath.evaluation.neighbours import nearest as nearest
    from noisepath.evaluation.neighbours import nearest_ratio as nearest_ratio
    from noisepath.evaluation.report import Report as Report
    from noisepath.evaluation.report import compare as compare
    from noisepath.evaluation.report import read_report as read_report
    from noisepath.evaluation.run import Evaluation as Evaluation
    from noisepath.evaluation.run import evaluate as evaluate
    from noisepath.evaluation.space import Space as Space
    from noisepath.evaluation.table import summary as summary

_HOME = {
    "Classifier": "classifier",
    "DigitsJudge": "digits",
    "DigitsReport": "digits",
    "Evaluation": "run",
    "Interval": "distances",
    "Report": "report",
    "Space": "space",
    "compare": "report",
    "evaluate": "run",
    "frechet_distance": "distances",
    "gaussian_frechet": "distances",
    "half_split_distance": "distances",
    "judge": "judging",
    "kernel_distance": "distances",
    "load_classifier": "classifier",
    "loss_by_level": "heldout",
    "nearest": "neighbours",
    "nearest_ratio": "neighbours",
    "network_space": "features",
    "pca_features": "features",
    "precision_recall": "distances",
    "read_report": "report",
    "save_classifier": "classifier",
    "summary": "table",
    "train_classifier": "classifier",
}
__all__ = [*_HOME]
__getattr__ = offer(__name__, _HOME)
