"""Matplotlib figures of single runs and of the report, written as PNG."""
