"""How text enters a language model: the small library that the chapters build.

The files follow the chapters, so that a newcomer can read them from top to bottom:
`tokenizer` (chapter 1), `token_table` (2) with `lookup`, `corpus`, `skipgram` and
`analogy` (3), `attention` (4), `learned` (5), `sinusoidal` (6) with `waves`, `rotary`
(7), `combined` with `tiny_lm` (8), `sizing` (9), `biases` and `scaling` with `bake_off`
(10), and `sharding` (11), which is imported by its own name only. Beside them, `assets`
fetches the real vocabulary and trained tables, `device` picks the device, and `show`
draws what a notebook shows.
"""

__version__ = "0.1.0"

from embeddings_lib.analogy import WordVectors
from embeddings_lib.biases import T5Bias, alibi_bias
from embeddings_lib.combined import InputEmbedding
from embeddings_lib.device import default_device
from embeddings_lib.learned import LearnedPositions
from embeddings_lib.rotary import RotaryPositions, rotate, to_halves, to_pairs
from embeddings_lib.scaling import rotary_from_config
from embeddings_lib.sinusoidal import SinusoidalPositions, sinusoidal_encoding
from embeddings_lib.sizing import ModelShape, published_shape
from embeddings_lib.skipgram import SkipGram
from embeddings_lib.tiny_lm import TinyLM
from embeddings_lib.token_table import TokenEmbedding
from embeddings_lib.tokenizer import gpt2_encoding, train_bpe

__all__ = [
    "InputEmbedding",
    "LearnedPositions",
    "ModelShape",
    "RotaryPositions",
    "SinusoidalPositions",
    "SkipGram",
    "T5Bias",
    "TinyLM",
    "TokenEmbedding",
    "WordVectors",
    "alibi_bias",
    "default_device",
    "gpt2_encoding",
    "published_shape",
    "rotary_from_config",
    "rotate",
    "sinusoidal_encoding",
    "to_halves",
    "to_pairs",
    "train_bpe",
]
