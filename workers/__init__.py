"""Workers: planning, dispatch, and the tasks that lease, compute and commit."""
