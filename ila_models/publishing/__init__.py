"""From a model or a checkpoint to a repository of the Hugging Face Hub that anyone can use and check."""
