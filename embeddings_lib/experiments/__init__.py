"""What the chapters experiment with: worlds, texts and models made for one question."""
