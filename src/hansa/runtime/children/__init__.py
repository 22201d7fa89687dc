"""Child processes that run a scientist's code: started, limited, spoken with and ended.

It imports nothing, because a child loads it too.

`spawn.Child` is what a Director and an Envoy use; `limits` says what a child may take, and which of that this system holds;
`trace` what of an exception may leave its owner. What runs inside a child lies in `hansa_child`.
"""
