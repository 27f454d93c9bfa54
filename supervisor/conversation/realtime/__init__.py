"""The conversation as the Realtime API tells it: responses, tool calls, what the caller hears."""
