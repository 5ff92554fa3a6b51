"""Named feature spaces: what a distance between pictures is measured in, and how a report says which it was.

    pixels       the reference's pixels in their first 64 principal components: what everybody has, blind to meaning
    classifier   the layer before last of a classifier trained on the user's own classes (:mod:`.classifier`)
    a folder     such a classifier of another run, or a Hugging Face vision model that lies on the disk
    your own     any function from pictures to features, with a name: :func:`network_space`

A distance in one space says nothing of one in another, nor of one in the same space fitted to other pictures.  So a space
has an *identity*, a hash of the numbers it is made of, and figures are compared only where the identities agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noisepath._lazy import torch
from noisepath.evaluation.pictures import content_hash, shrink_name, shrunk
from noisepath.evaluation.space import Space, hash_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from noisepath.evaluation.classifier import Classifier

    Features = NDArray[np.float64]

__all__ = ["classifier_space", "folder_space", "network_space", "pca_features", "pixel_space"]


def pca_features(real: Features, dimensions: int) -> Callable[[Features], Features]:
    """A map from raw values (N, V) to the first ``dimensions`` principal components of ``real``."""
    from sklearn.decomposition import PCA

    fitted: Any = PCA(dimensions, random_state=0).fit(real)

    def features(values: Features) -> Features:
        projected: Features = fitted.transform(values)
        return projected

    return features


def pixel_space(reference: Tensor, dimensions: int = 64) -> Space:
    """The principal components of the reference's pixels (N, C, H, W): at most ``dimensions``, and fewer than N.

    Its identity is that of the reference, of which it is a function.
    """
    values = _flat(reference)
    kept = min(dimensions, len(values) - 1, values.shape[1])
    if kept < 1:
        raise ValueError("principal components need at least 2 reference pictures")
    project = pca_features(values, kept)
    identity = hashlib.sha256(f"pixels {kept} {content_hash(reference)}".encode()).hexdigest()
    resize = shrink_name(reference.shape)
    return Space("pixels", identity, resize, lambda pictures: project(_flat(pictures)))


def _flat(pictures: Tensor) -> Features:
    values: Features = shrunk(pictures).flatten(1).double().numpy()
    return values


def classifier_space(classifier: Classifier) -> Space:
    """The layer before last of a classifier."""
    return Space("classifier", classifier.identity, shrink_name(classifier.shape), classifier.features)


def network_space(
    network: Callable[[Tensor], Tensor | NDArray[Any]], name: str, *, identity: str | None = None, resize: str = "none"
) -> Space:
    """Any function from pictures (B, C, H, W) in [-1, 1] to features (B, D) as a space with a name.

    ``identity`` says which numbers it is made of, so that figures taken with others are not compared; that of a
    ``torch.nn.Module`` is worked out from its weights.  ``resize`` says what it does to the pictures' size.
    """
    if identity is None:
        if not isinstance(network, torch.nn.Module):
            raise ValueError(
                f"features {name!r} need an identity: a text that changes with the numbers they are made of "
                "(that of a torch.nn.Module is worked out from its weights)"
            )
        identity = hash_of(network.state_dict().items())
    return Space(name, identity, resize, network)


def folder_space(folder: str | Path, shape: tuple[int, int, int], device: str = "cpu") -> tuple[Space, Classifier | None]:
    """The space that lies in a folder, for pictures of this shape; and the classifier, if it is one of ours.

    Raises:
        FileNotFoundError: no such folder, or neither a classifier nor a model in it.
        ValueError: one that is damaged, or for pictures of another shape; or transformers is not installed.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path)!r} to take features from" + _or_file(path))
    if (path / "classifier.json").is_file():
        from noisepath.evaluation.classifier import load_classifier

        classifier = load_classifier(path, device)
        if classifier.shape != shape:
            raise ValueError(
                f"the classifier in {str(path)!r} reads pictures of shape {classifier.shape}, but these are {shape}"
            )
        return classifier_space(classifier), classifier
    if (path / "config.json").is_file():
        from noisepath.evaluation.transformers_space import transformers_space

        return transformers_space(path, device), None
    raise FileNotFoundError(
        f"{str(path)!r} holds no features: neither a classifier (classifier.json) nor a Hugging Face model (config.json)"
    )


def _or_file(path: Path) -> str:
    return ": it is a file" if path.is_file() else " (named spaces: auto, pixels)"
