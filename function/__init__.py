"""The stateless edge: checks webhooks, and publishes their calls."""
