"""What nodes see of their run."""
