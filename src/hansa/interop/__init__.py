"""Other frameworks' programs, brought along with only their import lines changed."""
