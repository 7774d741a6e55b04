"""How large a file may be: a bound on memory and time whatever a file holds."""

# The published weights are below 60 MB; with an optimizer's state below 200.
MAX_FILE_BYTES = 1 << 29
