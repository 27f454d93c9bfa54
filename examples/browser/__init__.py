"""A web page that calls an agent, and the backend that lets its users in."""
