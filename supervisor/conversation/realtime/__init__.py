"""The conversation in events of OpenAI's Realtime API."""
