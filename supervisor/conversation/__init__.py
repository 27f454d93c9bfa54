"""What is said and done in a call, decided without I/O."""
