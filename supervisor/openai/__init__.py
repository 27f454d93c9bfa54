"""I/O to OpenAI: REST requests, the sideband socket, and what follows when they fail."""
