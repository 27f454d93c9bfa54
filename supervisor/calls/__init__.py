"""One call in this process, from its claim to its end."""
