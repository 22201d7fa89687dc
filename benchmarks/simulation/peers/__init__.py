"""Other frameworks, each as a program that an interpreter of its own runs."""
