"""The stand-in's HTTP: OpenAI's REST and sidebands, webhook endpoints, and its own interface."""
