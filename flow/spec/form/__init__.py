"""What a workflow file holds, as types: keys, inputs and settings."""
