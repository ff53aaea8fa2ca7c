"""Records put into W&B after their runs: the runs, and dashboards made by code."""
