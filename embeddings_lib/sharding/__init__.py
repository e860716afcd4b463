"""A token table in pieces, one on each rank (chapter 15).

`torchrun --nproc-per-node 4 -m embeddings_lib.sharding` cuts a small table, and prints
what each rank holds and sends.
"""

from embeddings_lib.sharding.demo import demo
from embeddings_lib.sharding.ranks import connect, run_on_ranks
from embeddings_lib.sharding.sharded_embedding import (
    ColumnShardedEmbedding,
    RowShardedEmbedding,
    ShardedEmbedding,
    shard,
)
from embeddings_lib.sharding.traffic import Traffic, bytes_sent

__all__ = [
    "ColumnShardedEmbedding",
    "RowShardedEmbedding",
    "ShardedEmbedding",
    "Traffic",
    "bytes_sent",
    "connect",
    "demo",
    "run_on_ranks",
    "shard",
]
