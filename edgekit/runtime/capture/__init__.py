"""From sources to the loop: a thread a camera, a one-slot mailbox, and what happens when a source goes quiet."""
