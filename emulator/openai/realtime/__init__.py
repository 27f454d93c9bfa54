"""One Realtime session without I/O: its conversation, responses, the caller's audio, and usage."""
