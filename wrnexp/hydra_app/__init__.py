"""What Hydra needs."""
