"""The protocol, without input or output. So far: trees as bytes (`codec`)."""
