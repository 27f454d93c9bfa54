"""What users write: agents, tools, rules and routers; and their view of a call."""
