"""What a model can be asked for in words and numbers, and how that becomes the tensors of a condition.

tokens      a text -> whole numbers, by words or by bytes
entries     one name that can be asked for: a class, a number, a text
pictured    the same, of a picture that is seen: in low resolution, or in part
encoder     frozen text encoders, and those that lie in a folder (encoder_folder)
encoded     a text that such an encoder reads
kept        its vectors of all captions, computed once and kept on disk
vocabulary  all of a model's names together: from its training data, to its network, and to the user
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisepath._lazy import offer

if TYPE_CHECKING:
    from noisepath.asking.encoded import EncodedText as EncodedText
    from noisepath.asking.encoder import TextFeatures as TextFeatures
    from noisepath.asking.encoder import TransformersEncoder as TransformersEncoder
    from noisepath.asking.entries import Classes as Classes
    from noisepath.asking.entries import Number as Number
    from noisepath.asking.entries import Text as Text
    from noisepath.asking.pictured import Pictured as Pictured
    from noisepath.asking.tokens import Tokens as Tokens
    from noisepath.asking.vocabulary import Vocabulary as Vocabulary

_HOME = {
    "Classes": "entries",
    "EncodedText": "encoded",
    "Number": "entries",
    "Pictured": "pictured",
    "Text": "entries",
    "TextFeatures": "encoder",
    "Tokens": "tokens",
    "TransformersEncoder": "encoder",
    "Vocabulary": "vocabulary",
}
__all__ = [*_HOME]
__getattr__ = offer(__name__, _HOME)
