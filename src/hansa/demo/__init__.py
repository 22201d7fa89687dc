"""The demo: Alice, Bob and Charlie each hold a few digits, and learn all ten (`hansa demo`)."""
