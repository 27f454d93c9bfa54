"""I/O to OpenAI: call signalling, the sideband, failures, and prices."""
