"""Checkpoints: where they are, how they are read, what their tensors are called. Builds no models."""
