"""Tasks: plain functions of the scientist's as client work; what they are given, and what they return."""
