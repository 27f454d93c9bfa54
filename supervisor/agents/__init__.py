"""What users write: agents, their tools and rules, the router, and the call as they see it."""
