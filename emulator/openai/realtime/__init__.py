"""A Realtime session without I/O: conversation, responses, input audio, usage."""
