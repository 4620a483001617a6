"""A Hugging Face Hub on the loopback interface, for the real client."""
