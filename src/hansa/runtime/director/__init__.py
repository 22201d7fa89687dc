"""The Director's process: its state machine's effects done, its children attended, its callers answered."""
