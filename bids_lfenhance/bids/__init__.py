"""What a dataset holds, what will be done with it, and where each output lies."""
