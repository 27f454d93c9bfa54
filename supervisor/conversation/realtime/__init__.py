"""The conversation in events of the Realtime API: responses, tool calls, and what the caller hears."""
