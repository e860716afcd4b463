"""How text enters a language model: the small library that the chapters build.

The files follow the chapters, so that a newcomer can read them from top to bottom:
`tokenizer` (chapter 1), `token_embedding` (2), `attention` (5),
`learned_positions` (6), `sinusoidal_positions` (7) with `exact_angles`,
`rotary_positions` (8), `input_embedding` with `language_model` (10), `model_shape` with
`published_models` (11), `llama` (12), which puts the parts together, with
`checkpoints`, which opens a published model, `attention_biases` and `rotary_scaling`
(13), and `sharding` (15), which is imported by its own name only. `experiments` holds
what the chapters experiment with. Beside them, `downloads` fetches real vocabularies,
trained tables and the model, and `notebook` draws what a notebook shows.
"""

__version__ = "0.1.0"

from embeddings_lib._tokenizer_files import load_encoding, save_encoding
from embeddings_lib.attention_biases import T5Bias, alibi_bias
from embeddings_lib.checkpoints import load_llama, load_smollm2
from embeddings_lib.experiments.skipgram import SkipGram
from embeddings_lib.experiments.word_vectors import WordVectors
from embeddings_lib.input_embedding import InputEmbedding
from embeddings_lib.language_model import TinyLM
from embeddings_lib.learned_positions import LearnedPositions
from embeddings_lib.llama import Llama
from embeddings_lib.model_shape import ModelShape
from embeddings_lib.notebook import default_device
from embeddings_lib.published_models import published_shape
from embeddings_lib.rotary_positions import RotaryPositions, rotate, to_halves, to_pairs
from embeddings_lib.rotary_scaling import rotary_from_config
from embeddings_lib.sinusoidal_positions import SinusoidalPositions, sinusoidal_encoding
from embeddings_lib.token_embedding import TokenEmbedding
from embeddings_lib.tokenizer import gpt2_encoding, train_bpe

__all__ = [
    "InputEmbedding",
    "LearnedPositions",
    "Llama",
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
    "load_encoding",
    "load_llama",
    "load_smollm2",
    "published_shape",
    "rotary_from_config",
    "rotate",
    "save_encoding",
    "sinusoidal_encoding",
    "to_halves",
    "to_pairs",
    "train_bpe",
]
