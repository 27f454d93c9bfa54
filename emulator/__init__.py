"""The outside world on one machine: stand-ins for OpenAI and Pub/Sub."""
