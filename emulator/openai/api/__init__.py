"""The doors of the stand-in: REST, sidebands, webhooks, and its own control."""
