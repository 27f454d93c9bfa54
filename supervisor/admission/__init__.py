"""Who gets in: which agent answers a call, and whether it does."""
