"""This process and its surroundings: signals, torchrun, parents, memory, packages, terminal."""
