"""The record of each call, the stores of records, and the writer between them."""
