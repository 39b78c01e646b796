"""From the text of an expression to the code that evaluates it."""
