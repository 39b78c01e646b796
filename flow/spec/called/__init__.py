"""What a workflow file may call: names, what is allowed, functions and their arguments."""
