"""Where many clients' data sets lie, one module a kind of place: SQLite, a folder, Hugging Face, a function."""
