"""HTTP services with state of their own. Standard library only; they have never heard of the hub."""
