"""What every measurement stands on: one kind of contender, interleaved rounds, checks of the work, processes."""
