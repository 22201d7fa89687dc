"""What `hansa doctor` finds out about a Director's or an Envoy's folder, an identity, and this machine. Nothing is changed."""
