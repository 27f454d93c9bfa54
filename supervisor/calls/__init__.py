"""One call in this process: owning it, steering it while it is attached, and settling it."""
