"""Records put online: the dashboards of a W&B project, made by code."""
