"""Data loaders for training and evaluation."""
