"""The record of each call, the stores that keep it, and the writer that brings it there in batches."""
