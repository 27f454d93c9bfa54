"""The Realtime session, without I/O: items, responses, input audio, usage."""
