"""Decide what is said and done in a call, without I/O."""
