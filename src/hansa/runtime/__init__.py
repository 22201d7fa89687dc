"""The long-lived processes of a federation and the child processes that they start."""
