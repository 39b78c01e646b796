"""From the text of a file to values that know their places."""
