"""`torchrun --nproc-per-node 4 -m embeddings_lib.sharding` runs the demo."""

from embeddings_lib.sharding.demo import main

if __name__ == "__main__":
    main()
