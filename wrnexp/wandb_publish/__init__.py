"""Uploads finished runs to W&B from their records, and saves W&B dashboards over them."""
