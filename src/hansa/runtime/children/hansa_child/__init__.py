"""The inside of a child, up to the first foreign line. It must not import Hansa, nor any package but the standard library.

A child begins without site-packages, because a package installed there may run code when Python starts (`.pth` files), and that
is foreign code already. Until its limits stand, a child therefore knows this folder and the standard library only; it loads the
folder as the top-level package `hansa_child`. Start-up counts in milliseconds: a module here imports as little as it can.
"""
