"""What training costs on machines that are not here: counted operations, a formula, and points measured beside it."""
