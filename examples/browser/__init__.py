"""A web page that calls an agent, and its backend."""
