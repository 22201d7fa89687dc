"""The Envoy's process: it dials its Director, keeps its owner's rules, and lets Collaborators work on its owner's data."""
