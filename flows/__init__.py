"""What runs, in which order and with which retries: flows, command line and reports."""
