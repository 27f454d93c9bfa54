"""What users write: agents, their tools and rules, and the call as they see it."""
