"""Pictures of when nodes ran."""
