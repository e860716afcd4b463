"""How fast, how exact, how much memory: this library beside its peers (make bench)."""
