"""The stand-in's HTTP: OpenAI's API, and its own interface."""
