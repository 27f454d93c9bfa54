"""I/O to OpenAI: call signalling, the sideband socket, what follows when they fail, and prices."""
