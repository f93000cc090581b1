"""Reading a store from a server beside reading it from the disk."""
