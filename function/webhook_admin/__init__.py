"""The operator's command that sets up OpenAI's webhook; it is not deployed."""
