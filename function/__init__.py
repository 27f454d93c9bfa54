"""The stateless edge: checks webhooks and publishes the calls they tell of."""
