"""Records put into W&B after their runs: runs, workspaces and write-ups."""
